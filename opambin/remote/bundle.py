"""A plain tar file as a remote that is only read: its members are the names.

``tar tf`` lists one, ``tar xf`` makes a directory of it that serves as a remote, too. Only what we write
ourselves is read: ustar headers, regular files, names of remotes, each once. So there are no links, no
devices and no extended headers to be fooled with.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import threading
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from opambin.errors import BadDataError, MisuseError, UnavailableError
from opambin.remote.batch import in_batch
from opambin.remote.faults import RefusedError, RemoteDownError
from opambin.remote.protocol import FORMAT, FORMAT_NAME, Answers, Entry, Span, check_name
from opambin.remote.reading import checked_limit, wrong_length

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

BLOCK = 512  # bytes
PIECE = 1 << 20  # bytes
MAX_MEMBERS = 1_000_000
MAX_MEMBER_BYTES = 8**11 - 1  # what eleven octal digits can say
_REGULAR = (b"0", b"\0")


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the file a member's content is, in bytes."""

    start: int
    size: int


class BundleRemote:
    """A bundle.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._fd = -1
        self._index: dict[str, Place] = {}

    @property
    def url(self) -> str:
        """Where it is."""
        return f"bundle:{self._path}"

    def get(self, name: str, *, limit: int, span: Span | None = None) -> bytes | None:
        """Return what ``name`` holds, or a part of it (see :class:`opambin.remote.protocol.Remote`)."""
        place = self._places().get(check_name(name))
        if place is None:
            return None
        wanted = checked_limit(f"{self.url}: {name}", place.size, limit=limit, span=span)
        return self._read(name, place.start + (span.start if span else 0), wanted) if wanted else b""

    def get_many(self, names: Iterable[str], *, limit: int) -> Answers:
        """Return what many names hold."""
        return in_batch(lambda name: self.get(name, limit=limit), names, 1)

    def fetch(self, name: str, into: Callable[[bytes], object], *, size: int) -> bool:
        """Hand what ``name`` holds to ``into``, piece by piece."""
        place = self._places().get(check_name(name))
        if place is None:
            return False
        if place.size != size:
            raise wrong_length(f"{self.url}: {name}", size, place.size)
        for at in range(0, size, PIECE):
            into(self._read(name, place.start + at, min(PIECE, size - at)))
        return True

    def put(self, name: str, data: bytes | Path, *, replace: bool = False) -> bool:  # noqa: ARG002 - refused
        """Refuse: a bundle is written once, as a whole."""
        check_name(name)
        raise RefusedError(self.url, "a bundle is only read", writing=True)

    def entries(self, folder: str) -> Iterator[Entry]:
        """Yield all members below ``folder``; times are not kept."""
        prefix = f"{check_name(folder)}/" if folder else ""
        for name, place in sorted(self._places().items()):
            if name.startswith(prefix):
                yield Entry(name, place.size, 0.0)

    def remove(self, name: str) -> None:
        """Refuse: a bundle is only read."""
        check_name(name)
        raise RefusedError(self.url, "a bundle is only read", writing=True)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
            self._fd, self._index = -1, {}

    def _read(self, name: str, start: int, wanted: int) -> bytes:
        pieces = []
        while wanted:
            piece = os.pread(self._fd, wanted, start)
            if not piece:
                raise BadDataError(f"{self.url}: {name}", "the file has become shorter")
            pieces.append(piece)
            start += len(piece)
            wanted -= len(piece)
        return b"".join(pieces)

    def _places(self) -> dict[str, Place]:
        """Return where everything is; the headers are read once."""
        with self._lock:
            if self._fd < 0:
                try:
                    with self._path.open("rb") as stream:
                        self._index = read_index(stream, str(self._path))
                        self._fd = os.dup(stream.fileno())
                except OSError as error:
                    raise RemoteDownError(self.url, error.strerror or str(error)) from error
            return self._index


def read_index(stream: BinaryIO, what: str) -> dict[str, Place]:
    """Read all headers of a bundle.

    Args:
        stream: The file, at its beginning; it must be able to seek.
        what: Its name, for errors.

    Raises:
        BadDataError: It is no bundle, or not a whole one.
    """
    end = stream.seek(0, os.SEEK_END)
    index: dict[str, Place] = {}
    at = 0
    while True:
        stream.seek(at)
        header = stream.read(BLOCK)
        if len(header) < BLOCK:
            raise BadDataError(what, "a bundle without its end: it is not whole")
        if not header.strip(b"\0"):
            break
        name, size = _header(header, what)
        if name in index:
            raise BadDataError(what, f"{name} is there twice")
        index[name] = Place(at + BLOCK, size)
        at += BLOCK + -(-size // BLOCK) * BLOCK
        if at > end or len(index) > MAX_MEMBERS:
            raise BadDataError(what, f"a bundle that ends within {name}, or with too many members")
    if FORMAT_NAME not in index:
        raise BadDataError(what, f"not a bundle: it has no {FORMAT_NAME}")
    return index


def _header(header: bytes, what: str) -> tuple[str, int]:
    """Return name and size of a member."""
    total = sum(header[:148]) + 8 * ord(" ") + sum(header[156:])
    if _octal(header[148:156]) != total or header[257:262] != b"ustar":
        raise BadDataError(what, "not a bundle: a header that is no ustar header")
    if header[156:157] not in _REGULAR:
        raise BadDataError(what, "a member that is no regular file", expected="0", observed=header[156:157])
    size = _octal(header[124:136])
    if size is None:
        raise BadDataError(what, "a member without a size")
    parts = [part.partition(b"\0")[0].decode("latin-1") for part in (header[345:500], header[0:100])]
    name = "/".join(part for part in parts if part)
    try:
        return check_name(name), size
    except MisuseError as error:
        raise BadDataError(what, f"a member with a name that is none: {name!r:.100}") from error


def _octal(field: bytes) -> int | None:
    text = field.rstrip(b" \0")
    return int(text, 8) if text and not text.strip(b"01234567") else None


class BundleWriter:
    """Writes a bundle; the file has its name when it is whole.

    The same content in the same order gives the same bytes.

    Args:
        path: The file to write. One that is there is replaced.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._draft = path.with_name(f".{path.name}.{os.getpid()}")
        self._names: set[str] = set()

    def __enter__(self) -> BundleWriter:
        try:
            self._stream = self._draft.open("wb")
        except OSError as error:
            raise UnavailableError(f"{self._path} can't be written: {error.strerror}") from error
        self.add(FORMAT_NAME, FORMAT)
        return self

    def add(self, name: str, data: bytes | Path) -> bool:
        """Add bytes, or the content of a file.

        Returns:
            False when the name is there already.

        Raises:
            MisuseError: It is no name, or too large for a tar file without extensions.
            UnavailableError: It can't be written.
        """
        if check_name(name) in self._names:
            return False
        size = data.stat().st_size if isinstance(data, Path) else len(data)
        if size > MAX_MEMBER_BYTES:
            raise MisuseError(f"{name} is too large for a bundle: {size:,} bytes")
        member = tarfile.TarInfo(name)
        member.size, member.mode = size, 0o644
        try:
            self._stream.write(member.tobuf(tarfile.USTAR_FORMAT))
            with data.open("rb") if isinstance(data, Path) else BytesIO(data) as source:
                shutil.copyfileobj(source, self._stream, PIECE)
                if source.tell() != size:
                    raise UnavailableError(f"{data!r:.200} has changed while it was read")
            self._stream.write(b"\0" * (-size % BLOCK))
        except OSError as error:
            raise UnavailableError(f"{self._path} can't be written: {error.strerror or error}") from error
        self._names.add(name)
        return True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._stream.write(b"\0" * 2 * BLOCK)
                self._stream.flush()
                os.fsync(self._stream.fileno())
                self._draft.replace(self._path)
        finally:
            self._stream.close()
            self._draft.unlink(missing_ok=True)
