"""Making the copy of a switch in a folder beside its place.

What does not change is copied by the kernel, or linked when the old switch goes away anyway. Modes, times,
symlinks, hard links and empty folders are as they were.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from opambin.errors import BadDataError, UnavailableError
from opambin.move.tree import META, Found, Kind
from opambin.opam.changes import QUICK, Change, ChangeKind, Changes, digest
from opambin.opam.statefile import replace_file
from opambin.relocate.copying import copy

if TYPE_CHECKING:
    from opambin.move.content import Rewriting
    from opambin.move.survey import Progress, Survey

_REPORT_EVERY = 4 << 20  # bytes
_OWN_FOLDER = 0o700  # while it is filled
_SPARE = 16 << 20  # bytes that shall stay free on the disk
_BLOCK = 4096  # bytes that every file is rounded up to
NO_LINKS = frozenset({errno.EXDEV, errno.EMLINK, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP})
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


class Staging:
    """One copy in the making.

    Args:
        survey: What to copy.
        folder: Where; on the file system of the new prefix.
        link: Whether files that do not change may be hard links to the old ones.
    """

    def __init__(self, survey: Survey, folder: Path, *, link: bool) -> None:
        self.folder = folder
        self._survey = survey
        self._link = link
        self._base = str(folder)
        self._replaced: dict[str, int] = {}

    def check_space(self) -> None:
        """Find out whether the disk has room.

        Raises:
            UnavailableError: It has not.
        """
        place = next(path for path in (self.folder, *self.folder.parents) if path.exists())
        link = self._link and os.stat(self._survey.route.old).st_dev == place.stat().st_dev  # noqa: PTH116
        needed = sum(
            -(-self._survey.changed.get(found.path, found.status.st_size) // _BLOCK) * _BLOCK
            for found in self._survey.content()
            if not link or found.path in self._survey.changed
        )
        free = shutil.disk_usage(place).free
        if needed + _SPARE > free:
            raise UnavailableError(
                f"{place} has {free >> 20} MiB free, and {(needed + _SPARE >> 20) + 1} MiB are needed"
            )

    def fill(self, progress: Progress) -> None:
        """Make everything.

        Raises:
            UnavailableError: The disk refuses, or the old switch is being changed.
        """
        try:
            self.folder.mkdir(mode=_OWN_FOLDER)
            self._copy(progress)
            (self.folder / META / "lock").touch()
            self._correct_changes()
            self._finish_folders()
        except OSError as error:
            raise UnavailableError(f"{error.filename or self.folder}: {error.strerror}") from error

    def verify(self, progress: Progress) -> None:
        """Look at what was made: nothing that is needed names the old prefix any more.

        Raises:
            BadDataError: Something does.
        """
        survey = self._survey
        rewriting = survey.route.rewriting
        total = survey.size
        done = told = 0
        for found in survey.content():
            if not self._link or found.path in survey.changed or found.path in self._replaced:
                self._verify(found, rewriting)
            done += found.status.st_size
            if done - told >= _REPORT_EVERY:
                progress("verifying", done, total)
                told = done
        progress("verifying", total, total)

    def _verify(self, found: Found, rewriting: Rewriting) -> None:
        survey = self._survey
        full = Path(f"{self._base}/{found.path}")
        expected = survey.changed.get(found.path, found.status.st_size)
        expected = self._replaced.get(found.path, expected)
        observed = full.lstat().st_size
        if observed != expected:
            raise BadDataError(full, "has another size", expected=expected, observed=observed)
        if found.is_verbatim or survey.route.leaves(found.path):
            return
        problem = rewriting.named_in(full.read_bytes(), found.path, record=found.is_record)
        if problem:
            raise BadDataError(full, problem)

    def _copy(self, progress: Progress) -> None:
        survey = self._survey
        total = survey.size
        done = told = 0
        for found in survey.found:
            full = f"{self._base}/{found.path}"
            if found.kind is Kind.FOLDER:
                if found.path:
                    os.mkdir(full, _OWN_FOLDER)  # noqa: PTH102 - thousands of them
            elif found.kind is Kind.LINK:
                self._symlink(found, full)
            elif found.path in survey.hardlinks:
                os.link(f"{self._base}/{survey.hardlinks[found.path]}", full)
            else:
                self._file(found, full)
                done += found.status.st_size
                if done - told >= _REPORT_EVERY:
                    progress("copying", done, total)
                    told = done
        progress("copying", total, total)

    def _symlink(self, found: Found, full: str) -> None:
        target = self._survey.links.get(found.path)
        if target is None:
            target = os.readlink(f"{self._survey.route.old}/{found.path}")  # noqa: PTH115 - the exact text
        os.symlink(target, full)  # noqa: PTH211 - the same
        _own(full, found.status)
        os.utime(full, ns=_times(found.status), follow_symlinks=False)

    def _file(self, found: Found, full: str) -> None:
        source = f"{self._survey.route.old}/{found.path}"
        changed = found.path in self._survey.changed
        if self._link and not changed and _linked(source, full):
            _refuse_changed(source, found.status, os.lstat(full))
            return
        descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            _refuse_changed(source, found.status, os.fstat(descriptor))
            output = os.open(full, _NEW, 0o600)
            try:
                if changed:
                    self._rewrite(found, descriptor, output)
                else:
                    copy(descriptor, output, found.status.st_size)
                _own(output, found.status)
                os.fchmod(output, stat.S_IMODE(found.status.st_mode))
                os.utime(output, ns=_times(found.status))
            finally:
                os.close(output)
        finally:
            os.close(descriptor)

    def _rewrite(self, found: Found, source: int, output: int) -> None:
        with os.fdopen(source, "rb", closefd=False) as stream:
            data = stream.read()
        content = self._survey.rewritten(found, data).content
        if content is None or len(content) != self._survey.changed[found.path]:
            raise UnavailableError(
                f"{found.path} is being changed: try again when nothing works in the switch"
            )
        with os.fdopen(output, "wb", closefd=False) as target:
            target.write(content)

    def _correct_changes(self) -> None:
        """Bring opam's lists of files in line with sizes and links that changed.

        An entry that was not true before stays as it was: the user has changed that file.
        """
        survey = self._survey
        old = Path(survey.route.old)
        touched = {*survey.changed, *survey.links}
        touched |= {path for path, first in survey.hardlinks.items() if first in touched}
        for name, changes in survey.owners.changes.items():
            entries = [
                self._corrected(entry, old) if entry.path in touched else entry for entry in changes.entries
            ]
            after = Changes(tuple(entries))
            if after != changes:
                path = f"{META}/install/{name}.changes"
                self.replace(path, after.render().encode("utf-8", "surrogateescape"))

    def _corrected(self, entry: Change, old: Path) -> Change:
        if entry.kind in (ChangeKind.REMOVED, ChangeKind.PERMISSIONS):
            return entry
        precise = entry.digest.startswith("F:") and not entry.digest.startswith(QUICK)
        if digest(old / entry.path, precise=precise) != entry.digest:
            return entry
        return replace(entry, digest=digest(self.folder / entry.path, precise=precise))

    def replace(self, path: str, content: bytes) -> None:
        """Write one of opam's records of the copy anew; its times stay."""
        full = self.folder / path
        status = full.stat()
        replace_file(full, content)
        os.utime(full, ns=_times(status))
        self._replaced[path] = len(content)

    def _finish_folders(self) -> None:
        """Give folders their modes and times, the innermost first."""
        for found in reversed(self._survey.found):
            if found.kind is Kind.FOLDER:
                full = f"{self._base}/{found.path}"
                _own(full, found.status)
                os.chmod(full, stat.S_IMODE(found.status.st_mode))  # noqa: PTH101 - thousands of them
                os.utime(full, ns=_times(found.status))


def _times(status: os.stat_result) -> tuple[int, int]:
    return status.st_atime_ns, status.st_mtime_ns


def _own(file: str | int, status: os.stat_result) -> None:
    """Give a file its owner, where we may: only root can."""
    if os.geteuid() == 0 and (status.st_uid, status.st_gid) != (0, 0):
        if isinstance(file, int):
            os.fchown(file, status.st_uid, status.st_gid)
        else:
            os.lchown(file, status.st_uid, status.st_gid)


def _linked(source: str, full: str) -> bool:
    """Make a hard link; False when the file system will not."""
    try:
        os.link(source, full, follow_symlinks=False)
    except OSError as error:
        if error.errno in NO_LINKS:
            return False
        raise
    return True


def _refuse_changed(path: str, before: os.stat_result, now: os.stat_result) -> None:
    same = (before.st_ino, before.st_size, before.st_mtime_ns) == (now.st_ino, now.st_size, now.st_mtime_ns)
    if not same:
        raise UnavailableError(f"{path} was changed meanwhile: try again when nothing works in the switch")
