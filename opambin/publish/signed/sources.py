"""Where the files of a published repository are read from: the web, a folder, or memory.

What they hold is not to be trusted, and nobody is kept waiting: every read has a limit, every connection a
timeout.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote, unquote, urlsplit

from opambin.errors import MisuseError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import requests

CHUNK = 1 << 18
CONNECT_SECONDS = 10
READ_SECONDS = 60
TRIES = 3
CONNECTIONS = 8
_RETRIED = (429, 500, 502, 503, 504)


class Source(Protocol):
    """Something that has files under relative paths."""

    @property
    def name(self) -> str:
        """What it is, for people."""

    @property
    def has_tree(self) -> bool:
        """Whether opam reads ``packages/`` there, and not the index alone."""

    def pieces(self, path: str, start: int = 0) -> Iterator[bytes] | None:
        """Return the content of a file from a byte on; None when there is no such file.

        Raises:
            UnavailableError: It can't be read, now or while it is.
        """


class FolderSource:
    """A folder.

    Args:
        folder: Where.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def name(self) -> str:
        """The folder."""
        return str(self.folder)

    @property
    def has_tree(self) -> bool:
        """Opam reads it where it is."""
        return True

    def pieces(self, path: str, start: int = 0) -> Iterator[bytes] | None:
        """As in :class:`Source`."""
        place = self.folder / path
        return self._read(place, start) if place.is_file() else None

    def _read(self, place: Path, start: int) -> Iterator[bytes]:
        try:
            with place.open("rb") as stream:
                stream.seek(start)
                while piece := stream.read(CHUNK):
                    yield piece
        except OSError as error:
            raise UnavailableError(f"{place}: {error.strerror}") from error


class TreeSource:
    """Files in memory.

    Args:
        files: By path.
        name: For people.
    """

    def __init__(self, files: Mapping[str, bytes], name: str) -> None:
        self.files = files
        self._name = name

    @property
    def name(self) -> str:
        """What it is."""
        return self._name

    @property
    def has_tree(self) -> bool:
        """It is what opam has got."""
        return True

    def pieces(self, path: str, start: int = 0) -> Iterator[bytes] | None:
        """As in :class:`Source`."""
        return iter((self.files[path][start:],)) if path in self.files else None


class WebSource:
    """A web server.

    Args:
        url: Where the repository is, without secrets.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._session: requests.Session | None = None

    @property
    def name(self) -> str:
        """The URL."""
        return self.url

    @property
    def has_tree(self) -> bool:
        """Over http opam takes the index."""
        return False

    def pieces(self, path: str, start: int = 0) -> Iterator[bytes] | None:
        """As in :class:`Source`; where a server can't begin in the middle, the beginning is dropped."""
        import requests

        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        try:
            answer = self._connected().get(
                f"{self.url}/{quote(path)}",
                headers=headers,
                stream=True,
                timeout=(CONNECT_SECONDS, READ_SECONDS),
            )
        except requests.RequestException as error:
            raise UnavailableError(f"{self.url}/{path} can't be fetched: {_reason(error)}") from error
        if answer.status_code in {403, 404, 410}:  # 403: what some object stores say of what is not there
            answer.close()
            return None
        if answer.status_code not in {200, 206}:
            answer.close()
            raise UnavailableError(
                f"{self.url}/{path} can't be fetched: the server said {answer.status_code}"
            )
        return self._read(answer, path, start if answer.status_code == 200 else 0)

    def _read(self, answer: requests.Response, path: str, dropped: int) -> Iterator[bytes]:
        import requests

        try:
            with answer:
                for piece in answer.iter_content(CHUNK):
                    kept = piece[dropped:]
                    dropped -= len(piece) - len(kept)
                    if kept:
                        yield kept
        except requests.RequestException as error:
            raise UnavailableError(f"{self.url}/{path} broke off: {_reason(error)}") from error

    def _connected(self) -> requests.Session:
        if self._session is None:
            import requests
            from requests.adapters import HTTPAdapter
            from urllib3.util import Retry

            retry = Retry(TRIES, backoff_factor=0.3, status_forcelist=_RETRIED, raise_on_status=False)
            session = requests.Session()
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(pool_maxsize=CONNECTIONS, max_retries=retry))
            self._session = session
        return self._session

    def close(self) -> None:
        """Let go of connections."""
        if self._session is not None:
            self._session.close()
            self._session = None


def open_source(url: str) -> Source:
    """Return the source at a URL: ``http``, ``https``, ``file``, or the path of a folder.

    Raises:
        MisuseError: It is none of these.
        UnavailableError: There is no such folder.
    """
    parts = urlsplit(url)
    if parts.scheme in {"http", "https"} and parts.netloc:
        return WebSource(url)
    if parts.scheme not in {"", "file"}:
        raise MisuseError(f"{url}: a repository is verified over http, https or file")
    folder = Path(unquote(parts.path) if parts.scheme else url)
    if not folder.is_dir():
        raise UnavailableError(f"{url}: there is no such folder")
    return FolderSource(folder.resolve())


def read(source: Source, path: str, limit: int) -> bytes | None:
    """Return the content of a file; None when there is none.

    Raises:
        UnavailableError: It can't be read.
        TooLongError: It is longer than ``limit``.
    """
    pieces = source.pieces(path)
    if pieces is None:
        return None
    found = bytearray()
    for piece in pieces:
        found += piece
        if len(found) > limit:
            raise TooLongError(f"{source.name}: {path} is longer than {limit} bytes")
    return bytes(found)


class TooLongError(UnavailableError):
    """A file that is longer than it may be."""


def _reason(error: Exception) -> str:
    """Return the innermost cause, in a line: what requests says is long, and names objects in memory."""
    deepest: BaseException = error
    while deepest.__cause__ or deepest.__context__:
        deepest = deepest.__cause__ or deepest.__context__ or deepest
    return getattr(deepest, "strerror", None) or " ".join(str(deepest).split())[:200] or type(error).__name__
