"""Writing small files so that everything can be put back.

The one place that writes under ``.opam-switch``. Each step first notes what was there: content, mode and
times, for a ``.changes`` file speaks of times. The log is in memory: undoing is for errors, not power cuts.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from opambin.errors import UnavailableError
from opambin.frozen import dataclass
from opambin.opam.statefile import replace_file

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class _Before:
    """What a path was; all None when nothing was there."""

    path: Path
    content: bytes | None = None
    target: str | None = None
    directory: bool = False
    mode: int = 0
    times: tuple[int, int] = (0, 0)


class Journal:
    """A list of writes that can be undone."""

    def __init__(self) -> None:
        """Start empty."""
        self._log: list[_Before] = []

    @property
    def touched(self) -> tuple[Path, ...]:
        """The paths that were written or removed, in order; a path may appear twice."""
        return tuple(before.path for before in self._log)

    def write(self, path: Path, content: bytes) -> None:
        """Write a file, with the directories above it.

        Raises:
            UnavailableError: It can't be written.
        """
        self.make_directory(path.parent)
        self._note(path)
        try:
            if path.is_symlink():
                path.unlink()
            path.write_bytes(content)
        except OSError as error:
            raise UnavailableError(f"{path} can't be written: {error.strerror}") from error

    def replace(self, path: Path, content: bytes) -> None:
        """Write a file so that readers see the old or the new content.

        Raises:
            UnavailableError: It can't be written.
        """
        self._note(path)
        replace_file(path, content)

    def link(self, path: Path, target: str) -> None:
        """Make a symlink, in the place of what is there.

        Raises:
            UnavailableError: It can't be made.
        """
        self.make_directory(path.parent)
        self.remove(path)
        self._note(path)
        try:
            path.symlink_to(target)
        except OSError as error:
            raise UnavailableError(f"{path} can't be made: {error.strerror}") from error

    def make_directory(self, path: Path) -> None:
        """Make a directory and those above it, when missing.

        Raises:
            UnavailableError: It can't be made.
        """
        if path.is_dir():
            return
        self.make_directory(path.parent)
        self._note(path)
        try:
            path.mkdir()
        except OSError as error:
            raise UnavailableError(f"{path} can't be made: {error.strerror}") from error

    def remove(self, path: Path) -> None:
        """Remove a file, a symlink, or a directory with all that it holds; nothing there is fine.

        Raises:
            UnavailableError: It can't be removed.
        """
        if not os.path.lexists(path):
            return
        try:
            if path.is_dir() and not path.is_symlink():
                for child in sorted(path.iterdir()):
                    self.remove(child)
                self._note(path)
                path.rmdir()
            else:
                self._note(path)
                path.unlink()
        except OSError as error:
            raise UnavailableError(f"{path} can't be removed: {error.strerror}") from error

    def undo(self) -> None:
        """Put everything back, the last write first.

        Raises:
            UnavailableError: A path can't be put back; the others are.
        """
        failed: list[str] = []
        while self._log:
            before = self._log.pop()
            try:
                _put_back(before)
            except OSError as error:
                failed.append(f"{before.path}: {error.strerror}")
        if failed:
            raise UnavailableError("can't be put back: " + "; ".join(failed))

    def _note(self, path: Path) -> None:
        try:
            self._log.append(_look(path))
        except OSError as error:
            raise UnavailableError(f"{path} can't be read: {error.strerror}") from error


def _look(path: Path) -> _Before:
    try:
        info = path.lstat()
    except FileNotFoundError:
        return _Before(path)
    mode, times = stat.S_IMODE(info.st_mode), (info.st_atime_ns, info.st_mtime_ns)
    if stat.S_ISLNK(info.st_mode):
        return _Before(path, target=os.readlink(path), times=times)  # noqa: PTH115 - a Path would tidy it up
    if stat.S_ISDIR(info.st_mode):
        return _Before(path, directory=True, mode=mode, times=times)
    return _Before(path, content=path.read_bytes(), mode=mode, times=times)


def _put_back(before: _Before) -> None:
    path = before.path
    if os.path.lexists(path) and not before.directory:
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()
    if before.target is not None:
        path.symlink_to(before.target)
        os.utime(path, ns=before.times, follow_symlinks=False)
    elif before.directory:
        path.mkdir(exist_ok=True)
        path.chmod(before.mode)
        os.utime(path, ns=before.times)
    elif before.content is not None:
        path.write_bytes(before.content)
        path.chmod(before.mode)
        os.utime(path, ns=before.times)
