"""Puts a blob into a registry: in one piece, or in several where the registry takes no large ones."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from opambin.remote.faults import RefusedError
from opambin.remote.transport import Request

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from opambin.remote.transport import Answer, Transport

MONOLITHIC_BYTES = 64 << 20  # what is longer goes in pieces at once; proxies before registries stop at 100 MB
PIECE_BYTES = 16 << 20
_TYPE = {"Content-Type": "application/octet-stream"}


class Upload:
    """Uploads into one repository.

    Args:
        transport: For the words of errors.
        base: URL of the repository in the registry's API.
        ask: Sends a request with credentials.
    """

    def __init__(self, transport: Transport, base: str, ask: Callable[[Request], Answer]) -> None:
        self._transport = transport
        self._base = base
        self._ask = ask

    def run(self, data: bytes | Path) -> tuple[str, int]:
        """Upload a blob, unless it is there.

        Returns:
            Its digest, ``sha256:…``, and its size in bytes.

        Raises:
            UnavailableError: The registry does not take it.
        """
        digest, size = _measure(data)
        if self._ask(Request("HEAD", f"{self._base}/blobs/{digest}")).status == 200:
            return digest, size
        if size <= MONOLITHIC_BYTES and self._in_one(data, size, digest):
            return digest, size
        self._in_pieces(data, size, digest)
        return digest, size

    def _begin(self) -> str:
        answer = self._ask(Request("POST", f"{self._base}/blobs/uploads/", {"Content-Length": "0"}))
        if answer.status != 202:
            raise self._fault(answer.status)
        return self._location(self._base, answer)

    def _in_one(self, data: bytes | Path, size: int, digest: str) -> bool:
        """Upload at once; False when that is too much for the registry."""
        place = _with_digest(self._begin(), digest)
        headers = {**_TYPE, "Content-Length": str(size)}
        if isinstance(data, bytes):
            answer = self._ask(Request("PUT", place, headers, data))
        else:
            with data.open("rb") as stream:
                answer = self._ask(Request("PUT", place, headers, stream))
        if answer.status == 413:
            return False
        if answer.status != 201:
            raise self._fault(answer.status)
        return True

    def _in_pieces(self, data: bytes | Path, size: int, digest: str) -> None:
        place = self._begin()
        for start in range(0, size, PIECE_BYTES):
            piece = _piece(data, start)
            headers = {
                **_TYPE,
                "Content-Length": str(len(piece)),
                "Content-Range": f"{start}-{start + len(piece) - 1}",
            }
            answer = self._ask(Request("PATCH", place, headers, piece))
            if answer.status not in {202, 204}:
                raise self._fault(answer.status)
            place = self._location(place, answer)
        answer = self._ask(Request("PUT", _with_digest(place, digest), {**_TYPE, "Content-Length": "0"}, b""))
        if answer.status != 201:
            raise self._fault(answer.status)

    def _location(self, url: str, answer: Answer) -> str:
        place = urljoin(url, answer.headers.get("location", ""))
        if url.startswith("https:") and not place.startswith("https:"):
            raise RefusedError(self._transport.url, "sends an upload to a place without TLS", writing=True)
        return place

    def _fault(self, status: int) -> Exception:
        if status == 401:
            reason = "an upload needs a login that may write (401): docker login"
            return RefusedError(self._transport.url, reason, writing=True)
        return self._transport.refuse(status, "uploading a blob", writing=True)


def _measure(data: bytes | Path) -> tuple[str, int]:
    if isinstance(data, bytes):
        return f"sha256:{hashlib.sha256(data).hexdigest()}", len(data)
    with data.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
        return f"sha256:{found}", stream.tell()


def _piece(data: bytes | Path, start: int) -> bytes:
    if isinstance(data, bytes):
        return data[start : start + PIECE_BYTES]
    with data.open("rb") as stream:
        stream.seek(start)
        return stream.read(PIECE_BYTES)


def _with_digest(place: str, digest: str) -> str:
    return f"{place}{'&' if '?' in place else '?'}digest={digest}"
