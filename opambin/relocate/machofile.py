"""Mach-O files (macOS): recognised, and never changed. One that holds the prefix is bound to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opambin.model import Bound
from opambin.relocate.located import Located

if TYPE_CHECKING:
    from opambin.relocate.spelling import Spelling

_MAGICS = (
    b"\xcf\xfa\xed\xfe",
    b"\xce\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe",
)  # 64 bits, 32 bits, several machines


def recognises(data: bytes) -> bool:
    """Tell whether a file is a Mach-O file."""
    return data.startswith(_MAGICS)


def locate(data: bytes, spelling: Spelling, path: str) -> Located:
    """Leave a Mach-O file as it is; bind it when it holds the prefix."""
    hits = list(spelling.hits(data))
    needed = [hit for hit in hits if not hit.build]
    reason = "a Mach-O file, which is signed over its content"
    return Located(data, bound=(Bound(path, reason),) if needed else (), leaks=len(hits) - len(needed))
