"""S3 and compatible object stores, through obstore (the extra ``s3``).

The first writer wins where the store knows conditional writes (AWS, MinIO, Ceph, R2, …): what is not large is
put with ``If-None-Match: *``. The large goes up in parts, without a condition; it is named by its digest.
"""

from __future__ import annotations

import re
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from opambin.errors import MisuseError, UnavailableError
from opambin.remote import aws
from opambin.remote.batch import in_batch
from opambin.remote.faults import RefusedError, RemoteDownError
from opambin.remote.pools import proxy_for
from opambin.remote.protocol import FORMAT_NAME, Answers, Entry, Span, check_name
from opambin.remote.reading import too_long, wrong_length

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from urllib.parse import SplitResult

    from obstore.store import S3Store

    from opambin.remote.access import Access

T = TypeVar("T")
SMALL = 65_536  # bytes; has to be there as fast as any small answer
PIECE = 4 << 20  # bytes of one request of a download; each is retried for itself
PIECE_SECONDS = 180.0  # for a piece, up or down
PARTS_AT_ONCE = 3  # of an upload; with PIECE_SECONDS this is how slow a line may be
LARGE = 8 << 20  # bytes; more goes up in parts
MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}
"""Of pages, by the end of the name: an object store hands out the type that it was given."""


class S3Remote:
    """A bucket, or what is below a prefix in it.

    Args:
        url: ``s3://BUCKET/PREFIX``.
        access: How it is to be used.

    Raises:
        UnavailableError: obstore is not installed.
        MisuseError: The settings in the environment can't be used.
    """

    def __init__(self, url: str, access: Access) -> None:
        try:
            import obstore
        except ImportError as error:
            raise UnavailableError(f"{url}: S3 needs obstore: pip install 'opambin[s3]'") from error
        parts = urlsplit(url)
        self._obstore = obstore
        self._url = f"s3://{parts.hostname}{parts.path.rstrip('/')}"
        self._workers = access.workers
        self._hides_missing: bool | None = None
        found = aws.settings(access.environ)
        quick, slow = access.answer_seconds, PIECE_SECONDS
        try:  # obstore looks into the environment of the process by itself, too
            self._small = _store(parts, found, _client(found, access, quick))
            self._down = _store(parts, found, _client(found, access, slow))
            self._up = _store(parts, found, _client(found, access, slow, uploads=True))
        except (obstore.exceptions.BaseError, ValueError) as error:
            raise MisuseError(f"{self._url}: {str(error).partition(chr(10))[0]}") from error

    @property
    def url(self) -> str:
        """Where it is."""
        return self._url

    def get(self, name: str, *, limit: int, span: Span | None = None) -> bytes | None:
        """Return what ``name`` holds, or a part of it (see :class:`opambin.remote.protocol.Remote`)."""
        check_name(name)
        if span is not None and span.length == 0:  # a range of nothing can't be asked for
            return None if self._size(name) is None else b""
        return self._call(f"reading {name}", lambda: self._read(self._small, name, limit, span))

    def get_many(self, names: Iterable[str], *, limit: int) -> Answers:
        """Return what many names hold."""
        return in_batch(lambda name: self.get(name, limit=limit), names, self._workers)

    def fetch(self, name: str, into: Callable[[bytes], object], *, size: int) -> bool:
        """Hand what ``name`` holds to ``into``, piece by piece."""
        what = f"{self._url}/{check_name(name)}"
        observed = self._size(name)
        if observed is None:
            return False
        if observed != size:
            raise wrong_length(what, size, observed)
        for start in range(0, size, PIECE):
            span = Span(start, min(PIECE, size - start))
            read = partial(self._read, self._down, name, PIECE, span)
            piece = self._call(f"downloading {name}", read)
            if piece is None or len(piece) != span.length:
                raise wrong_length(what, size, f"no more after {start + len(piece or b'')}")
            into(piece)
        return True

    def put(self, name: str, data: bytes | Path, *, replace: bool = False) -> bool:
        """Store bytes, or the content of a file."""
        check_name(name)
        size = data.stat().st_size if isinstance(data, Path) else len(data)
        if size > LARGE and not replace and self._size(name) is not None:
            return False
        done = self._call(
            f"writing {name}",
            lambda: self._write(name, data, size, create=not replace and size <= LARGE),
            writing=True,
        )
        if done is None:
            raise UnavailableError(f"{self._url}: {name} can't be written: there is no such place")
        return done

    def entries(self, folder: str) -> Iterator[Entry]:
        """Yield everything below ``folder``."""
        prefix = check_name(folder) if folder else None
        pages = iter(self._obstore.list(self._small, prefix))
        while page := self._call("listing", lambda: next(pages, None)):
            for found in page:
                yield Entry(found["path"], found["size"], found["last_modified"].timestamp())

    def remove(self, name: str) -> None:
        """Remove a name."""
        check_name(name)
        self._call(f"removing {name}", lambda: self._obstore.delete(self._small, name), writing=True)

    def close(self) -> None:
        """Nothing to let go of: obstore closes its connections by itself."""

    def _size(self, name: str) -> int | None:
        found = self._call(f"looking for {name}", lambda: self._obstore.head(self._small, name))
        return None if found is None else found["size"]

    def _read(self, store: S3Store, name: str, limit: int, span: Span | None) -> bytes:
        try:
            found = self._obstore.get(store, name, options=_range(span))
        except self._obstore.exceptions.GenericError as error:
            if span is not None and "416 " in str(error):
                return b""  # beyond the end
            raise
        start, end = found.range
        if end - start > limit:
            raise too_long(f"{self._url}/{name}", limit, end - start)
        return bytes(found.bytes())  # no more than was announced: the length frames the answer

    def _write(self, name: str, data: bytes | Path, size: int, *, create: bool) -> bool:
        kind = MEDIA_TYPES.get(name.rpartition(".")[2])
        attributes: Any = {"Content-Type": kind} if kind else None
        if not create:
            self._obstore.put(self._up, name, data, attributes=attributes, max_concurrency=PARTS_AT_ONCE)
            return True
        try:
            store = self._small if size <= SMALL else self._up
            self._obstore.put(store, name, data, attributes=attributes, mode="create", use_multipart=False)
        except self._obstore.exceptions.AlreadyExistsError:
            return False
        return True

    def _call(self, doing: str, action: Callable[[], T], *, writing: bool = False) -> T | None:
        """Do something; None when the name is not there."""
        faults = self._obstore.exceptions
        try:
            return action()
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise RemoteDownError(self._url, "there is no such bucket") from error
            return None
        except (faults.PermissionDeniedError, faults.UnauthenticatedError) as error:
            if not writing and self._says_403_of_what_is_missing():
                return None
            raise RefusedError(self._url, f"{doing} is not allowed (403)", writing=writing) from error
        except faults.BaseError as error:
            raise self._fault(doing, str(error)) from error

    def _says_403_of_what_is_missing(self) -> bool:
        """Find out what 403 means: who may read but not list gets it for every name that is not there."""
        if self._hides_missing is None:
            try:
                self._obstore.get(self._small, FORMAT_NAME)
                self._hides_missing = True
            except (FileNotFoundError, self._obstore.exceptions.BaseError):
                self._hides_missing = False
        return self._hides_missing

    def _fault(self, doing: str, words: str) -> UnavailableError:
        found = re.search(r"status code: (\d{3})", words)
        if found and found[1] in {"401", "403"}:
            return RefusedError(self._url, f"{doing} is not allowed ({found[1]})")
        if found and not found[1].startswith("5") and found[1] != "429":
            return UnavailableError(f"{self._url}: {doing}: the server answers {found[1]}")
        reason = f"the server answers {found[1]}" if found else "no answer in time, or no connection"
        return RemoteDownError(self._url, f"{doing}: {reason}")


