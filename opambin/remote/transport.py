"""The one place that talks http: time-outs, retries, redirects, limits, and what an answer's code means."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from io import BytesIO
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from urllib3 import Timeout
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from opambin import __version__
from opambin.errors import UnavailableError
from opambin.remote import pools
from opambin.remote.faults import RefusedError, RemoteDownError
from opambin.remote.reading import too_long
from opambin.remote.urls import without_secrets
from opambin.remote.watch import Term, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO

    from urllib3 import BaseHTTPResponse

    from opambin.remote.access import Access

MAX_REDIRECTS = 5
TRIES = 4  # of an answer that breaks off
MAX_ERROR_BYTES = 64_000  # of a body that nobody wants; read so that the connection can be used again
UPLOAD_RATE = 10_000  # bytes per second; slower is no upload
DIGEST_BYTES = 1_000_000  # after an upload of more than this
DIGEST_SECONDS = 120.0  # a server may be silent for so long: it checks and copies what it got
PIECE = 1 << 18  # bytes
BLOCK = 16_384  # bytes; what is sent with one call
READS = frozenset({"GET", "HEAD"})
AGENT = f"opam-bin/{__version__}"


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked.

    Attributes:
        method: GET, PUT, ….
        url: Whole.
        headers: Beside those that every request has; none of them holds a secret.
        body: What is sent.
        secret: Value of the header ``Authorization``; sent to this URL's own host and no other.
    """

    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | IO[bytes] | None = None
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        status: Its code.
        headers: Their names in lower case.
        body: All of it; empty where nobody wants to know (a long body of an error).
    """

    status: int
    headers: dict[str, str]
    body: bytes


class _BrokenOffError(Exception):
    """An answer ended early; it is asked for again."""


class Transport:
    """Connections to one remote, and to where it redirects.

    Args:
        url: Of the remote, for people.
        access: Time-outs and proxies.
    """

    def __init__(self, url: str, access: Access) -> None:
        self.url = without_secrets(url)
        self.access = access
        parts = urlsplit(url)
        scheme = "http" if parts.scheme == "http" else "https"
        self._pools = pools.manager(access, scheme, parts.hostname or "")
        self._watch = Watch()

    @contextmanager
    def send(
        self, request: Request, *, seconds: float | None = None
    ) -> Iterator[tuple[BaseHTTPResponse, Term]]:
        """Send a request, and hand over the answer for the block; redirects are followed.

        Args:
            request: What to send.
            seconds: How long all of it may take (default: what a small answer may take); what is uploaded
                has its time in addition.

        Raises:
            RemoteDownError: No answer in time, or none but errors of the server.
        """
        allowed = (seconds or self.access.answer_seconds) + _body_bytes(request) / UPLOAD_RATE
        with self._watch.term(allowed) as term:
            response = None
            try:
                response = self._follow(request)
                yield response, term
            except HTTPError as error:
                raise RemoteDownError(self.url, self._words(error, term)) from error
            finally:
                if response is not None:
                    _let_go(response)

    def read(self, request: Request, *, limit: int) -> Answer:
        """Send a request, and return the answer.

        What breaks off is asked for again.

        Raises:
            RemoteDownError: As for :meth:`send`.
            BadDataError: The body is longer than ``limit``.
        """
        for turn in range(1, TRIES + 1):
            try:
                return self._read_once(request, limit)
            except _BrokenOffError:
                if turn < TRIES:
                    backoff(turn)
        raise RemoteDownError(self.url, f"the answer breaks off, {TRIES} times")

    def close(self) -> None:
        """Close all connections."""
        self._pools.clear()

    def refuse(self, status: int, doing: str, *, writing: bool = False) -> UnavailableError:
        """Return the error for an answer that is neither success nor "not there".

        Args:
            status: The answer's code.
            doing: What was tried, in words: ``reading keys/…``.
            writing: Whether it was a write.
        """
        answer = f"{status} {phrase(status)}"
        if status in {401, 407}:
            return RefusedError(
                self.url, f"{doing}: no credentials, or wrong ones ({answer})", writing=writing
            )
        if status == 403:
            return RefusedError(self.url, f"{doing} is not allowed ({answer})", writing=writing)
        if writing and status in {405, 501}:
            return RefusedError(self.url, f"{doing}: the server takes no writes ({answer})", writing=True)
        if status >= 500 or status == 429:
            return RemoteDownError(self.url, f"{doing}: the server answers {answer}")
        return UnavailableError(f"{self.url}: {doing}: the server answers {answer}")

    def _read_once(self, request: Request, limit: int) -> Answer:
        with self.send(request) as (response, term):
            headers = {name.lower(): value for name, value in response.headers.items()}
            try:
                return Answer(response.status, headers, _body(response, request, limit))
            except ProtocolError as error:
                if term.expired:
                    raise
                raise _BrokenOffError from error

    def _follow(self, request: Request) -> BaseHTTPResponse:
        url, secret = request.url, request.secret
        for _ in range(MAX_REDIRECTS + 1):
            headers = {"User-Agent": AGENT, "Accept-Encoding": "identity", **request.headers}
            if secret is not None:
                headers["Authorization"] = secret
            body = request.body
            if isinstance(body, bytes) and len(body) > BLOCK:
                # one call of send() has to be done within the time-out: not with all of a large body
                headers["Content-Length"], body = str(len(body)), BytesIO(body)
            response = self._pools.urlopen(
                request.method,
                url,
                headers=headers,
                body=body,
                redirect=False,
                timeout=self._timeout(request),
                preload_content=False,
                decode_content=False,
                retries=pools.retries(),
            )
            target = response.headers.get("Location")
            if response.status not in {301, 302, 303, 307, 308} or target is None:
                return response
            _let_go(response)
            url, before = urljoin(url, target), url
            self._check_redirect(request, before, url)
            if origin(url) != origin(before):
                secret = None
        raise RemoteDownError(self.url, f"more than {MAX_REDIRECTS} redirects")

    def _timeout(self, request: Request) -> Timeout:
        """Return the time-outs: a server that was given much may think longer about it."""
        seconds = self.access.answer_seconds
        patience = max(seconds, DIGEST_SECONDS) if _body_bytes(request) > DIGEST_BYTES else seconds
        return Timeout(connect=self.access.connect_seconds, read=patience)

    def _check_redirect(self, request: Request, before: str, url: str) -> None:
        try:
            now, was = origin(url), origin(before)
        except ValueError as error:
            raise RemoteDownError(self.url, "redirects to something that is no URL") from error
        shown = f"{now[0]}://{now[1]}"
        if now[0] not in {"http", "https"} or not now[1]:
            raise RemoteDownError(self.url, f"redirects to something that is not http: {shown[:80]!r}")
        if was[0] == "https" and now[0] == "http":
            raise RemoteDownError(self.url, f"redirects from https to plain {shown}: refused")
        if request.method not in READS:
            raise RefusedError(self.url, f"redirects writes to {shown}: name that URL instead", writing=True)

    def _words(self, error: HTTPError, term: Term) -> str:
        """Say what a failure is, without the many layers of urllib3's own words."""
        reason: object = error
        if isinstance(error, MaxRetryError) and error.reason is not None:
            reason = error.reason
        via = ""
        if isinstance(reason, ProxyError):
            reason, via = reason.original_error, "through the proxy: "
        return via + self._reason(reason, term)

    def _reason(self, reason: object, term: Term) -> str:
        if term.expired:
            return "answers too slowly"
        if isinstance(reason, ReadTimeoutError):
            return f"no answer within {self.access.answer_seconds:g} s"
        if isinstance(reason, NameResolutionError):
            return "there is no such host"
        if isinstance(reason, ConnectTimeoutError) and not isinstance(reason, NewConnectionError):
            return f"no connection within {self.access.connect_seconds:g} s"
        if isinstance(reason, NewConnectionError):
            return f"no connection: {str(reason).rpartition(': ')[2].rpartition('] ')[2]}"
        if isinstance(reason, SSLError):
            return f"no safe connection: {str(reason)[:200]}"
        return f"the connection breaks off ({type(reason).__name__})"


def origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a URL; a secret never goes to another than its own.

    Raises:
        ValueError: The port is none.
    """
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)


def phrase(status: int) -> str:
    """Name a code. The server's own words are not shown."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "unknown"


def backoff(turn: int, sleep: Callable[[float], None] = time.sleep) -> None:
    """Wait before the ``turn``-th try, counted from 1."""
    sleep(pools.BACKOFF_SECONDS * 2 ** (turn - 1))


def length_of(response: BaseHTTPResponse) -> int | None:
    """Return the length that an answer announces, in bytes."""
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdigit() else None


def _body_bytes(request: Request) -> int:
    if isinstance(request.body, bytes):
        return len(request.body)
    return int(request.headers.get("Content-Length", "0"))


def _body(response: BaseHTTPResponse, request: Request, limit: int) -> bytes:
    if not 200 <= response.status < 300:
        limit = MAX_ERROR_BYTES
    elif (length := length_of(response)) is not None and length > limit and request.method != "HEAD":
        raise too_long(request.url, limit, length)
    pieces, got = [], 0
    while got <= limit and (piece := response.read1(min(PIECE, limit + 1 - got))):
        pieces.append(piece)
        got += len(piece)
    if got > limit:
        if not 200 <= response.status < 300:
            return b""
        raise too_long(request.url, limit)
    framed = "Content-Length" in response.headers or response.chunked
    if request.method == "GET" and response.status == 200 and not got and not framed:
        raise ProtocolError("nothing came, and nothing says that this is all")
    return b"".join(pieces)


def _let_go(response: BaseHTTPResponse) -> None:
    """Give the connection back when the answer was read to its end; close it otherwise."""
    if response.closed or getattr(response, "length_remaining", None) == 0:
        response.release_conn()
    else:
        response.close()
