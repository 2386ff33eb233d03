"""Rows of a manifest's JSON checked and turned into values; the other half of :mod:`manifest_format`.

A compiler has 2,200 files and thousands of symbols, so all rows are first tested together, column by column;
only where that fails is each looked at alone, to say what is wrong with which.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import starmap
from typing import Any, TypeGuard

from opambin.model import (
    Bound,
    Digest,
    Edit,
    ExtraFile,
    FileEntry,
    FileType,
    Import,
    Kind,
    Occurrence,
    OutputId,
    PackageName,
    Symbol,
)
from opambin.store.layout import is_hex64
from opambin.store.manifest_columns import (
    COUNT_MAX,
    MODE_MAX,
    SAME_IDENTITY,
    are_sound,
    are_texts,
    is_sound_tree,
)

_BAD_PATH = re.compile(r"(?:\A|/)\.{0,2}(?:/|\Z)|\x00")
"""An empty path, a part that is empty, ``.`` or ``..``, or a NUL."""
_KINDS: dict[object, Kind] = {kind.value: kind for kind in Kind}

Report = Callable[[str], None]


def is_clean_path(path: object) -> TypeGuard[str]:
    """Say whether ``path`` is relative, normalized, and stays below where it is put."""
    if type(path) is not str or not path or path[0] == "/":
        return False
    if path[0] == "." or path[-1] == "/" or "/." in path or "//" in path or "\0" in path:
        return _BAD_PATH.search(path) is None  # seldom needed, and slower
    return True


def is_count(number: object) -> TypeGuard[int]:
    """Say whether ``number`` is a size, offset or time that may be."""
    return type(number) is int and 0 <= number <= COUNT_MAX


def files_of(rows: object, report: Report) -> tuple[FileEntry, ...]:
    """Return the entries of ``files``, telling every problem to ``report``."""
    if not isinstance(rows, list):
        report("files: not a list")
        return ()
    if are_sound(rows):
        entries = _sound_files(rows, report)
    else:
        entries = [entry for row in rows if (entry := _file(row, report)) is not None]
    if not is_sound_tree(entries):
        _check_tree(entries, report)
    return tuple(entries)


def extra_files_of(rows: object, report: Report) -> tuple[ExtraFile, ...]:
    """Return the entries of ``extra-files``, telling every problem to ``report``."""
    if not isinstance(rows, list):
        report("extra-files: not a list")
        return ()
    found = []
    for row in rows:
        match row:
            case [name, digest, size] if is_clean_path(name) and is_hex64(digest) and is_count(size):
                found.append(ExtraFile(name, Digest(digest), size))
            case _:
                report(f"extra-files: {row!r:.200} is not a name, a digest and a size")
    names = [extra.name for extra in found]
    if names != sorted(set(names)):
        report("extra-files: not sorted by name, or a name twice")
    return tuple(found)


def _sound_files(rows: list[Any], report: Report) -> list[FileEntry]:
    """Return the entries of rows that are sound; occurrences, links and folders are still to be checked."""
    entries: list[FileEntry] = []
    file = FileType.FILE
    for row in rows:
        if row[0] == "f":
            _, path, mode, size, digest, identity, hardlink, places = row
            found = _occurrences(path, size, places, report) if places != [] else ()
            same = digest if identity == SAME_IDENTITY else identity
            entries.append(FileEntry(path, file, mode, digest, size, "", found, same, hardlink))
        elif (entry := _file(row, report)) is not None:
            entries.append(entry)
    return entries


def _file(row: object, report: Report) -> FileEntry | None:
    """Return the entry of a row; None when it is wrong, which is told."""
    match row:
        case ["f", path, mode, size, digest, identity, hardlink, occurrences]:
            if not (
                is_clean_path(path)
                and type(mode) is int
                and 0 <= mode <= MODE_MAX
                and type(size) is int
                and 0 <= size <= COUNT_MAX
                and is_hex64(digest)
                and (identity in ("", SAME_IDENTITY) or is_hex64(identity))
                and type(hardlink) is str
            ):
                _explain_file(row, report)
                return None
            return FileEntry(
                path,
                FileType.FILE,
                mode,
                Digest(digest),
                size,
                "",
                _occurrences(path, size, occurrences, report) if occurrences != [] else (),
                digest if identity == SAME_IDENTITY else identity,
                hardlink,
            )
        case ["l", path, target] if (
            is_clean_path(path) and type(target) is str and target and "\0" not in target
        ):
            return FileEntry(path, FileType.SYMLINK, target=target)
        case ["d", path, mode] if is_clean_path(path) and type(mode) is int and 0 <= mode <= MODE_MAX:
            return FileEntry(path, FileType.DIRECTORY, mode)
    _explain_file(row, report)
    return None


def _explain_file(row: object, report: Report) -> None:
    match row:
        case ["f", path, mode, size, digest, identity, hardlink, _]:
            _explain_path(path, report)
            _explain_mode(path, mode, report)
            if not is_count(size):
                report(f"files: {path!r}: size {size!r} is not a number of bytes")
            if not is_hex64(digest):
                report(f"files: {path!r}: digest {digest!r} is not 64 hexadecimal digits")
            if identity not in ("", SAME_IDENTITY) and not is_hex64(identity):
                report(f"files: {path!r}: identity {identity!r} is not 64 hexadecimal digits")
            if type(hardlink) is not str:
                report(f"files: {path!r}: hardlink {hardlink!r} is not a path")
        case ["l", path, target]:
            _explain_path(path, report)
            if type(target) is not str or not target or "\0" in target:
                report(f"files: {path!r}: target {target!r} is not a link target")
        case ["d", path, mode]:
            _explain_path(path, report)
            _explain_mode(path, mode, report)
        case _:
            report(f"files: not a row of a file, link or directory: {row!r:.80}")


def _explain_path(path: object, report: Report) -> None:
    if not is_clean_path(path):
        report(f"files: path {path!r} is not relative and normalized")


def _explain_mode(path: object, mode: object, report: Report) -> None:
    if type(mode) is not int or not 0 <= mode <= MODE_MAX:
        shown = oct(mode) if type(mode) is int else repr(mode)
        report(f"files: {path!r}: mode {shown} is not 0 to {oct(MODE_MAX)}")


def _occurrences(path: str, size: int, rows: object, report: Report) -> tuple[Occurrence, ...]:
    if not isinstance(rows, list):
        report(f"files: {path!r}: occurrences are not a list")
        return ()
    found: list[Occurrence] = []
    last = 0
    for row in rows:
        match row:
            case [kind, offset, capacity, functional, where, list() as anchor] if (
                type(kind) is str
                and kind in _KINDS
                and type(offset) is int
                and (capacity is None or is_count(capacity))
                and type(functional) is bool
                and type(where) is str
                and (not anchor or set(map(type, anchor)) == {int})
            ):
                if not last <= offset < size:
                    report(
                        f"files: {path!r}: occurrence at {offset} is out of order or past the end ({size})"
                    )
                last = offset
                found.append(Occurrence(_KINDS[kind], offset, capacity, functional, tuple(anchor), where))
            case _:
                report(f"files: {path!r}: not an occurrence: {row!r:.80}")
    return tuple(found)


def _check_tree(entries: list[FileEntry], report: Report) -> None:
    """Check what one row can't show: order, parents that are directories, and hard links."""
    known: dict[str, FileEntry] = {}
    folders: set[str] = set()
    last = ""
    for entry in entries:
        if entry.path <= last and known:
            report(f"files: {entry.path!r} comes after {last!r}: not sorted, or twice")
        last = entry.path
        if entry.hardlink:
            first = known.get(entry.hardlink)
            if first is None or first.digest != entry.digest or first.hardlink:
                report(
                    f"files: {entry.path!r} is linked to {entry.hardlink!r}, which is no earlier file like it"
                )
        known[entry.path] = entry
        parent = entry.path.rpartition("/")[0]
        while parent and parent not in folders:
            folders.add(parent)
            parent = parent.rpartition("/")[0]
    # A link or file used as a directory would let a path leave the prefix.
    for folder in sorted(folders):
        inside = known.get(folder)
        if inside is not None and inside.type is not FileType.DIRECTORY:
            report(f"files: {folder!r} is a {inside.type}, yet other paths are inside it")


