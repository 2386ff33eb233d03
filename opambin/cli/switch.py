"""``opam-bin switch``: opam's switch; ``switch create NAME COMPILER`` restores the compiler."""

from __future__ import annotations

import click

from opambin.cli import door
from opambin.cli.verbatim import Verbatim


@click.command("switch", cls=Verbatim)
def command(args: tuple[str, ...]) -> int:
    """Create a switch: ``opam switch create`` with the same arguments, the compiler from the store."""
    door.run_opam("switch", args)
    return 0
