"""The one funnel for writing into a store: a file in ``tmp/``, then a link to its final name.

Rules:

* Nothing has its final name before it is whole.
* An existing name is never overwritten; the first writer wins.
* Whatever happens short of SIGKILL, the file in ``tmp/`` is removed; gc removes what SIGKILL left.
"""

from __future__ import annotations

import errno
import itertools
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opambin.errors import UnavailableError
from opambin.store.faults import unavailable
from opambin.store.locks import StoreLock
from opambin.store.permissions import make_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from opambin.store.layout import Layout

DRAFT_PREFIX = "put-"
NO_LINK_ERRORS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.ENOTSUP})
"""What ``link`` answers where the file system has no hard links (some FUSE and network ones)."""

_serial = itertools.count()
_salt = os.urandom(4).hex()  # other hosts and pid namespaces may share the store


@dataclass(slots=True)
class Draft:
    """A file of ``tmp/`` that is being written.

    Attributes:
        fd: Open for reading and writing.
        path: Where it is.
    """

    fd: int
    path: str

    def write(self, data: bytes | memoryview) -> None:
        """Append all of ``data``."""
        view = memoryview(data)
        while view:
            view = view[os.write(self.fd, view) :]


class Staging:
    """Writes files into one store.

    Args:
        layout: Of the store.
        readonly: Refuse every write.
        fsync: Wait for the disk before a file gets its name.
    """

    def __init__(self, layout: Layout, *, readonly: bool = False, fsync: bool = False) -> None:
        """Write nothing yet."""
        self.layout = layout
        self.readonly = readonly
        self.fsync = fsync
        self.lock = StoreLock(layout.root, layout.locks / "store.lock")

    def refuse_if_readonly(self) -> None:
        """Raise UnavailableError when the store was opened read-only."""
        if self.readonly:
            raise UnavailableError(f"the store at {self.layout.root} was opened read-only")

    @contextmanager
    def draft(self) -> Iterator[Draft]:
        """Open a new file in ``tmp/`` for the block; it is gone from there afterwards.

        Raises:
            UnavailableError: Something in the block failed for want of space or permission.
        """
        self.refuse_if_readonly()
        with self.lock.shared():
            try:
                draft = self._open()
                try:
                    yield draft
                finally:
                    os.close(draft.fd)
                    with suppress(FileNotFoundError):
                        os.unlink(draft.path)  # noqa: PTH108 (a string on purpose: thousands per second)
            except OSError as error:
                raise unavailable(error, self.layout.root) from error

    def publish(self, draft: Draft, final: Path) -> bool:
        """Give a finished draft its name.

        Returns:
            False when somebody else had already put that name there.
        """
        if self.fsync:
            os.fsync(draft.fd)
        try:
            _link(draft.path, final)
        except FileExistsError:
            return False
        except FileNotFoundError:
            make_folder(final.parent, parents=True)
            try:
                _link(draft.path, final)
            except FileExistsError:
                return False
        if self.fsync:
            _sync_directory(final.parent)
        return True

    def _open(self) -> Draft:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        path = f"{self.layout.tmp}/{DRAFT_PREFIX}{os.getpid()}-{next(_serial)}-{_salt}"
        try:
            return Draft(os.open(path, flags, 0o600), path)
        except FileNotFoundError:
            make_folder(self.layout.tmp)
            return Draft(os.open(path, flags, 0o600), path)


def _link(source: str, final: Path) -> None:
    try:
        os.link(source, final)
    except OSError as error:
        if error.errno not in NO_LINK_ERRORS:
            raise
        if final.exists():
            raise FileExistsError(errno.EEXIST, "exists", str(final)) from error
        # Atomic too. In the gap another writer may have put the same name: equal content, so no harm.
        os.rename(source, final)  # noqa: PTH104 (source is a string on purpose)


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
