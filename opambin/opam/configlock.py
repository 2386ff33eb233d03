"""Replacing opam's global configuration under opam's own lock."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opambin.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK_TIMEOUT = 30.0  # seconds
_RETRY = 0.05  # seconds


def replace_locked(config: Path, expected: bytes, content: bytes) -> bool:
    """Replace the configuration, if it still is what was expected.

    Args:
        config: Its path.
        expected: The bytes that the caller has read.
        content: The new bytes.

    Returns:
        False when somebody changed it meanwhile; then nothing is written.

    Raises:
        UnavailableError: The lock is not to be had, or the file can't be written.
    """
    beside = config.with_name(f".{config.name}.{os.getpid()}")
    try:
        with _locked(config.with_name("config.lock")):
            if config.read_bytes() != expected:
                return False
            beside.write_bytes(content)
            beside.chmod(config.stat().st_mode & 0o7777)
            beside.replace(config)
            return True
    except OSError as error:
        raise UnavailableError(f"{config}: {error.strerror}") from error
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock that opam takes to write its configuration: fcntl's, which flock doesn't exclude."""
    deadline = time.monotonic() + LOCK_TIMEOUT
    with path.open("ab") as file:
        while True:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except (BlockingIOError, PermissionError) as error:
                if time.monotonic() > deadline:
                    raise UnavailableError(f"{path} is locked by another opam; try again later") from error
                time.sleep(_RETRY)
        yield
