"""Commands that take every option of an opam command: their words come as they were typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Mapping


class Verbatim(click.Command):
    """A command that gets all words behind its name, ``--`` included, as its argument ``args``.

    Args:
        ours: The options among them that opam does not know, or that mean something else here, each with
            its help.
        usage: The words, as its help shows them.
    """

    def __init__(
        self,
        *args: object,
        ours: Mapping[str, str] | None = None,
        usage: str = "[ARGS]...",
        **settings: object,
    ) -> None:
        settings["add_help_option"] = False
        super().__init__(*args, **settings)  # type: ignore[arg-type]  # click's own arguments
        self.ours = dict(ours or {})
        self.usage = usage

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the words."""
        ctx.params["args"] = tuple(args)
        return []

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's interface
        """Say that there may be words."""
        return [self.usage]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - same
        """List the options that are ours."""
        if self.ours:
            with formatter.section("Options of opam-bin"):
                formatter.write_dl([*self.ours.items(), ("-h, --help", "Show this message and exit.")])


def show_help(opams: str) -> int:
    """Print the help of the command that runs, and where that of opam's is."""
    print(click.get_current_context().get_help())
    print(f"\nAll other arguments go to opam: see 'opam {opams} --help'.")
    return 0
