"""Names that a file system may take for one: those of macOS and Windows know neither case nor composition."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def folds_names(folder: Path) -> bool:
    """Say whether the file system takes names for one that differ in case only.

    Args:
        folder: One that is there, with small letters in its name.
    """
    try:
        return folder.samefile(folder.with_name(folder.name.upper()))
    except OSError:
        return False


def folded(path: str) -> str:
    """Return a form that is the same for all spellings that a file system may take for one.

    Format characters (zero-width joiners and the like) are left out: HFS+ ignores them.
    """
    if path.isascii():
        return path.lower()
    plain = "".join(char for char in path if unicodedata.category(char) != "Cf")
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKC", plain).casefold())


def collision(paths: Iterable[str]) -> tuple[str, str] | None:
    """Return two spellings of one path, the folders that paths lie in included; None when there are none."""
    spellings: dict[str, str] = {}
    for path in paths:
        known = path
        while known:
            first = spellings.setdefault(folded(known), known)
            if first != known:
                return first, known
            parent = known.rpartition("/")[0]
            if spellings.get(folded(parent)) == parent:
                break
            known = parent
    return None
