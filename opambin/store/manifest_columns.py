"""All rows of a manifest tested together: what is sound is seen at once, what isn't is for others to explain.

Each test looks at a column of the rows with calls that do not come back to Python for each row. None of them
says yes to anything that :mod:`opambin.store.manifest_rows` would refuse row by row; each may say no to what
it would accept, such as a path with a part that starts with a dot.
"""

from __future__ import annotations

from itertools import chain
from operator import lt
from typing import TYPE_CHECKING, Any

from opambin.model import FileType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opambin.model import FileEntry

SAME_IDENTITY = "="
"""Stands for an identity that equals the digest."""
MODE_MAX = 0o1777  # setuid and setgid are never cached
COUNT_MAX = 1 << 48  # bytes or seconds; a sum of many still fits 64 bits

_HEX_DIGITS = b"0123456789abcdef"
_FILE_WIDTH = 8  # members of a row of a file
_STRAY = ("\0.", "\0/", "/.", "//", "/\0", "\0\0")
"""What stands in clean paths nowhere, when there is a NUL before and after each."""


def are_sound(rows: list[Any]) -> bool:
    """Tell whether all rows of ``files`` are lists, and those of files right but for their occurrences."""
    if not rows:
        return True
    if set(map(type, rows)) != {list} or not all(rows):
        return False
    files = [row for row in rows if row[0] == "f"]
    if not files:
        return True
    if set(map(len, files)) != {_FILE_WIDTH}:
        return False
    _, paths, modes, sizes, digests, identities, links, _ = zip(*files, strict=True)
    others = [identity for identity in identities if identity not in ("", SAME_IDENTITY)]
    return (
        _are_numbers(modes, MODE_MAX)
        and _are_numbers(sizes, COUNT_MAX)
        and _are_digests(digests)
        and _are_digests(others)
        and set(map(type, links)) == {str}
        and _are_clean(paths)
    )


def is_sound_tree(entries: Sequence[FileEntry]) -> bool:
    """Tell whether entries rise by path, none is inside of what is no directory, and none a hard link."""
    paths = [entry.path for entry in entries]
    if not all(map(lt, paths, paths[1:])) or any(entry.hardlink for entry in entries):
        return False
    folders: set[str] = set()
    more = {path.rpartition("/")[0] for path in paths}
    while more := more - folders - {""}:
        folders |= more
        more = {path.rpartition("/")[0] for path in more}
    return folders.isdisjoint(entry.path for entry in entries if entry.type is not FileType.DIRECTORY)


def are_texts(rows: list[Any], width: int) -> bool:
    """Tell whether all rows are lists of so many texts."""
    if not rows:
        return True
    return (
        set(map(type, rows)) == {list}
        and set(map(len, rows)) == {width}
        and set(map(type, chain.from_iterable(rows))) == {str}
    )


def _are_numbers(column: Sequence[Any], most: int) -> bool:
    return set(map(type, column)) == {int} and min(column) >= 0 and max(column) <= most


def _are_digests(column: Sequence[Any]) -> bool:
    if not column:
        return True
    return (
        set(map(type, column)) == {str}
        and set(map(len, column)) == {64}
        and not "".join(column).encode("utf-8", "surrogatepass").translate(None, _HEX_DIGITS)
    )


def _are_clean(paths: Sequence[Any]) -> bool:
    """Tell whether all paths are relative and normalized, with no part that starts with a dot."""
    if set(map(type, paths)) != {str}:
        return False
    joined = "\0".join(("", *paths, ""))
    return joined.count("\0") == len(paths) + 1 and not any(stray in joined for stray in _STRAY)
