"""File contents by digest.

Every object is a regular file of mode 0444 or 0555 whose modification time is :data:`SENTINEL_MTIME`.
Whoever writes into an object in place (through a hard link: strip, ``cp`` over it, an editor, a compiler)
changes that time or the size, so one ``lstat`` tells whether an object may be used; only one that looks
different is read and hashed. What this can't see (a time put back on purpose, a bad disk) is for
``opam-bin verify --full``.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from opambin.errors import BadDataError, UnavailableError
from opambin.model import Digest
from opambin.store.faults import store_faults
from opambin.store.layout import EXECUTABLE_SUFFIX, Layout, is_hex64
from opambin.store.permissions import make_folder
from opambin.store.reading import hash_fd, hash_path, read, unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opambin.store.staging import Draft, Staging

SENTINEL_MTIME = 1_111_111_110  # seconds since 1970; even, because FAT counts in twos
SENTINEL_NS = SENTINEL_MTIME * 1_000_000_000
MODE = 0o444
EXECUTABLE_MODE = 0o555
FRESHEN_AFTER = 900  # seconds; well under the age at which gc may remove an object
WHOLE_FILE_MAX = 32 << 20  # bytes; larger files are streamed
FICLONE = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)


@dataclass(frozen=True, slots=True)
class FoundObject:
    """An object met on a walk.

    Attributes:
        digest: What its name claims.
        executable: Which of the two forms.
        size: In bytes.
        changed: Its ctime, in seconds since 1970: when it was put, or last asked for by a put.
    """

    digest: Digest
    executable: bool
    size: int
    changed: float


class Objects:
    """The objects of one store.

    Args:
        staging: Writes into the store.
        report: Called with a sentence when bad data is met.
    """

    def __init__(self, staging: Staging, report: Callable[[str], None]) -> None:
        """Read nothing yet."""
        self._staging = staging
        self._layout: Layout = staging.layout
        self._report = report
        self._no_clone: set[int] = set()  # devices from which cloning into the store failed

    def put_bytes(self, data: bytes | memoryview, *, executable: bool) -> tuple[Digest, int]:
        """Store ``data``.

        Returns:
            Its digest and size in bytes.

        Raises:
            UnavailableError: The store can't be written.
        """
        self._staging.refuse_if_readonly()
        digest = Digest(hashlib.sha256(data).hexdigest())
        with self._staging.lock.shared():
            if not self._present(digest, executable, len(data)):
                with self._staging.draft() as draft:
                    draft.write(data)
                    self._publish(draft, digest, executable, len(data))
        return digest, len(data)

    def put_known(self, data: bytes | memoryview, digest: Digest, *, executable: bool) -> bool:
        """Store bytes whose digest the caller has just computed; tells whether they were new.

        Raises:
            UnavailableError: The store can't be written.
        """
        self._staging.refuse_if_readonly()
        with self._staging.lock.shared():
            if self._present(digest, executable, len(data)):
                return False
            with self._staging.draft() as draft:
                draft.write(data)
                self._publish(draft, digest, executable, len(data))
        return True

    def put_file(self, path: Path, *, executable: bool) -> tuple[Digest, int]:
        """Store the content of a regular file.

        The bytes that are hashed are the bytes that are stored, even when somebody writes to ``path``
        meanwhile: a clone is hashed after it was made, and what can't be cloned is written from the memory
        that was hashed.

        Returns:
            Digest and size in bytes.

        Raises:
            UnavailableError: ``path`` can't be read, or the store can't be written.
        """
        self._staging.refuse_if_readonly()
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise unreadable(path, error) from error
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise UnavailableError(f"{path} can't be stored: not a regular file")
            if status.st_dev not in self._no_clone:
                done = self._put_clone(path, fd, executable=executable)
                if done:
                    return done
                self._no_clone.add(status.st_dev)
            if status.st_size <= WHOLE_FILE_MAX:
                return self.put_bytes(read(path, fd, status.st_size), executable=executable)
            return self._put_stream(path, fd, executable=executable)
        finally:
            os.close(fd)

    def path(self, digest: Digest, *, executable: bool, size: int) -> Path:
        """Do what :meth:`locate` does, for those who want a path."""
        return Path(self.locate(digest, executable=executable, size=size))

    def locate(self, digest: Digest, *, executable: bool, size: int) -> str:
        """Return where an object is, after one ``lstat`` that says it is sound.

        Raises:
            BadDataError: It is missing, or its bytes are wrong; it is then in quarantine.
        """
        name = self._layout.object_name(digest, executable=executable)
        try:
            status = os.lstat(name)
        except FileNotFoundError as error:
            raise BadDataError(
                name, "missing object", expected=f"{size} bytes", observed="nothing"
            ) from error
        except OSError as error:
            raise unreadable(Path(name), error) from error
        if not _looks_sound(status, executable, size):
            self.check(digest, executable=executable, size=size)
        return name

    def has(self, digest: Digest, *, executable: bool, size: int) -> bool:
        """Tell whether a sound object is there; to gc it is as young as a new one."""
        return self._present(digest, executable, size)

    def check(self, digest: Digest, *, executable: bool, size: int | None = None) -> int:
        """Read and hash an object; the sentinel is set again when the bytes are right.

        Args:
            digest: Of the object.
            executable: Which of the two forms.
            size: What a manifest says of it, in bytes; None when nothing is known.

        Returns:
            Its size in bytes.

        Raises:
            BadDataError: It is missing, or its bytes are wrong; it is then in quarantine.
            UnavailableError: It can't be read.
        """
        path = self._layout.object(digest, executable=executable)
        status = _lstat(path)
        if not stat.S_ISREG(status.st_mode):
            self._refuse(path, status, "not a regular file", digest, oct(stat.S_IFMT(status.st_mode)))
        observed, length = hash_path(path)
        if observed != digest:
            self._refuse(path, status, "damaged object (was it written in place?)", digest, observed)
        if size is not None and length != size:
            raise BadDataError(
                path, "the manifest gives another size for this object", expected=size, observed=length
            )
        self._heal(path, status, executable)
        return length

    def all(self) -> Iterator[FoundObject]:
        """Yield every object, in no order; names that are no digest are left out."""
        try:
            shelves = sorted(path.name for path in self._layout.objects.iterdir())
        except FileNotFoundError:
            return
        for shelf in shelves:
            with suppress(NotADirectoryError), os.scandir(self._layout.objects / shelf) as entries:
                for entry in entries:
                    digest = shelf + entry.name.removesuffix(EXECUTABLE_SUFFIX)
                    if is_hex64(digest):
                        status = entry.stat(follow_symlinks=False)
                        executable = entry.name.endswith(EXECUTABLE_SUFFIX)
                        yield FoundObject(Digest(digest), executable, status.st_size, status.st_ctime)

    def _put_clone(self, path: Path, fd: int, *, executable: bool) -> tuple[Digest, int] | None:
        """Store a file by sharing its blocks; None where the file systems can't."""
        with self._staging.draft() as draft:
            try:
                fcntl.ioctl(draft.fd, FICLONE, fd)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise
                return None
            digest, size = hash_fd(path, draft.fd)
            if not self._present(digest, executable, size):
                self._publish(draft, digest, executable, size)
        return digest, size

    def _put_stream(self, path: Path, fd: int, *, executable: bool) -> tuple[Digest, int]:
        with self._staging.draft() as draft:
            digest, size = hash_fd(path, fd, draft.write)
            if not self._present(digest, executable, size):
                self._publish(draft, digest, executable, size)
        return digest, size

    def _present(self, digest: Digest, executable: bool, size: int) -> bool:
        """Say whether a sound object is there already; a damaged one is moved away."""
        path = self._layout.object(digest, executable=executable)
        try:
            status = path.lstat()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise unreadable(path, error) from error
        if not _looks_sound(status, executable, size):
            try:
                self.check(digest, executable=executable, size=size)
            except BadDataError:
                return False  # reported, and moved away; the caller has the right bytes at hand
        elif _now() - status.st_ctime > FRESHEN_AFTER:
            self._freshen(path)
        return True

    def _freshen(self, path: Path) -> None:
        """Renew the ctime, by which gc sees that a writer relies on an object that nothing names yet."""
        with store_faults(self._layout.root):
            try:
                os.utime(path, ns=(SENTINEL_NS, SENTINEL_NS))
            except PermissionError:  # another's, in a store of a group: only its owner may set its time
                self._replace(path)

    def _replace(self, path: Path) -> None:
        """Put a copy of an object of ours in the place of another user's."""
        mode = stat.S_IMODE(path.stat().st_mode)
        with self._staging.draft() as draft:
            draft.write(path.read_bytes())
            os.fchmod(draft.fd, mode)
            os.utime(draft.fd, ns=(SENTINEL_NS, SENTINEL_NS))
            os.replace(draft.path, path)  # noqa: PTH105 - a text on purpose, as for all drafts

    def _publish(self, draft: Draft, digest: Digest, executable: bool, size: int) -> None:
        os.fchmod(draft.fd, EXECUTABLE_MODE if executable else MODE)
        os.utime(draft.fd, ns=(SENTINEL_NS, SENTINEL_NS))
        final = self._layout.object(digest, executable=executable)
        if self._staging.publish(draft, final) or self._present(digest, executable, size):
            return
        if not self._staging.publish(draft, final):
            raise UnavailableError(f"{final} is damaged and can't be moved away; remove it by hand")

    def _heal(self, path: Path, status: os.stat_result, executable: bool) -> None:
        """Set mode and sentinel again; where we may not (read-only, another's), the next use hashes again.

        Not when the file changed while it was being hashed: that writer would be hidden.
        """
        if self._staging.readonly:
            return
        mode = EXECUTABLE_MODE if executable else MODE
        with suppress(OSError):
            if _stamp(path.lstat()) != _stamp(status):
                return
            if stat.S_IMODE(status.st_mode) != mode:
                path.chmod(mode)
            os.utime(path, ns=(SENTINEL_NS, SENTINEL_NS), follow_symlinks=False)

    def _move_away(self, path: Path, status: os.stat_result) -> None:
        name = f"{path.parent.name}{path.name}-{os.urandom(4).hex()}"
        with suppress(OSError):  # can't be written, or another process was faster: it is refused all the same
            make_folder(self._layout.quarantine)
            if os.path.samestat(status, path.lstat()):
                path.rename(self._layout.quarantine / name)

    def _refuse(
        self, path: Path, status: os.stat_result, problem: str, expected: object, observed: object
    ) -> NoReturn:
        """Move an object to quarantine, if it is still the one that was looked at, and raise."""
        bad = BadDataError(path, problem, expected=expected, observed=observed)
        if not self._staging.readonly:
            self._move_away(path, status)
        self._report(str(bad))
        raise bad


def _looks_sound(status: os.stat_result, executable: bool, size: int) -> bool:
    return (
        status.st_mtime_ns == SENTINEL_NS
        and status.st_size == size
        and status.st_mode == stat.S_IFREG | (EXECUTABLE_MODE if executable else MODE)
    )


def _stamp(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns


def _now() -> float:
    import time

    return time.time()


def _lstat(path: Path) -> os.stat_result:
    try:
        return path.lstat()
    except FileNotFoundError as error:
        raise BadDataError(path, "missing object", expected="a file", observed="nothing") from error
    except OSError as error:
        raise unreadable(path, error) from error
