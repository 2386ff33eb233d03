"""Where things are in a remote. Described in ``docs/decisions/0006-remotes.md``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from opambin.model import ConeKey

if TYPE_CHECKING:
    from opambin.model import Digest

SNAPSHOT = "snapshot.json"
KEYS = "keys"
ARCHIVES = "archives"
MAX_SLOTS = 8  # outputs of one key
MAX_STATEMENT_BYTES = 65_536
MAX_SNAPSHOT_BYTES = 4_000_000

_SLOT = re.compile(r"keys/[0-9a-f]{2}/([0-9a-f]{64})/([0-7])")
_ARCHIVE = re.compile(r"archives/([0-9a-f]{2})/([0-9a-f]{62})\.tar\.zst")


def slot(key: ConeKey, number: int) -> str:
    """Return the name of a slot of a key."""
    return f"{KEYS}/{key[:2]}/{key}/{number}"


def slot_of(name: str) -> tuple[ConeKey, int] | None:
    """Return key and number of a slot; None for other names."""
    found = _SLOT.fullmatch(name)
    return (ConeKey(found[1]), int(found[2])) if found else None


def archive(digest: str) -> str:
    """Return the name of an archive by its sha256."""
    return f"{ARCHIVES}/{digest[:2]}/{digest[2:]}.tar.zst"


def archive_of(name: str) -> Digest | None:
    """Return the sha256 that the name of an archive holds; None for other names."""
    from opambin.model import Digest

    found = _ARCHIVE.fullmatch(name)
    return Digest(found[1] + found[2]) if found else None
