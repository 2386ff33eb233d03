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
_NO_CLONES = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOTTY})
"""Errors that tell about a file system; other refusals are about one file."""
_without_clones: set[tuple[int, int]] = set()
"""Pairs of devices between which this process need not try again; threads may add to it at any time."""
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
    if _clone(source, target):
        return Way.REFLINK
    done = _copy_range(source, target, size)
    _send(source, target, (done, size))
    return Way.COPY


def copy_part(source: int, target: int, start: int, size: int) -> None:
    """Write ``size`` bytes of ``source`` from ``start`` on where ``target`` is positioned.

    Raises:
        OSError: The file system is full or fails.
        BadDataError: The source has fewer bytes.
    """
    done = _copy_range(source, target, size, start)
    _send(source, target, (start + done, start + size))


def _send(source: int, target: int, bounds: tuple[int, int]) -> None:
    done, end = bounds
    while done < end:
        count = os.sendfile(target, source, done, min(_CHUNK, end - done))
        if count == 0:
            raise BadDataError("source of a copy", "shorter than it was", expected=end, observed=done)
        done += count


def _clone(source: int, target: int) -> bool:
    """Let two files share their bytes; tell whether the file system did."""
    devices = os.fstat(source).st_dev, os.fstat(target).st_dev
    if devices in _without_clones:
        return False
    try:
        fcntl.ioctl(target, FICLONE, source)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        # Between parts of one overlay some files can be cloned and others not.
        if error.errno in _NO_CLONES or (error.errno == errno.EXDEV and devices[0] != devices[1]):
            _without_clones.add(devices)
        return False
    return True


def _copy_range(source: int, target: int, size: int, start: int = 0) -> int:
    """Copy with ``copy_file_range``; return how many bytes the file systems let it copy."""
    done = 0
    while done < size:
        try:
            count = os.copy_file_range(source, target, min(_CHUNK, size - done), start + done)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            return done
        if count == 0:
            return done
        done += count
    return done
