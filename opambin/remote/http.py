"""A remote over http(s): any server to read from; one with PUT (WebDAV) to write to."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

from opambin.errors import BadDataError, UnavailableError
from opambin.remote import webdav
from opambin.remote.batch import in_batch
from opambin.remote.credentials import authorization
from opambin.remote.download import Download, read_part
from opambin.remote.faults import RefusedError
from opambin.remote.protocol import FORMAT_NAME, MAX_FORMAT_BYTES, Answers, Entry, Span, check_name
from opambin.remote.transport import Request, Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from opambin.remote.access import Access


FOLDERS_AT_ONCE = 64
MAX_FOLDERS = 500_000  # of a listing; there is one for each key


class HttpRemote:
    """A folder of a web server.

    Args:
        url: Of the folder.
        access: How it is to be used.
    """

    def __init__(self, url: str, access: Access) -> None:
        parts = urlsplit(url)
        self._secret = authorization(url, access.environ)
        host = parts.netloc.rpartition("@")[2]
        path = quote(parts.path.rstrip("/"), safe="/%:@!$&'()*+,;=~")
        self._base = urlunsplit((parts.scheme.lower(), host, path, "", ""))
        self._workers = access.workers
        self._transport = Transport(self._base, access)
        self._folders: set[str] = set()
        self._hides_missing: bool | None = None

    @property
    def url(self) -> str:
        """Where it is, without secrets."""
        return self._base

    def get(self, name: str, *, limit: int, span: Span | None = None) -> bytes | None:
        """Return what ``name`` holds, or a part of it (see :class:`opambin.remote.protocol.Remote`)."""
        request = self._request("GET", name)
        if span is not None:
            try:
                return read_part(self._transport, request, limit, span)
            except RefusedError:
                if self._is_missing(403):
                    return None
                raise
        answer = self._transport.read(request, limit=limit)
        if self._is_missing(answer.status):
            return None
        if answer.status != 200:
            raise self._transport.refuse(answer.status, f"reading {name}")
        return answer.body

    def get_many(self, names: Iterable[str], *, limit: int) -> Answers:
        """Return what many names hold, over a few connections that stay open."""
        return in_batch(lambda name: self.get(name, limit=limit), names, self._workers)

    def fetch(self, name: str, into: Callable[[bytes], object], *, size: int) -> bool:
        """Hand what ``name`` holds to ``into``, piece by piece."""
        download = Download(self._transport, self._request("GET", name), size, into)
        try:
            return download.run()
        except RefusedError:
            if not download.got and self._is_missing(403):
                return False
            raise

    def put(self, name: str, data: bytes | Path, *, replace: bool = False) -> bool:
        """Store bytes, or the content of a file.

        A server that honours ``If-None-Match`` promises that the first writer wins; with others somebody may
        come between the look whether the name is there and the end of our upload. The last one wins then.
        """
        if not replace and self._exists(name):
            return False
        self._make_parents(name)
        headers = {"Content-Type": "application/octet-stream"}
        if not replace:
            headers["If-None-Match"] = "*"
        with ExitStack() as stack:
            body = stack.enter_context(data.open("rb")) if isinstance(data, Path) else data
            size = data.stat().st_size if isinstance(data, Path) else len(data)
            headers["Content-Length"] = str(size)
            request = self._request("PUT", name, headers, body)
            response, _ = stack.enter_context(self._transport.send(request))
            status = response.status
        if status == 412:
            return False
        if status not in {200, 201, 204}:
            raise self._put_fault(status, name)
        return True

    def entries(self, folder: str) -> Iterator[Entry]:
        """Yield everything below ``folder``, where the server has PROPFIND."""
        waiting = [check_name(folder) if folder else ""]
        asked = 0
        while waiting:  # a folder for each key: one after the other would take a round trip each
            batch, waiting = waiting[-FOLDERS_AT_ONCE:], waiting[:-FOLDERS_AT_ONCE]
            asked += len(batch)
            if asked > MAX_FOLDERS:
                raise BadDataError(
                    self.url, "a listing without end", expected=MAX_FOLDERS, observed="more folders"
                )
            answers = in_batch(self._listing, batch, self._workers)
            for fault in answers.faults.values():  # what a list leaves out, gc takes for garbage
                raise fault
            for at, body in answers.items():
                if body is None:
                    continue
                files, folders = webdav.members(body, self._folder(at), at)
                yield from files
                waiting += folders

    def _folder(self, name: str) -> str:
        return f"{self._base}/{name}/" if name else f"{self._base}/"

    def _listing(self, name: str) -> bytes | None:
        """Return what the server says of a folder; None when there is none."""
        request = Request("PROPFIND", self._folder(name), webdav.HEADERS, webdav.QUESTION, self._secret)
        answer = self._transport.read(request, limit=webdav.MAX_LISTING_BYTES)
        if answer.status in {404, 410}:
            return None
        if answer.status in {405, 501}:
            raise UnavailableError(f"{self.url}: this server can't list (it has no PROPFIND)")
        if answer.status != 207:
            raise self._transport.refuse(answer.status, "listing")
        return answer.body

    def remove(self, name: str) -> None:
        """Remove a name."""
        answer = self._transport.read(self._request("DELETE", name), limit=0)
        if answer.status not in {200, 202, 204, 404, 410}:
            raise self._transport.refuse(answer.status, f"removing {name}", writing=True)

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    def _request(
        self,
        method: str,
        name: str,
        headers: dict[str, str] | None = None,
        body: object = None,
    ) -> Request:
        url = f"{self._base}/{check_name(name)}"
        return Request(method, url, headers or {}, body, self._secret)  # type: ignore[arg-type]  # bytes or a stream

    def _exists(self, name: str) -> bool:
        answer = self._transport.read(self._request("HEAD", name), limit=0)
        if self._is_missing(answer.status):
            return False
        if answer.status == 200:
            return True
        raise self._transport.refuse(answer.status, f"looking for {name}")

    def _is_missing(self, status: int) -> bool:
        """Say whether a code means "not there": 403 does, too, where an object store hides what it has not.

        That is so when what is always there can be read.
        """
        if status != 403:
            return status in {404, 410}
        if self._hides_missing is None:
            answer = self._transport.read(self._request("GET", FORMAT_NAME), limit=MAX_FORMAT_BYTES)
            self._hides_missing = answer.status == 200
        return self._hides_missing

    def _make_parents(self, name: str) -> None:
        """Make the folders above a name, those of our own URL too; mostly only the deepest is missing."""
        missing: list[str] = []
        folder = self._request("MKCOL", name).url.rpartition("/")[0]
        while folder not in self._folders and urlsplit(folder).path:
            if self._mkcol(folder) != 409:
                self._folders.add(folder)
                break
            missing.append(folder)
            folder = folder.rpartition("/")[0]
        for again in reversed(missing):
            self._mkcol(again)
            self._folders.add(again)

    def _mkcol(self, folder: str) -> int:
        # 201: made; 405: it is there, or the server has no MKCOL and makes folders by itself
        request = Request("MKCOL", f"{folder}/", secret=self._secret)
        return self._transport.read(request, limit=64_000).status

    def _put_fault(self, status: int, name: str) -> UnavailableError:
        if status == 413:
            return UnavailableError(f"{self.url}: {name} is larger than the server takes (413)")
        if status == 507:
            return UnavailableError(f"{self.url}: there is no space left for {name} (507)")
        return self._transport.refuse(status, f"writing {name}", writing=True)
