"""Patches as opam's versions write them to update a repository; pure.

opam 2.1 to 2.4 run ``diff -ruaN OLD NEW``, later ones have a writer of their own; both give unified diffs
whose paths begin with one folder to drop. A patch is carried out exactly or not at all: no fuzz, no offset,
because what comes out must be what opam will get out of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from opambin.errors import BadDataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_HUNK = re.compile(rb"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_NO_NEWLINE = b"\\ No newline at end of file"
_NOWHERE = b"/dev/null"


@dataclass(frozen=True, slots=True)
class _Hunk:
    """A place that changes.

    Attributes:
        start: First line that is replaced, from 0.
        old: Lines that are there.
        new: Lines that take their place.
    """

    start: int
    old: list[bytes]
    new: list[bytes]


@dataclass(frozen=True, slots=True)
class _Change:
    """All that happens to a file."""

    before: str | None
    after: str | None
    hunks: list[_Hunk] = field(default_factory=list)


def patched(files: Mapping[str, bytes], patch: bytes) -> dict[str, bytes]:
    """Return what a patch makes of files.

    Args:
        files: By path; not altered.
        patch: A unified diff.

    Raises:
        BadDataError: It can't be read, or does not fit.
    """
    found = dict(files)
    for change in _changes(_lines(patch)):
        content = found.pop(change.before, b"") if change.before is not None else b""
        if change.before is not None and change.before not in files and change.after is None:
            raise BadDataError("patch", f"{change.before} is to be removed and is not there")
        if change.after is not None:
            found[change.after] = _apply(content, change)
        elif _apply(content, change):
            raise BadDataError("patch", f"{change.before} is to be removed and something of it is left")
    # diff -N has the same words for "becomes empty" and "is removed": patch removes such a file, and so do we
    return {path: content for path, content in found.items() if content or files.get(path) == content}


def _apply(content: bytes, change: _Change) -> bytes:
    lines = _lines(content)
    result: list[bytes] = []
    at = 0
    for hunk in change.hunks:
        if hunk.start < at or lines[hunk.start : hunk.start + len(hunk.old)] != hunk.old:
            raise BadDataError("patch", f"it does not fit {change.before or change.after}")
        result += lines[at : hunk.start] + hunk.new
        at = hunk.start + len(hunk.old)
    return b"".join(result + lines[at:])


def _changes(lines: list[bytes]) -> Iterator[_Change]:
    at = 0
    change: _Change | None = None
    while at < len(lines):
        line = lines[at]
        if line.startswith(b"--- ") and at + 1 < len(lines) and lines[at + 1].startswith(b"+++ "):
            if change is not None:
                yield change
            change = _Change(_path(line), _path(lines[at + 1]))
            at += 2
        elif line.startswith(b"@@ ") and change is not None:
            hunk, at = _hunk(lines, at)
            change.hunks.append(hunk)
        elif (
            line.startswith((b"diff ", b"index ", b"new file mode", b"deleted file mode")) or not line.strip()
        ):
            at += 1
        else:
            raise BadDataError("patch", f"line {at + 1} is not understood: {line[:60]!r}")
    if change is not None:
        yield change


def _hunk(lines: list[bytes], at: int) -> tuple[_Hunk, int]:
    match = _HUNK.match(lines[at])
    if match is None:
        raise BadDataError("patch", f"line {at + 1}: not a place in a file: {lines[at][:60]!r}")
    begin, old_count, new_count = int(match[1]), int(match[2] or 1), int(match[4] or 1)
    old: list[bytes] = []
    new: list[bytes] = []
    at += 1
    while len(old) < old_count or len(new) < new_count:
        line = lines[at] if at < len(lines) else b""
        kind, text = line[:1], line[1:]
        at += 1
        if at < len(lines) and lines[at].rstrip(b"\n") == _NO_NEWLINE:
            text = text.removesuffix(b"\n")
            at += 1
        if kind not in {b" ", b"-", b"+"}:
            raise BadDataError("patch", f"line {at} breaks off: {line[:60]!r}")
        if kind != b"+":
            old.append(text)
        if kind != b"-":
            new.append(text)
    if len(old) != old_count or len(new) != new_count:
        raise BadDataError("patch", f"line {at}: it says {old_count} and {new_count} lines, and has others")
    return _Hunk(begin if not old_count else begin - 1, old, new), at


def _path(line: bytes) -> str | None:
    """Return the path of a file, without the folder before it; None for no file."""
    text = line[4:].rstrip(b"\n").split(b"\t")[0]
    if text == _NOWHERE:
        return None
    _, slash, path = text.partition(b"/")
    if not slash or text.startswith(b'"') or {b"", b".", b".."} & set(path.split(b"/")):
        raise BadDataError("patch", f"not the path of a file in a repository: {text[:100]!r}")
    return path.decode("utf-8", "surrogateescape")


def _lines(data: bytes) -> list[bytes]:
    """Split at newlines alone, keeping them."""
    found = data.split(b"\n")
    last = found.pop()
    return [line + b"\n" for line in found] + ([last] if last else [])
