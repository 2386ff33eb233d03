"""``opam-bin install``: opam's install, with what is in the store restored first."""

from __future__ import annotations

import click

from opambin.cli import door
from opambin.cli.verbatim import Verbatim


@click.command("install", cls=Verbatim, ours=door.OURS)
def command(args: tuple[str, ...]) -> int:
    """Install packages: takes every option of 'opam install'.

    What the store or a remote has is restored before opam downloads anything; opam builds the rest. opam's
    own rehearsal is 'opam install --dry-run'.
    """
    return door.run("install", args)
