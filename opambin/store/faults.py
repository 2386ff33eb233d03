"""Operating system errors of the store, told as what the user can do about them."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opambin.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NO_SPACE = "free some space there, run 'opam-bin gc', or name another directory in OPAMBIN_CACHE"
_NO_ACCESS = "make it writable for you, or name another directory in OPAMBIN_CACHE"

REMEDIES = {
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: _NO_SPACE,
    errno.EFBIG: "raise the limit on file sizes (ulimit -f), or name another directory in OPAMBIN_CACHE",
    errno.EROFS: _NO_ACCESS,
    errno.EACCES: _NO_ACCESS,
    errno.EPERM: _NO_ACCESS,
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
}


def unavailable(error: OSError, root: Path) -> UnavailableError:
    """Return the error to raise for ``error``, which a write into the store at ``root`` met."""
    remedy = REMEDIES.get(
        error.errno or 0, "look at the file system, or name another directory in OPAMBIN_CACHE"
    )
    return UnavailableError(f"the store at {root} can't be written: {error.strerror or error}; {remedy}")


@contextmanager
def store_faults(root: Path) -> Iterator[None]:
    """Turn the OSError of a write into the store into :class:`UnavailableError`."""
    try:
        yield
    except OSError as error:
        raise unavailable(error, root) from error
