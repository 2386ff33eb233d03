"""What lies under a switch prefix, to tell what an installation added or changed.

Times alone lie both ways (a moved folder keeps them, a user's file is new), so an entry is compared as a
whole: type, inode, size, modification time and mode. The index is written at the start of a session and
carried forward after each installation; installations are serialised by opam.
"""

from __future__ import annotations

import marshal
import os
import stat
from dataclasses import field
from typing import TYPE_CHECKING

from opambin.errors import BadDataError
from opambin.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FORMAT = 1
META = ".opam-switch"
KEPT_SUFFIXES = (".conf",)
"""Text files that packages edit though they don't own them; their content is kept to see the edit."""
KEPT_BYTES = 65_536

Entry = tuple[int, int, int, int]
"""Mode with type, inode, size in bytes, modification time in nanoseconds; the last two are 0 for folders."""


@dataclass(slots=True)
class PrefixIndex:
    """Entries by path relative to the prefix, and the content of small files that others may edit."""

    entries: dict[str, Entry] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def walk(cls, prefix: Path) -> PrefixIndex:
        """Look at everything below ``prefix`` but opam's own folder."""
        index = cls()
        base = os.fspath(prefix)
        folders = [""]
        while folders:
            folder = folders.pop()
            with os.scandir(f"{base}/{folder}" if folder else base) as found:
                for item in found:
                    path = f"{folder}/{item.name}" if folder else item.name
                    if path == META:
                        continue
                    index._add(path, item.stat(follow_symlinks=False), item.path)
                    if item.is_dir(follow_symlinks=False):
                        folders.append(path)
        return index

    def _add(self, path: str, status: os.stat_result, full: str) -> None:
        self.entries[path] = _entry(status)
        if path.endswith(KEPT_SUFFIXES):
            self.contents.pop(path, None)
            if stat.S_ISREG(status.st_mode) and status.st_size <= KEPT_BYTES:
                self._keep(path, full)

    def _keep(self, path: str, full: str) -> None:
        try:
            with open(full, "rb") as file:  # noqa: PTH123 - one of thousands of paths, on the hot path
                self.contents[path] = file.read()
        except PermissionError:
            return  # an edit of it can't be told then, and the package that makes one is not captured

    def carry(self, prefix: Path, paths: Iterable[str]) -> None:
        """Bring single paths up to date, with the folders above them; what is gone is dropped."""
        for path in with_parents(paths):
            full = f"{prefix}/{path}"
            try:
                self._add(path, os.lstat(full), full)
            except FileNotFoundError:
                self.entries.pop(path, None)
                self.contents.pop(path, None)

    def forget(self, paths: Iterable[str]) -> None:
        """Drop paths, but not the folders that hold anything else."""
        gone = set(paths)
        needed = set(with_parents(path for path in self.entries if path not in gone))
        for path in gone - needed:
            self.entries.pop(path, None)
            self.contents.pop(path, None)

    def save(self, path: Path) -> None:
        """Write the index, atomically."""
        temporary = path.with_name(path.name + ".new")
        temporary.write_bytes(marshal.dumps((FORMAT, self.entries, self.contents)))
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> PrefixIndex:
        """Read an index that :meth:`save` wrote; the file is our own, in a folder of the user's.

        Raises:
            BadDataError: It isn't there or can't be read.
        """
        try:
            version, entries, contents = marshal.loads(path.read_bytes())  # noqa: S302 - our own file
        except (OSError, ValueError, EOFError, TypeError) as error:
            raise BadDataError(path, f"no usable index of the switch: {error}") from error
        if version != FORMAT:
            raise BadDataError(path, "index of another version", expected=FORMAT, observed=version)
        return cls(entries, contents)


@dataclass(frozen=True, slots=True)
class Difference:
    """What changed between two looks at a prefix: paths, sorted, folders before what they hold."""

    added: tuple[str, ...]
    changed: tuple[str, ...]


def compare(before: PrefixIndex, after: PrefixIndex) -> Difference:
    """Name what is new and what is another thing than before; removals don't count.

    A folder whose times changed is no difference: only its mode could be.
    """
    old = before.entries
    added, changed = [], []
    for path, entry in after.entries.items():
        known = old.get(path)
        if known is None:
            added.append(path)
        elif known != entry:
            changed.append(path)
    return Difference(tuple(sorted(added)), tuple(sorted(changed)))


def with_parents(paths: Iterable[str]) -> list[str]:
    """Return the paths and every folder above them, sorted."""
    found: set[str] = set()
    for path in paths:
        while path and path not in found:
            found.add(path)
            path = path.rpartition("/")[0]  # noqa: PLW2901 - walking up
    return sorted(found)


def _entry(status: os.stat_result) -> Entry:
    if stat.S_ISDIR(status.st_mode):
        return (status.st_mode, status.st_ino, 0, 0)
    return (status.st_mode, status.st_ino, status.st_size, status.st_mtime_ns)
