"""A directory as a remote: on this machine, or on any mounted file system (NFS, SMB).

No locks: a file is written under another name and gets its own by ``link`` (which fails when there is one)
or by ``rename``; both are atomic on NFS, too. Names that begin with a dot are ours, and no names of a remote.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import shutil
import stat
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from opambin.errors import BadDataError, MisuseError, UnavailableError
from opambin.remote.batch import in_batch
from opambin.remote.faults import RefusedError, RemoteDownError
from opambin.remote.protocol import Answers, Entry, Span, check_name
from opambin.remote.reading import checked_limit, wrong_length

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

DRAFTS = ".drafts"
OLD_DRAFT_SECONDS = 86_400  # what a writer that was killed has left, is removed after a day
PIECE = 1 << 20  # bytes
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.ENOTSUP})
_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_BROKEN = frozenset({errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.ENOTCONN, errno.ENODEV})
_DRAFT = re.compile(r"\d+-\d+-[0-9a-f]{8}")
_serial = itertools.count()
_salt = os.urandom(4).hex()  # other hosts and pid namespaces write there, too


class DirectoryRemote:
    """A directory.

    Args:
        root: Where it is, absolute.
        write: Whether we may write. Then a missing directory is an empty one, and made by the first write;
            otherwise it is one that is not there (not mounted).
        workers: How many files of a batch are read at once.
        sync: Whether a write waits for the disk. Without, a power failure may leave an empty file under a
            name, and the first writer wins.
    """

    def __init__(self, root: Path, *, write: bool = False, workers: int = 8, sync: bool = True) -> None:
        self.root = root
        self._sync = sync
        self._write = write
        self._workers = workers
        self._swept = False

    @property
    def url(self) -> str:
        """Where it is."""
        return str(self.root)

    def get(self, name: str, *, limit: int, span: Span | None = None) -> bytes | None:
        """Return what ``name`` holds, or a part of it (see :class:`opambin.remote.protocol.Remote`)."""
        try:
            return self._get(name, limit, span)
        except RemoteDownError as error:
            if not _is_stale(error):
                raise
            return self._get(name, limit, span)  # NFS: it was replaced while it was read

    def _get(self, name: str, limit: int, span: Span | None) -> bytes | None:
        fd = self._open(name)
        if fd is None:
            return None
        start = span.start if span else 0
        with self._faults(), os.fdopen(fd, "rb", buffering=0) as stream:
            wanted = checked_limit(f"{self.url}/{name}", os.fstat(fd).st_size, limit=limit, span=span)
            stream.seek(start)
            pieces = []
            while wanted > 0 and (piece := stream.read(wanted)):
                pieces.append(piece)
                wanted -= len(piece)
            return b"".join(pieces)

    def get_many(self, names: Iterable[str], *, limit: int) -> Answers:
        """Return what many names hold."""
        return in_batch(lambda name: self.get(name, limit=limit), names, self._workers)

    def fetch(self, name: str, into: Callable[[bytes], object], *, size: int) -> bool:
        """Hand what ``name`` holds to ``into``, piece by piece."""
        fd = self._open(name)
        if fd is None:
            return False
        with os.fdopen(fd, "rb", buffering=0) as stream:
            observed = os.fstat(fd).st_size
            if observed != size:
                raise wrong_length(f"{self.url}/{name}", size, observed)
            left = size
            while left:
                with self._faults():
                    piece = stream.read(min(PIECE, left))
                if not piece:
                    raise wrong_length(f"{self.url}/{name}", size, size - left)
                left -= len(piece)
                into(piece)
        return True

    def put(self, name: str, data: bytes | Path, *, replace: bool = False) -> bool:
        """Store bytes, or the content of a file."""
        final = self.root / check_name(name)
        with self._faults(writing=True):
            if not replace and final.exists():
                return False
            with self._draft() as draft:
                _write(draft, data, sync=self._sync)
                final.parent.mkdir(parents=True, exist_ok=True)
                if replace:
                    _replace(draft, final)
                    return True
                return _link(draft, final)

    def entries(self, folder: str) -> Iterator[Entry]:
        """Yield every file below ``folder``."""
        top = self.root / check_name(folder) if folder else self.root
        if not self._is_there():
            return
        for path in (top, *top.parents):
            if path == self.root:  # which may be a link: it is the user's own
                break
            _refuse_link(path)
        with self._faults():
            yield from self._walk(top)

    def _walk(self, top: Path) -> Iterator[Entry]:
        for path, folders, files in os.walk(top, onerror=_unless_gone):
            folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
            base = Path(path).relative_to(self.root).as_posix()
            for file in sorted(files):
                name = file if base == "." else f"{base}/{file}"
                with suppress(FileNotFoundError, MisuseError):
                    found = os.lstat(self.root / check_name(name))
                    if stat.S_ISREG(found.st_mode):
                        yield Entry(name, found.st_size, found.st_mtime)

    def remove(self, name: str) -> None:
        """Remove a file, and the folders above it that are empty then."""
        path = self.root / check_name(name)
        with self._faults(writing=True), suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()
        for parent in path.parents[: len(name.split("/")) - 1]:
            try:
                parent.rmdir()
            except OSError:  # not empty, or being filled
                return

    def close(self) -> None:
        """Nothing to let go of."""

    def _open(self, name: str) -> int | None:
        """Open a regular file; None when there is none."""
        path = self.root / check_name(name)
        with self._faults():
            try:
                # not blocking: a FIFO must not stop us
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            except (FileNotFoundError, NotADirectoryError):
                self._is_there()
                return None
            if stat.S_ISREG(os.fstat(fd).st_mode):
                return fd
            os.close(fd)
        raise BadDataError(path, "not a file", expected="a regular file", observed="something else")

    def _is_there(self) -> bool:
        if self.root.is_dir():
            return True
        if self._write and not self.root.exists():
            return False
        raise RemoteDownError(self.url, "there is no such directory; is it mounted?")

    @contextmanager
    def _draft(self) -> Iterator[Path]:
        folder = self.root / DRAFTS
        folder.mkdir(parents=True, exist_ok=True)
        _refuse_link(folder)
        if not self._swept:
            self._swept = True
            _sweep(folder)
        draft = folder / f"{os.getpid()}-{next(_serial)}-{_salt}"
        try:
            yield draft
        finally:
            with suppress(OSError):
                draft.unlink()

    @contextmanager
    def _faults(self, *, writing: bool = False) -> Iterator[None]:
        """Turn an OSError into what a remote raises."""
        try:
            yield
        except OSError as error:
            words = error.strerror or str(error)
            if error.errno in _REFUSED:
                verb = "written" if writing else "read"
                raise RefusedError(self.url, f"can't be {verb}: {words}", writing=writing) from error
            if error.errno in _BROKEN:
                raise RemoteDownError(self.url, words) from error
            raise UnavailableError(f"{self.url}: {words}") from error


def _refuse_link(folder: Path) -> None:
    """Refuse a link in place of a folder: who else may write here could lead us to files of ours.

    Raises:
        BadDataError: It is one.
    """
    if folder.is_symlink():
        raise BadDataError(folder, "not a folder, but a link; remove it")


def _unless_gone(error: OSError) -> None:
    """Raise what a listing met: gc would take what is named in the part that is missing for garbage."""
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise error


def _write(draft: Path, data: bytes | Path, *, sync: bool) -> None:
    # readable for whom the umask says; tempfile's 0600 would lock everybody else out
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    with os.fdopen(fd, "wb", buffering=0) as stream:
        if isinstance(data, bytes):
            left = memoryview(data)
            while left:
                left = left[stream.write(left) :]
        else:
            with data.open("rb") as source:
                shutil.copyfileobj(source, stream, PIECE)
        if sync:
            os.fsync(fd)  # over NFS this is also what tells of a full disk


def _is_stale(error: RemoteDownError) -> bool:
    """Say whether a file is gone that was open: over NFS nobody keeps it for who reads it."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.ESTALE


def _replace(draft: Path, final: Path) -> None:
    number = draft.stat().st_ino
    try:
        draft.replace(final)
    except FileNotFoundError:
        # NFS: it was renamed, the answer got lost, and the second try found no draft
        if final.stat().st_ino != number:
            raise


def _link(draft: Path, final: Path) -> bool:
    try:
        final.hardlink_to(draft)
    except FileExistsError:
        # NFS: the link was made, its answer got lost, and the second try found the first one's link
        return draft.stat().st_nlink == 2
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # No hard links there (SMB, FUSE). In the gap between these two steps the last writer wins.
        if final.exists():
            return False
        draft.replace(final)
    return True


def _sweep(folder: Path) -> None:
    now = time.time()
    with suppress(OSError):
        for path in folder.iterdir():
            with suppress(OSError):
                if _DRAFT.fullmatch(path.name) and now - path.lstat().st_mtime > OLD_DRAFT_SECONDS:
                    path.unlink()
