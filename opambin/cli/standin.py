"""Transparent mode: opam-bin was called in opam's place, so where it can't do the work opam does."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from opambin.setup.shim import TRANSPARENT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VERBS = ("install", "upgrade", "reinstall", "switch")
"""The commands that the shim sends to opam-bin; their arguments are opam's own."""


def stands_for_opam(argv: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Say whether a command line came from the shim, and is one that opam would have got otherwise."""
    return bool(environ.get(TRANSPARENT)) and len(argv) > 1 and argv[1] in VERBS


def let_opam_do_it(argv: Sequence[str], environ: Mapping[str, str]) -> None:
    """Become opam with the same arguments; returns when there is none.

    A restore that failed has undone what it had done, so opam finds what it would have found.
    """
    from opambin.context import real_opam
    from opambin.errors import UnavailableError

    try:
        program = real_opam(environ)
    except UnavailableError as error:
        print(f"opam-bin: {error}", file=sys.stderr)
        return
    print("opam-bin: opam goes on alone", file=sys.stderr)
    sys.stdout.flush()  # what is buffered is lost when the program is replaced
    sys.stderr.flush()
    os.execv(program, [program, *argv[1:]])  # noqa: S606 - no shell is wanted
