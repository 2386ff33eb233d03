"""``opam-bin help``: what ``--help`` shows, for those who type it first."""

from __future__ import annotations

import click


@click.command("help")
@click.argument("words", nargs=-1, metavar="[COMMAND]...")
def command(words: tuple[str, ...]) -> None:
    """Show the help of a command: 'opam-bin help tuf init'; without one, all commands."""
    from opambin.cli.program import program

    program.main([*words, "--help"], prog_name="opam-bin", standalone_mode=False)
