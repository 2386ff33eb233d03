"""Placing objects under a prefix, and giving live files their true spelling; nothing else here touches files.

All bytes are computed and checked before the first is written. A file appears under its name whole or not
at all: it is written beside it and renamed, unless the caller fills a fresh staging folder.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, Self

from opambin.errors import BadDataError, CannotRelocateError
from opambin.frozen import dataclass
from opambin.relocate import arfile, camlobj, elf, rendering
from opambin.relocate.copying import Way, copy, copy_part
from opambin.relocate.mapped import mapped
from opambin.relocate.pieces import Change, in_order

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from opambin.model import Occurrence
    from opambin.relocate.analysis import Analysis
    from opambin.relocate.rendering import Patch
    from opambin.relocate.spelling import Spelling

    Name = str | Path

_LINKABLE = (elf.MAGIC, arfile.MAGIC, camlobj.MAGIC)
_TEMPORARY_PREFIX = ".opambin-"
_COUNTER = itertools.count()
_PRIVATE = 0o600
_HEAD = 8  # bytes that tell the format of an object
_MUCH = 1 << 16  # bytes; below, a call to the kernel costs more than it saves
_NO_LINKS = frozenset({errno.EXDEV, errno.EMLINK, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP})
_OLD = os.O_RDONLY | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


class LinkMode(Enum):
    """Whether a placed file may be the object itself."""

    COPY = "copy"
    HARD = "hard"
    """Only ELF, ``ar`` and OCaml object files, which nobody edits in place."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A file that was written.

    Attributes:
        size: In bytes.
        mtime_ns: As the file system has it.
        inode: Of the new file.
        mode: Permission bits.
        way: How its bytes got there.
    """

    size: int
    mtime_ns: int
    inode: int
    mode: int
    way: Way


def check(occurrences: Sequence[Occurrence], target_length: int) -> None:
    """Find out, without reading anything, whether a prefix of a given length fits.

    Raises:
        CannotRelocateError: It does not.
    """
    rendering.check(occurrences, b"/" + b"x" * max(0, target_length - 1))


@dataclass(frozen=True, slots=True)
class Placing:
    """How an object is placed.

    Attributes:
        mode: Permission bits of the new file.
        link: Whether it may be a hard link to the object.
        replace: Whether something may stand at the destination; False in a fresh staging folder.
    """

    mode: int
    link: LinkMode = LinkMode.COPY
    replace: bool = True


def place(
    source: Name, destination: Name, occurrences: Sequence[Occurrence], target: bytes, how: Placing
) -> Placed:
    """Put an object at its place under a prefix.

    Args:
        source: The object, in placeholder form.
        destination: The file to make.
        occurrences: Where the placeholder stands in the object.
        target: The prefix.
        how: Mode and manner.

    Raises:
        CannotRelocateError: The prefix does not fit; nothing was written.
        BadDataError: The object is not what its occurrences say; nothing was written.
        OSError: The file system refuses; the destination is as it was.
    """
    try:
        rendering.check(occurrences, target)
        descriptor = os.open(source, _OLD)
        try:
            status = os.fstat(descriptor)
            if how.link is LinkMode.HARD and not occurrences and _linkable(descriptor, status, how):
                linked = _linked(source, status, os.fspath(destination), how)
                if linked is not None:
                    return linked
            patches = _patches(descriptor, occurrences, target)
            if patches is not None:
                return _copied(descriptor, status.st_size, patches, destination, how)
            with mapped(descriptor, status.st_size) as content:
                changes = rendering.changes(content, occurrences, target)
                if changes is not None:
                    return _assembled(descriptor, content, changes, destination, how)
            content = rendering.render(_read(descriptor, status.st_size), occurrences, target)
        finally:
            os.close(descriptor)
        with _Output(destination, how) as output:
            _write(output.descriptor, content, 0)
            return output.finish(Way.WRITE)
    except BadDataError as error:
        raise BadDataError(destination, str(error)) from error
    except CannotRelocateError as error:
        raise CannotRelocateError(destination, str(error)) from error


def canonicalise(path: Path, analysis: Analysis, spelling: Spelling, others: Sequence[Path] = ()) -> bool:
    """Give a live file the bytes that a restore at the same prefix would give it.

    Mode, owner and times stay.

    Args:
        path: The file.
        analysis: Of its bytes.
        spelling: Of the prefix it is under.
        others: Further names of the same file; they become links to the new bytes.

    Returns:
        Whether it was written again.

    Raises:
        CannotRelocateError: The canonical spelling does not fit; the file is as it was.
        BadDataError: The analysis is not of this file's bytes; the file is as it was.
    """
    if analysis.content is None:
        return False
    content = rendering.render(analysis.content, analysis.occurrences, spelling.canonical)
    descriptor = os.open(path, _OLD)
    try:
        before = os.fstat(descriptor)
        if before.st_size == len(content) and _read(descriptor, before.st_size) == content:
            return False
    finally:
        os.close(descriptor)
    with _Output(path, Placing(stat.S_IMODE(before.st_mode))) as output:
        _write(output.descriptor, content, 0)
        after = os.fstat(output.descriptor)
        if (after.st_uid, after.st_gid) != (before.st_uid, before.st_gid):
            os.fchown(output.descriptor, before.st_uid, before.st_gid)
        os.utime(output.descriptor, ns=(before.st_atime_ns, before.st_mtime_ns))
        output.finish(Way.WRITE)
    for other in others:
        _relink(path, os.fspath(other))
    return True


class _Output:
    """A file that is being written, under its own name or a temporary one; it vanishes on failure."""

    def __init__(self, destination: Name, how: Placing) -> None:
        self._destination = os.fspath(destination)
        self._how = how
        self._path = _temporary(self._destination) if how.replace else self._destination
        self._finished = False
        self.descriptor = os.open(self._path, _NEW, _PRIVATE)

    def __enter__(self) -> Self:
        return self

    def finish(self, way: Way) -> Placed:
        """Set the mode, give the file its name, and tell what it is."""
        os.fchmod(self.descriptor, self._how.mode)
        status = os.fstat(self.descriptor)
        if self._how.replace:
            os.replace(self._path, self._destination)  # noqa: PTH105 - hot path
        self._finished = True
        return _placed(status, way)

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)
        if not self._finished:
            os.unlink(self._path)  # noqa: PTH108 - hot path


def _patches(descriptor: int, occurrences: Sequence[Occurrence], target: bytes) -> list[Patch] | None:
    """Return what is to be written over a copy of an object; None when it has to be made as a whole."""
    if not occurrences:
        return []
    head = os.pread(descriptor, _HEAD, 0)
    if not rendering.in_place(occurrences) or rendering.needs_finish(head):
        return None
    return rendering.plan(occurrences, target, lambda at, size: os.pread(descriptor, size, at))


def _copied(descriptor: int, size: int, patches: list[Patch], destination: Name, how: Placing) -> Placed:
    with _Output(destination, how) as output:
        way = copy(descriptor, output.descriptor, size)
        for patch in patches:
            _write(output.descriptor, patch.data, patch.offset)
        return output.finish(way)


def _assembled(source: int, content: bytes, changes: list[Change], destination: Name, how: Placing) -> Placed:
    """Write a file with changes; what is between them is copied in the kernel where that is much.

    Python would copy it twice, into memory that the kernel has to clear first.
    """
    done = 0
    with memoryview(content) as view, _Output(destination, how) as output:
        for change in [*in_order(content, changes), Change(len(content), len(content), b"")]:
            gap = change.start - done
            if gap >= _MUCH:
                copy_part(source, output.descriptor, done, gap)
            else:
                _append(output.descriptor, view[done : change.start])
            _append(output.descriptor, change.new)
            done = change.end
        return output.finish(Way.WRITE)


def _append(descriptor: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _linkable(descriptor: int, status: os.stat_result, how: Placing) -> bool:
    return stat.S_IMODE(status.st_mode) == how.mode and os.pread(descriptor, _HEAD, 0).startswith(_LINKABLE)


def _linked(source: Name, status: os.stat_result, destination: str, how: Placing) -> Placed | None:
    """Make a hard link; None when the file system will not."""
    path = _temporary(destination) if how.replace else destination
    try:
        os.link(source, path)
    except OSError as error:
        if error.errno in _NO_LINKS:
            return None
        raise
    if how.replace:
        _rename_link(path, destination)
    return _placed(status, Way.LINK)


def _rename_link(path: str, destination: str) -> None:
    """Rename a link over a file that may be the same inode already: then the kernel renames nothing."""
    try:
        os.replace(path, destination)  # noqa: PTH105 - hot path
    finally:
        with suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108 - hot path


def _relink(path: Path, other: str) -> None:
    temporary = _temporary(other)
    os.link(path, temporary)
    _rename_link(temporary, other)


def _placed(status: os.stat_result, way: Way) -> Placed:
    return Placed(status.st_size, status.st_mtime_ns, status.st_ino, stat.S_IMODE(status.st_mode), way)


def _temporary(destination: str) -> str:
    folder, slash, _ = destination.rpartition("/")
    return f"{folder}{slash}{_TEMPORARY_PREFIX}{os.getpid()}-{next(_COUNTER)}"


def _read(descriptor: int, size: int) -> bytes:
    parts: list[bytes] = []
    done = 0
    while done < size and (part := os.pread(descriptor, size - done, done)):
        parts.append(part)
        done += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _write(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(descriptor, view, offset)
        view = view[count:]
        offset += count
