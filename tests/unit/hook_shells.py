"""The shells that the scripts have to work in: those of this machine, and more in ``OPAMBIN_TEST_SHELLS``."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

HOOKS = Path(__file__).parents[2] / "hooks"
_KNOWN = (("dash",), ("bash", "--posix"), ("busybox", "ash"))
_MORE = tuple(tuple(command.split()) for command in os.environ.get("OPAMBIN_TEST_SHELLS", "").split(":"))
"""Commands are separated by colons, their words by spaces."""


def shells() -> list[tuple[str, ...]]:
    """Each shell once, also when ``sh`` is another name of it."""
    found = [shell for shell in (*_KNOWN, *_MORE) if shell and shutil.which(shell[0])]
    known = {os.path.realpath(str(shutil.which(shell[0]))) for shell in found}
    return found if os.path.realpath("/bin/sh") in known else [("sh",), *found]
