"""Prefixes in text files, whose length is free except for the first line of a script."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opambin.model import PADDED_LENGTH, PLACEHOLDER, Kind, Occurrence
from opambin.relocate.located import Located

if TYPE_CHECKING:
    from opambin.relocate.spelling import Hit, Spelling

SHEBANG_MAX = 255  # bytes with "#!", without the line end; Linux since 5.1 (127 before)
_THIN_ARCHIVE = b"!<thin>\n"
"""An ``ar`` archive of names alone may be all text, but states the length of their table."""


def is_text(data: bytes) -> bool:
    """Tell whether the length of a file without a known format may be changed."""
    return b"\0" not in data and not data.startswith(_THIN_ARCHIVE)


def locate(data: bytes, spelling: Spelling, *, functional: bool = True) -> Located:
    """Bring a text file into placeholder form."""
    hits = list(spelling.hits(data))
    kept = [hit for hit in hits if not hit.build]
    limit = _shebang_capacity(data, kept, len(spelling.canonical))
    parts: list[bytes] = []
    occurrences = []
    done = size = 0
    for hit in kept:
        parts += [data[done : hit.offset], PLACEHOLDER]
        at = size + hit.offset - done
        capacity = limit if hit.offset < _shebang_end(data) else None
        occurrences.append(Occurrence(Kind.TEXT, at, capacity, functional))
        size = at + PADDED_LENGTH
        done = hit.end
    content = b"".join([*parts, data[done:]])
    return Located(content, tuple(occurrences), (), len(hits) - len(kept))


def _shebang_end(data: bytes) -> int:
    """Return the length of the ``#!`` line, 0 when there is none."""
    if not data.startswith(b"#!"):
        return 0
    end = data.find(b"\n")
    return len(data) if end < 0 else end


def _shebang_capacity(data: bytes, hits: list[Hit], length: int) -> int | None:
    """Return the longest prefix with which the kernel still reads the whole ``#!`` line.

    None when no prefix is in it, or when the line is too long for the kernel where it stands already.
    """
    end = _shebang_end(data)
    inside = [hit for hit in hits if hit.offset < end]
    if not inside:
        return None
    rest = end - sum(hit.length for hit in inside)
    longest = (SHEBANG_MAX - rest) // len(inside)
    return longest if longest >= length else None
