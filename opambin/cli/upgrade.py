"""``opam-bin upgrade``: opam's upgrade, with what is in the store restored first."""

from __future__ import annotations

import click

from opambin.cli import door
from opambin.cli.verbatim import Verbatim


@click.command("upgrade", cls=Verbatim, ours=door.OURS)
def command(args: tuple[str, ...]) -> int:
    """Upgrade packages: takes every option of 'opam upgrade'.

    Where the store or a remote has the new versions, and what stands on them, the old ones make room without
    a download; opam does the rest.
    """
    return door.run("upgrade", args)
