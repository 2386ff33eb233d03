"""``.opam-switch/install/NAME.changes``: what opam believes that a package did to the prefix.

Removing a package means undoing these changes, so a wrong entry loses or leaves files. The entry of a file
holds size and time; opam writes a time with twelve digits, which today means hundredths of a second.
"""

from __future__ import annotations

import os
import stat
from enum import StrEnum
from typing import TYPE_CHECKING

from opambin.errors import BadDataError, UnavailableError
from opambin.frozen import dataclass
from opambin.opam import statefile
from opambin.opam.ast import List, OpamFile, Option, String, Value
from opambin.opam.parser import parse

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

QUICK = "F:S"
"""How the digest of a file starts, unless opam was told to track precisely (``F:`` and the md5)."""


class ChangeKind(StrEnum):
    """What happened to a path; the values are the field names."""

    ADDED = "added"
    REMOVED = "removed"
    CONTENTS = "contents-changed"
    PERMISSIONS = "perm-changed"
    KIND = "kind-changed"


@dataclass(frozen=True, slots=True)
class Change:
    """One path and what happened to it.

    Attributes:
        path: Relative to the prefix.
        digest: ``F:S<size>T<mtime>``, ``F:<md5>``, ``D``, ``L:<target>`` or ``S:<dev>:<rdev>``;
            empty for removals.
        kind: What happened.
    """

    path: str
    digest: str
    kind: ChangeKind = ChangeKind.ADDED


@dataclass(frozen=True, slots=True)
class Difference:
    """An entry that is not what is on disk.

    Attributes:
        path: Relative to the prefix.
        expected: The digest on record.
        observed: The digest on disk; empty when nothing is there.
    """

    path: str
    expected: str
    observed: str


@dataclass(frozen=True, slots=True)
class Changes:
    """All that a package did to the prefix; each path once, sorted by bytes."""

    entries: tuple[Change, ...] = ()

    @classmethod
    def of(cls, entries: Iterable[Change]) -> Changes:
        """Sort entries; the last one of a path counts."""
        unique = {entry.path: entry for entry in entries}
        return cls(tuple(unique[path] for path in sorted(unique, key=_bytes)))

    @classmethod
    def parse(cls, text: str, what: str = "changes") -> Changes:
        """Read the file's content.

        Raises:
            BadDataError: It is not such a file, or cut off.
        """
        file = parse(text, what)
        entries = [entry for kind in ChangeKind for entry in _field(file, kind)]
        return cls.of(entries)

    @classmethod
    def from_disk(cls, prefix: Path, paths: Iterable[str]) -> Changes:
        """Describe what is on disk as additions.

        Args:
            prefix: The switch.
            paths: Relative to it: files, symlinks, and the directories that came with them.

        Raises:
            UnavailableError: One of them is not there.
        """
        return cls.of(Change(path, _digest_or_fail(prefix, path)) for path in paths)

    def render(self) -> str:
        """Write the file's content as opam does, byte for byte."""
        fields = [statefile.HEADER]
        for kind in ChangeKind:
            entries = [entry for entry in self.entries if entry.kind is kind]
            if kind is ChangeKind.REMOVED:
                paths = [entry.path for entry in entries]
                fields.append(statefile.strings_field(kind, paths, always_list=False))
            else:
                fields.append(
                    statefile.options_field(kind, [(entry.path, entry.digest) for entry in entries])
                )
        return "".join(fields)

    def added(self) -> tuple[str, ...]:
        """Paths that the package brought, those that changed their kind included."""
        kinds = {ChangeKind.ADDED, ChangeKind.KIND}
        return tuple(entry.path for entry in self.entries if entry.kind in kinds)


def digest(path: Path | str, *, precise: bool = False) -> str:
    """Describe what is at ``path`` as opam does.

    Args:
        path: Not followed when it is a symlink. As text for the thousands of a restore: pathlib takes longer
            than the look.
        precise: Use the md5 of files.

    Raises:
        OSError: Nothing is there, or it can't be read.
    """
    info = os.lstat(path)
    if stat.S_ISREG(info.st_mode):
        return f"F:{_md5(path)}" if precise else f"{QUICK}{info.st_size}T{time_of(info.st_mtime_ns)}"
    if stat.S_ISDIR(info.st_mode):
        return "D"
    if stat.S_ISLNK(info.st_mode):
        return f"L:{os.readlink(path)}"  # noqa: PTH115 - a Path would tidy up the target
    return f"S:{info.st_dev}:{info.st_rdev}"


def time_of(nanoseconds: int) -> str:
    """Write a time as OCaml's ``string_of_float`` does."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    text = f"{seconds + rest / 1e9:.12g}"
    return text if set(text) - set("-0123456789") else text + "."


def verify(prefix: Path, changes: Changes) -> list[Difference]:
    """Compare entries with the disk; removals and changed permissions say nothing that could be compared."""
    skipped = {ChangeKind.REMOVED, ChangeKind.PERMISSIONS}
    differences = []
    for entry in changes.entries:
        if entry.kind in skipped:
            continue
        observed = _digest_or_empty(f"{prefix}/{entry.path}", entry.digest)
        if observed != entry.digest:
            differences.append(Difference(entry.path, entry.digest, observed))
    return differences


def _digest_or_empty(path: str, expected: str) -> str:
    precise = expected.startswith("F:") and not expected.startswith(QUICK)
    try:
        return digest(path, precise=precise)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise UnavailableError(f"{path} can't be read: {error.strerror}") from error


def _digest_or_fail(prefix: Path, path: str) -> str:
    try:
        return digest(f"{prefix}/{path}")
    except OSError as error:
        raise UnavailableError(f"{prefix}/{path} can't be described: {error.strerror}") from error


def _md5(path: Path | str) -> str:
    import hashlib

    with open(path, "rb") as stream:  # noqa: PTH123 - a name or a path
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _bytes(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


def _field(file: OpamFile, kind: ChangeKind) -> list[Change]:
    value = file.get(kind)
    items = value.items if isinstance(value, List) else () if value is None else (value,)
    return [_entry(item, kind, file.filename) for item in items]


def _entry(item: Value, kind: ChangeKind, what: str) -> Change:
    match item:
        case String(value=path) if kind is ChangeKind.REMOVED:
            return Change(path, "", kind)
        case Option(value=String(value=path), filters=(String(value=text),)) if (
            kind is not ChangeKind.REMOVED
        ):
            return Change(path, text, kind)
    raise BadDataError(what, f"not an entry of {kind}", expected='"path" {"digest"}', observed=item)
