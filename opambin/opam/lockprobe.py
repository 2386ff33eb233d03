"""Whether another process holds one of opam's locks, found out without taking it."""

from __future__ import annotations

import fcntl
import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def is_locked(path: Path) -> bool | None:
    """Tell whether somebody else holds an ``fcntl`` lock on a file.

    Closing the file drops this process's own locks on it (see :mod:`opambin.opam.lock`): don't ask about a
    lock that this process may hold.

    Args:
        path: The lock file; when it is not there nobody holds it.

    Returns:
        None when it can't be found out here.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, _question())
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return _type_of(answer) != fcntl.F_UNLCK


# ``struct flock``: Linux has type, whence, start, length, process; macOS and the BSDs start, length, process,
# type, whence.
_LINUX = os.uname().sysname == "Linux"


def _question() -> bytes:
    """Ask for a write lock on the whole file, which every other lock stands in the way of."""
    if _LINUX:
        return struct.pack("@hhlli4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    return struct.pack("@qqihh", 0, 0, 0, fcntl.F_WRLCK, os.SEEK_SET)


def _type_of(answer: bytes) -> int:
    return int(struct.unpack_from("@h", answer, 0 if _LINUX else struct.calcsize("@qqi"))[0])
