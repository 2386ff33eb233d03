"""opam's own locks on a switch.

``opam install`` holds a shared lock on ``OPAMROOT/lock`` and an exclusive one on ``.opam-switch/lock``, both
by ``fcntl`` (POSIX record locks); so do we. ``flock`` would exclude nobody.

A POSIX lock belongs to the process, not to the descriptor: closing *any* descriptor of the file drops it.
While a :class:`SwitchLock` is held nothing else in the process may open ``.opam-switch/lock`` or
``OPAMROOT/lock`` (copying ``.opam-switch`` as a tree would do that). A second lock on them is refused here.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from typing import TYPE_CHECKING

from opambin.errors import MisuseError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

PATIENCE = 1.0  # seconds, before the user is told what we wait for
POLL = 0.05  # seconds between attempts
BUSY = frozenset({errno.EACCES, errno.EAGAIN})

_held: set[tuple[int, int]] = set()
"""Device and inode of the lock files that this process holds."""


class SwitchLock:
    """The right to write into a switch; a context manager.

    Args:
        switch_dir: The ``.opam-switch`` directory.
        root: opam's root; None leaves its lock alone.
        timeout: How long to wait, in seconds; 0 does not wait, None waits for ever.
        on_wait: Told once, in words, when the wait takes longer than a moment.
        assume_held: The opam that runs us holds the locks already: take none.
    """

    def __init__(
        self,
        switch_dir: Path,
        root: Path | None = None,
        *,
        timeout: float | None = None,
        on_wait: Callable[[str], None] | None = None,
        assume_held: bool = False,
    ) -> None:
        """Remember what to lock; nothing is opened yet."""
        self._root_file = None if root is None else root / "lock"
        self._switch_file = switch_dir / "lock"
        self._timeout = timeout
        self._on_wait = on_wait
        self._assume_held = assume_held
        self._descriptors: list[int] = []

    @property
    def held(self) -> bool:
        """Whether writing is allowed now."""
        return self._assume_held or bool(self._descriptors)

    def acquire(self) -> None:
        """Take the locks, the root's first, as opam does.

        Raises:
            UnavailableError: Another opam holds one of them for too long, or a file can't be opened.
            MisuseError: This process holds one of them already.
        """
        if self._assume_held:
            return
        if self._descriptors:
            raise MisuseError(f"{self._switch_file} is locked already by this process")
        try:
            if self._root_file is not None:
                self._take(self._root_file, exclusive=False)
            self._take(self._switch_file, exclusive=True)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Drop the locks, in reverse order; without effect when there are none."""
        while self._descriptors:
            descriptor = self._descriptors.pop()
            _held.discard(_identity(os.fstat(descriptor)))
            os.close(descriptor)

    def __enter__(self) -> SwitchLock:
        """Take the locks."""
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drop the locks."""
        self.release()

    def _take(self, path: Path, *, exclusive: bool) -> None:
        _refuse_second(path)
        flags = (os.O_RDWR if exclusive else os.O_RDONLY) | os.O_CREAT | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags, 0o666)
        except OSError as error:
            raise UnavailableError(f"the lock {path} can't be opened: {error.strerror}") from error
        try:
            self._wait_for(descriptor, path, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptors.append(descriptor)
        _held.add(_identity(os.fstat(descriptor)))

    def _wait_for(self, descriptor: int, path: Path, operation: int) -> None:
        start = time.monotonic()
        told = False
        while not _try_lock(descriptor, path, operation):
            waited = time.monotonic() - start
            if self._timeout is not None and waited >= self._timeout:
                raise UnavailableError(f"another opam holds {path}: try again when it has finished")
            if waited >= PATIENCE and not told and self._on_wait is not None:
                self._on_wait(f"waiting for another opam to release {path}")
                told = True
            time.sleep(POLL)


def _try_lock(descriptor: int, path: Path, operation: int) -> bool:
    try:
        fcntl.lockf(descriptor, operation | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in BUSY:
            return False
        raise UnavailableError(f"{path} can't be locked: {error.strerror}") from error
    return True


def _refuse_second(path: Path) -> None:
    try:
        info = path.stat()
    except OSError:
        return  # not there yet, so nobody holds it; opening it says what is wrong otherwise
    if _identity(info) in _held:
        raise MisuseError(f"{path} is locked already by this process; opening it again would drop that lock")


def _identity(info: os.stat_result) -> tuple[int, int]:
    return info.st_dev, info.st_ino