def _client(found: aws.AwsSettings, access: Access, seconds: float, *, uploads: bool = False) -> Any:  # noqa: ANN401 - obstore's type
    """Return how to talk: time for a whole request, and for a server that says nothing, in seconds."""
    client: Any = {
        "connect_timeout": timedelta(seconds=access.connect_seconds),
        "timeout": timedelta(seconds=seconds),
        "allow_http": found.plain,
    }
    if not uploads:  # while we send, a server says nothing
        client["read_timeout"] = timedelta(seconds=access.answer_seconds)
    host = urlsplit(found.options.get("endpoint", "")).hostname or "amazonaws.com"
    if proxy := proxy_for(access.environ, "http" if found.plain else "https", host):
        client["proxy_url"] = proxy
    return client


def _store(parts: SplitResult, found: aws.AwsSettings, client: Any) -> S3Store:  # noqa: ANN401 - obstore's type
    from obstore.store import S3Store

    retry: Any = {
        "max_retries": 3,
        "backoff": {
            "init_backoff": timedelta(milliseconds=200),
            "max_backoff": timedelta(seconds=2),
            "base": 2,
        },
        "retry_timeout": client["timeout"],
    }
    options: dict[str, Any] = dict(found.options)
    if found.anonymous:
        options["skip_signature"] = True
    prefix = parts.path.strip("/") or None
    return S3Store(parts.netloc, prefix=prefix, client_options=client, retry_config=retry, **options)


def _range(span: Span | None) -> Any:  # noqa: ANN401 - obstore's type has no name at run time
    if span is None:
        return None
    if span.length is None:
        return {"range": {"offset": span.start}}
    return {"range": (span.start, span.start + span.length)}
