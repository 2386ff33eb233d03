"""Reading and hashing files."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from opambin.errors import UnavailableError
from opambin.model import Digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CHUNK_BYTES = 1 << 20


def read(path: Path, fd: int, size: int) -> bytes:
    """Read to the end of the file, which had ``size`` bytes a moment ago."""
    parts: list[bytes] = []
    try:
        # One byte more than expected: a file that did not change needs one read and one that says "end".
        while part := os.read(fd, CHUNK_BYTES if parts else size + 1):
            parts.append(part)
    except OSError as error:
        raise unreadable(path, error) from error
    return parts[0] if len(parts) == 1 else b"".join(parts)


def hash_path(path: Path) -> tuple[Digest, int]:
    """Return digest and size of a file.

    Raises:
        UnavailableError: It can't be read.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise unreadable(path, error) from error
    try:
        return hash_fd(path, fd)
    finally:
        os.close(fd)


def hash_fd(path: Path, fd: int, sink: Callable[[memoryview], None] | None = None) -> tuple[Digest, int]:
    """Hash from the start to the end of a file, handing every chunk to ``sink``."""
    state = hashlib.sha256()
    buffer = memoryview(bytearray(CHUNK_BYTES))
    size = 0
    while True:
        try:
            count = os.preadv(fd, [buffer], size)
        except OSError as error:
            raise unreadable(path, error) from error
        if not count:
            return Digest(state.hexdigest()), size
        state.update(buffer[:count])
        if sink:
            sink(buffer[:count])
        size += count


def unreadable(path: Path, error: OSError) -> UnavailableError:
    """Return the error to raise for ``error``, which a read of ``path`` met."""
    return UnavailableError(f"{path} can't be read: {error.strerror or error}")
