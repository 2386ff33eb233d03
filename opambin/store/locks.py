"""The lock between those who write into a store and the garbage collector.

Writers share it, gc takes it alone. Both sides are ``flock`` on ``locks/store.lock``; gc goes through
filelock (which is ``flock`` underneath), writers call it directly because filelock's file locks have no
shared mode and cost a hook 50 ms to import.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

from opambin.errors import UnavailableError
from opambin.store.faults import store_faults
from opambin.store.permissions import make_folder, share_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class StoreLock:
    """A lock file of the store at ``root``, counted within the process.

    Args:
        root: Of the store.
        path: Of the lock file.
    """

    def __init__(self, root: Path, path: Path) -> None:
        """Lock nothing yet."""
        self._root = root
        self._path = path
        self._guard = Lock()
        self._holders = 0
        self._fd = -1

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hold the lock as one writer of many; may be nested, and used from several threads."""
        with self._guard:
            if self._holders == 0:
                with store_faults(self._root):
                    self._fd = _flock_current(self._path, fcntl.LOCK_SH)
            self._holders += 1
        try:
            yield
        finally:
            with self._guard:
                self._holders -= 1
                if self._holders == 0 and self._fd >= 0:
                    os.close(self._fd)
                    self._fd = -1

    @contextmanager
    def exclusive(self, timeout: float) -> Iterator[None]:
        """Hold the lock alone.

        Args:
            timeout: How long to wait for writers, in seconds.

        Raises:
            UnavailableError: A writer was still there after that.
        """
        import filelock

        with store_faults(self._root):
            make_folder(self._path.parent)
            os.close(_open(self._path))  # so that whoever shares the store may lock it, too
            lock = filelock.FileLock(self._path, timeout=timeout)
            try:
                lock.acquire()
            except filelock.Timeout as error:
                raise UnavailableError(
                    f"the store at {self._root} is being written by another process; try again later"
                ) from error
        with self._guard:
            self._holders += 1  # whoever asks for a share inside the block has it
            self._fd = -1
        try:
            yield
        finally:
            with self._guard:
                self._holders -= 1
            lock.release()


@contextmanager
def exclusive_file(path: Path) -> Iterator[None]:
    """Hold a lock file of the store alone, waiting as long as it takes; for short sections."""
    fd = _flock_current(path, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(fd)


def _flock_current(path: Path, operation: int) -> int:
    """Open and lock ``path``; the result is a descriptor.

    Some versions of filelock remove their file on release. A lock on a removed file locks out nobody, so look
    again once it is held.
    """
    while True:
        try:
            fd = _open(path)
        except FileNotFoundError:
            make_folder(path.parent)
            continue
        try:
            fcntl.flock(fd, operation)
            if os.path.samestat(os.fstat(fd), path.stat()):
                return fd
        except FileNotFoundError:
            pass  # removed between our open and our lock: the next turn makes it again
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _open(path: Path) -> int:
    new = not path.exists()
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    if new:
        share_file(path)
    return fd
