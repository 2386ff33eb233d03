"""What a build can learn from the history that lies beside the source of a pin: ``dune subst`` asks for it.

The files alone do not tell: two tags of one tree give two versions.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_QUESTIONS = (
    ("describe", "--always", "--tags", "--long", "--abbrev=40"),
    ("describe", "--always", "--abbrev=7"),
)
"""The first names the commit in full; the second is what most builds ask: annotated tags only."""
_KEPT = ("HOME", "PATH", "LANG", "LC_ALL")


def revision(top: Path) -> str | None:
    """Say at which revision a folder is, as far as a build could tell.

    Args:
        top: The source as opam has synchronised it.

    Returns:
        A text that differs where a build may differ; empty where there is no history; None where there is
        one that can't be read.
    """
    if (top / ".git").exists():
        answers = [_ask_git(top, question) for question in _QUESTIONS]
        return None if None in answers else "git " + " ".join(filter(None, answers))
    for name, file in (("hg", ".hg/dirstate"), ("darcs", "_darcs/hashed_inventory")):
        if (top / file.partition("/")[0]).is_dir():
            return _hashed(name, top / file)
    return ""


def _ask_git(top: Path, question: tuple[str, ...]) -> str | None:
    environ = {name: os.environ[name] for name in _KEPT if name in os.environ}
    command = ["git", "-c", f"safe.directory={top}", "-C", str(top), *question]
    try:
        done = subprocess.run(
            command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
    except OSError:
        return None
    # the name of a tag may be any bytes, whatever the locale
    return done.stdout.decode("utf-8", "surrogateescape").strip() if done.returncode == 0 else None


def _hashed(kind: str, path: Path) -> str | None:
    try:
        # the parents of a Mercurial checkout stand in its first forty bytes; the rest are times
        data = path.read_bytes()[: 40 if kind == "hg" else None]
    except OSError:
        return None
    return f"{kind} {hashlib.sha256(data).hexdigest()}"
