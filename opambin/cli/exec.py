"""``opam-bin exec``: opam's exec, so that a script needs one word for all."""

from __future__ import annotations

import click

from opambin.cli import door
from opambin.cli.helpwords import wants_help
from opambin.cli.verbatim import Verbatim, show_help


@click.command("exec", cls=Verbatim)
def command(args: tuple[str, ...]) -> None:
    """Run a program in the environment of a switch: 'opam exec' with the same arguments."""
    if wants_help(args[:1]):
        show_help("exec")
    else:
        door.run_opam("exec", args)