def symbols_of(rows: object, what: str, report: Report) -> tuple[Symbol, ...]:
    """Return the symbols of a list of ``[kind, name, value]``."""
    if not isinstance(rows, list):
        report(f"{what}: not a list")
        return ()
    if are_texts(rows, 3):
        return tuple(starmap(Symbol, rows))
    found = []
    for row in rows:
        match row:
            case [str() as kind, str() as name, str() as value]:
                found.append(Symbol(kind, name, value))
            case _:
                report(f"{what}: not a symbol: {row!r:.80}")
    return tuple(found)


def imports_of(rows: object, report: Report) -> tuple[Import, ...]:
    """Return the imports of a list of ``[provider, output or null, symbols]``."""
    found = []
    for row in _list(rows, "imports", report):
        match row:
            case [str() as provider, output, symbols] if provider and (output is None or is_hex64(output)):
                wanted = symbols_of(symbols, f"imports: {provider}", report)
                found.append(
                    Import(PackageName(provider), None if output is None else OutputId(output), wanted)
                )
            case _:
                report(f"imports: not an import: {row!r:.80}")
    return tuple(found)


def edits_of(rows: object, report: Report) -> tuple[Edit, ...]:
    """Return the edits of a list of ``[path, lines]``."""
    found = []
    for row in _list(rows, "edits", report):
        match row:
            case [path, list() as lines] if is_clean_path(path) and all(_is_line(line) for line in lines):
                found.append(Edit(path, tuple(lines)))
            case _:
                report(f"edits: not an edit: {row!r:.80}")
    return tuple(found)


def bounds_of(rows: object, report: Report) -> tuple[Bound, ...]:
    """Return the bounds of a list of ``[path, reason, longest prefix or null]``."""
    found = []
    for row in _list(rows, "bound", report):
        match row:
            case [path, str() as reason, longest] if is_clean_path(path) and (
                longest is None or is_count(longest)
            ):
                found.append(Bound(path, reason, longest))
            case _:
                report(f"bound: not a bound: {row!r:.80}")
    return tuple(found)


def _list(rows: object, what: str, report: Report) -> list[Any]:
    if isinstance(rows, list):
        return rows
    report(f"{what}: not a list")
    return []


def _is_line(line: object) -> bool:
    return type(line) is str and "\n" not in line and "\0" not in line
