"""A long answer: checked against the length it must have, resumed where it breaks off."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from urllib3.exceptions import HTTPError, ProtocolError, ReadTimeoutError

from opambin.errors import BadDataError
from opambin.remote.faults import RemoteDownError
from opambin.remote.reading import too_long, wrong_length
from opambin.remote.transport import PIECE, Request, backoff, length_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from urllib3 import BaseHTTPResponse

    from opambin.remote.protocol import Span
    from opambin.remote.transport import Transport
    from opambin.remote.watch import Term

TRIES = 4  # without much more than before
MAX_BREAKS = 50  # in all: one byte for each connection is no download
WINDOW_SECONDS = 20.0
WINDOW_BYTES = 20_000  # at least so many have to come in each window; less is a server that drips


class Download:
    """One download.

    Args:
        transport: Where it goes through.
        request: A GET without a range.
        size: How long it has to be, in bytes.
        into: Called with each piece, in order, no byte twice.

    Attributes:
        got: How many bytes have come.
    """

    def __init__(
        self, transport: Transport, request: Request, size: int, into: Callable[[bytes], object]
    ) -> None:
        self._transport = transport
        self._request = request
        self._size = size
        self._into = into
        self.got = 0
        self._tag = ""

    def run(self) -> bool:
        """Carry it out.

        Returns:
            False when there is no such thing.

        Raises:
            BadDataError: It has another length.
            UnavailableError: It did not come.
        """
        turn = 0
        for _ in range(MAX_BREAKS):
            before = self.got
            found = self._once()
            if found is not None:
                return found
            turn = 1 if self.got - before >= WINDOW_BYTES else turn + 1
            if turn >= TRIES:
                break
            backoff(turn)
        words = f"a download breaks off after {self.got} of {self._size} bytes"
        raise RemoteDownError(self._transport.url, words)

    def _once(self) -> bool | None:
        """Ask for what is missing; None when the answer broke off."""
        headers = dict(self._request.headers)
        if self.got:
            headers["Range"] = f"bytes={self.got}-"
            if self._tag:
                headers["If-Range"] = self._tag
        asked = Request("GET", self._request.url, headers, secret=self._request.secret)
        with self._transport.send(asked, seconds=WINDOW_SECONDS) as (response, term):
            if response.status in {404, 410} and not self.got:
                return False
            skip = self._check(response)
            try:
                self._take(response, term, skip)
            except ReadTimeoutError:
                raise
            except HTTPError:
                if term.expired:
                    raise
                return None
        return True if self.got == self._size else None

    def _check(self, response: BaseHTTPResponse) -> int:
        """Compare what an answer announces with what has to come; return what to drop of it, in bytes."""
        what = self._request.url
        if response.status == 416 or response.status in {404, 410}:
            raise wrong_length(what, self._size, f"no more after {self.got}")
        if response.status not in {200, 206}:
            raise self._transport.refuse(response.status, "downloading")
        length = length_of(response)
        if response.status == 200:
            tag = response.headers.get("ETag", "")
            self._tag = tag if tag.startswith('"') else ""  # a weak one does not tell bytes apart
            if length is not None and length != self._size:
                raise wrong_length(what, self._size, length)
            return self.got
        start, total = content_range(response.headers.get("Content-Range", ""), what)
        if total is not None and total != self._size:
            raise wrong_length(what, self._size, total)
        if start > self.got:
            raise BadDataError(what, "the wrong part", expected=f"from {self.got}", observed=start)
        return self.got - start

    def _take(self, response: BaseHTTPResponse, term: Term, skip: int) -> None:
        inside = 0
        while piece := response.read1(PIECE):
            inside += len(piece)
            if inside >= WINDOW_BYTES:
                inside = 0
                term.renew(WINDOW_SECONDS)
            dropped = min(skip, len(piece))
            skip -= dropped
            piece = piece[dropped:]
            if self.got + len(piece) > self._size:
                raise wrong_length(self._request.url, self._size, "more")
            if piece:
                self.got += len(piece)
                with term.paused():
                    self._into(piece)


def content_range(text: str, what: str) -> tuple[int, int | None]:
    """Return where a part begins, and how long the whole is (None: unknown), both in bytes.

    Raises:
        BadDataError: That is no ``Content-Range``.
    """
    found = re.fullmatch(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)", text)
    if not found:
        raise BadDataError(what, "a part without saying which", expected="Content-Range", observed=text[:60])
    return int(found[1]), None if found[2] == "*" else int(found[2])


def read_part(transport: Transport, request: Request, limit: int, span: Span) -> bytes | None:
    """Read a part of something; what a server without ranges sends before and after it is dropped.

    Args:
        transport: Where it goes through.
        request: A GET without a range.
        limit: The most bytes that the answer may have.
        span: Which part.

    Returns:
        Nothing beyond the end; None when it is not there.

    Raises:
        BadDataError: More than ``limit``, or another part than asked for.
        UnavailableError: It did not come.
    """
    end = "" if span.length is None else str(max(span.start, span.start + span.length - 1))
    headers = {**request.headers, "Range": f"bytes={span.start}-{end}"}
    asked = Request("GET", request.url, headers, secret=request.secret)
    for turn in range(1, TRIES + 1):
        with transport.send(asked, seconds=WINDOW_SECONDS) as (response, term):
            if response.status in {404, 410}:
                return None
            if response.status == 416:
                return b""
            if response.status not in {200, 206}:
                raise transport.refuse(response.status, "reading a part")
            try:
                return _cut(response, request.url, limit, span)
            except ProtocolError:
                if term.expired or turn == TRIES:
                    raise
        backoff(turn)
    raise AssertionError  # the last turn returned or raised


def _cut(response: BaseHTTPResponse, what: str, limit: int, span: Span) -> bytes:
    at = 0
    if response.status == 206:
        at, _ = content_range(response.headers.get("Content-Range", ""), what)
    if at > span.start:
        raise BadDataError(what, "the wrong part", expected=f"from {span.start}", observed=at)
    end = None if span.length is None else span.start + span.length
    pieces, got = [], 0
    while (end is None or at < end) and (piece := response.read1(65_536)):
        kept = piece[max(0, span.start - at) : None if end is None else max(0, end - at)]
        at += len(piece)
        got += len(kept)
        if got > limit:
            raise too_long(what, limit)
        pieces.append(kept)
    return b"".join(pieces)
