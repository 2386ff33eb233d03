"""Copies of files made by the kernel, without their bytes passing through this process."""

from __future__ import annotations

import errno
import fcntl
import os
from enum import StrEnum

from opambin.errors import BadDataError

FICLONE = 0x40049409  # linux/fs.h: share all extents of another file
_UNSUPPORTED = frozenset(
    {
        errno.EXDEV,
        errno.EINVAL,
        errno.ENOSYS,
        errno.ENOTSUP,
        errno.EOPNOTSUPP,
        errno.EPERM,
        errno.ENOTTY,
        errno.EBADF,
        errno.ETXTBSY,
    }
)
_CHUNK = 1 << 30  # bytes for one call; the kernel copies at most 2 GiB at a time


class Way(StrEnum):
    """How the bytes of a file got to their place."""

    REFLINK = "reflink"
    COPY = "copy"
    LINK = "link"
    WRITE = "write"


def copy(source: int, target: int, size: int) -> Way:
    """Fill the empty file ``target`` with the first ``size`` bytes of ``source``; both are descriptors.

    Raises:
        OSError: The file system is full or fails.
        BadDataError: The source has fewer bytes.
    """
    if size == 0:
        return Way.COPY
    try:
        fcntl.ioctl(target, FICLONE, source)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    else:
        return Way.REFLINK
    done = _copy_range(source, target, size)
    while done < size:
        count = os.sendfile(target, source, done, min(_CHUNK, size - done))
        if count == 0:
            raise BadDataError("source of a copy", "shorter than it was", expected=size, observed=done)
        done += count
    return Way.COPY


def _copy_range(source: int, target: int, size: int) -> int:
    """Copy with ``copy_file_range``; return how many bytes the file systems let it copy."""
    done = 0
    while done < size:
        try:
            count = os.copy_file_range(source, target, min(_CHUNK, size - done), done)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            return done
        if count == 0:
            return done
        done += count
    return done
