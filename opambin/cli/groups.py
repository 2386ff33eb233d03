"""Commands that have commands of their own, such as ``opam-bin remote``."""

from __future__ import annotations

import click


class Group(click.Group):
    """A group that lists each of its commands with all of its first sentence.

    click cuts that short so that it fits on one line; what is cut is often what tells two commands apart.
    """

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands in the order in which they were added."""
        rows = [(name, _first_sentence(self.commands[name])) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's interface
        """Name the commands in the order in which one meets them."""
        return list(self.commands)


def _first_sentence(command: click.Command) -> str:
    return command.get_short_help_str(limit=1000)
