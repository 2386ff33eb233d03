"""Commands that take every option of an opam command: their words come as they were typed."""

from __future__ import annotations

import click


class Verbatim(click.Command):
    """A command that gets all words behind its name, ``--`` included, as its argument ``args``."""

    def __init__(self, *args: object, **settings: object) -> None:
        settings["add_help_option"] = False
        super().__init__(*args, **settings)  # type: ignore[arg-type]  # click's own arguments

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the words."""
        ctx.params["args"] = tuple(args)
        return []

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's interface
        """Say that there may be words."""
        return ["[ARGS]..."]


def wants_help(args: tuple[str, ...]) -> bool:
    """Tell whether the words ask for help; what stands behind ``--`` is no option."""
    options = args[: args.index("--")] if "--" in args else args
    return "--help" in options or "-h" in options


def show_help(opams: str) -> int:
    """Print the help of the command that runs, and where that of opam's is."""
    print(click.get_current_context().get_help())
    print(f"\nEverything else goes to opam; see 'opam {opams} --help'.")
    return 0
