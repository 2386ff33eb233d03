"""``opam-bin reinstall``: opam's reinstall, with what is in the store restored first."""

from __future__ import annotations

import click

from opambin.cli import door
from opambin.cli.verbatim import Verbatim


@click.command("reinstall", cls=Verbatim, ours=door.OURS)
def command(args: tuple[str, ...]) -> int:
    """Install packages again: takes every option of 'opam reinstall'.

    What the store has comes from there; 'OPAMBIN_RESTORE=no opam reinstall' builds anew.
    """
    return door.run("reinstall", args)
