"""``opam-bin install``: opam's install, with what is in the store restored first."""

from __future__ import annotations

import click

from opambin.cli import door
from opambin.cli.verbatim import Verbatim


@click.command("install", cls=Verbatim)
def command(args: tuple[str, ...]) -> int:
    """Install packages: takes every option of ``opam install``.

    What the store has is restored before opam downloads anything; opam builds the rest. Options of our own:
    ``--dry-run`` only shows what would be restored, how much that is and how long it takes (with ``--json``
    as JSON; opam's own rehearsal is ``opam install --dry-run``), ``--json-summary`` prints what was done
    as JSON, ``--help`` this text.
    """
    return door.run("install", args)
