"""A repository of an OCI registry as a remote: a tag for each name, a blob for each content.

``docs/formats/remote.md`` describes it. A registry has no conditional writes: of two writers of one name that
come at the same moment, the last one wins.
"""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit

from opambin.errors import BadDataError, UnavailableError
from opambin.remote import ocimanifest
from opambin.remote.batch import in_batch
from opambin.remote.download import Download, read_part
from opambin.remote.faults import RefusedError
from opambin.remote.logins import Login, login_for
from opambin.remote.ociupload import Upload
from opambin.remote.pools import is_loopback
from opambin.remote.protocol import UNKNOWN_TIME, Answers, Entry, Span
from opambin.remote.reading import checked_limit, wrong_length
from opambin.remote.tokens import Keyring
from opambin.remote.transport import Answer, Request, Transport, origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from opambin.remote.access import Access

PULL = "pull"
PUSH = "pull,push"
DELETE = "pull,push,delete"
MAX_TAGS_BYTES = 4_000_000  # of one page of the list
PAGE = 1000  # tags
MAX_KNOWN = 10_000  # contents whose place is remembered between two questions


class OciRemote:
    """A repository of a registry.

    Args:
        url: ``oci://HOST/REPOSITORY``.
        access: How it is to be used.
    """

    def __init__(self, url: str, access: Access) -> None:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        self._repository = parts.path.strip("/")
        self._url = f"oci://{host}/{self._repository}"
        plain = access.plain_http or is_loopback(parts.hostname or "")
        self._base = f"{'http' if plain else 'https'}://{host}/v2/{self._repository}"
        self._transport = Transport(self._base, access)
        self._transport.url = self._url
        given = Login(unquote(parts.username), unquote(parts.password or "")) if parts.username else None
        self._keys = Keyring(
            self._transport, self._repository, lambda: given or login_for(host, access.environ)
        )
        self._workers = access.workers
        self._has_empty = False
        self._known: dict[str, ocimanifest.Content] = {}

    @property
    def url(self) -> str:
        """Where it is."""
        return self._url

    def get(self, name: str, *, limit: int, span: Span | None = None) -> bytes | None:
        """Return what ``name`` holds, or a part of it (see :class:`opambin.remote.protocol.Remote`)."""
        content = self._content(name)
        if content is None:
            return None
        what = f"{self._url}: {name}"
        length = checked_limit(what, content.size, limit=limit, span=span)
        start = span.start if span else 0
        if content.inline is not None:
            return content.inline[start : start + length]
        if length == 0:
            return b""
        if span is not None:
            return read_part(self._transport, self._blob(content), limit, Span(start, length))
        answer = self._transport.read(self._blob(content), limit=limit)
        if answer.status != 200:
            raise self._fault(answer.status, f"reading {name}")
        if ocimanifest.digest_of(answer.body) != content.digest:
            raise BadDataError(what, "another digest than the manifest says")
        return answer.body

    def get_many(self, names: Iterable[str], *, limit: int) -> Answers:
        """Return what many names hold: one request for each that is small."""
        return in_batch(lambda name: self.get(name, limit=limit), names, self._workers)

    def fetch(self, name: str, into: Callable[[bytes], object], *, size: int) -> bool:
        """Hand what ``name`` holds to ``into``, piece by piece."""
        content = self._content(name)
        if content is None:
            return False
        if content.size != size:
            raise wrong_length(f"{self._url}: {name}", size, content.size)
        if content.inline is not None:
            into(content.inline)
            return True
        if not Download(self._transport, self._blob(content), size, into).run():
            raise BadDataError(f"{self._url}: {name}", "the blob that its manifest names is not there")
        return True

    def put(self, name: str, data: bytes | Path, *, replace: bool = False) -> bool:
        """Store bytes, or the content of a file: the blob first, then the manifest under its tag."""
        place = self._manifest(name)
        if not replace and self._exists(place):
            return False
        upload = Upload(self._transport, self._base, lambda request: self._ask(request, PUSH, limit=64_000))
        if not self._has_empty:  # every manifest names it
            upload.run(ocimanifest.EMPTY)
            self._has_empty = True
        digest, size = upload.run(data)
        inline = data if isinstance(data, bytes) and size <= ocimanifest.INLINE_BYTES else None
        body = ocimanifest.write_manifest(name, digest, size, inline, time.time())
        answer = self._ask(
            Request("PUT", place, {"Content-Type": ocimanifest.MANIFEST_TYPE}, body), PUSH, limit=64_000
        )
        if answer.status not in {200, 201, 202, 204}:
            raise self._fault(answer.status, f"writing {name}", writing=True)
        self._known.pop(name, None)
        return True

    def entries(self, folder: str) -> Iterator[Entry]:
        """Yield everything below ``folder``; size and time of each cost a request."""
        prefix = f"{folder}/" if folder else ""
        for tags in self._tags():
            names = [name for tag in tags if (name := ocimanifest.name_of(tag)) and name.startswith(prefix)]
            answers = in_batch(self._manifest_body, names, self._workers)
            for fault in answers.faults.values():  # what a list leaves out, gc takes for garbage
                raise fault
            for name, body in answers.items():
                if body is not None:
                    content = ocimanifest.read_manifest(body, f"{self._url}: {name}")
                    yield Entry(name, content.size, content.created or UNKNOWN_TIME)

    def remove(self, name: str) -> None:
        """Remove a name. Registries delete by the digest of a manifest; ours are each under one tag."""
        self._known.pop(name, None)
        body = self._manifest_body(name)
        if body is None:
            return
        place = f"{self._base}/manifests/{ocimanifest.digest_of(body)}"
        answer = self._ask(Request("DELETE", place), DELETE, limit=64_000)
        if answer.status not in {200, 202, 204, 404}:
            if answer.status in {400, 405}:
                raise RefusedError(self._url, "this registry does not let anybody delete", writing=True)
            raise self._fault(answer.status, f"removing {name}", writing=True)

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    def _content(self, name: str) -> ocimanifest.Content | None:
        known = self._known.get(name)
        if known is not None:
            return known
        body = self._manifest_body(name)
        if body is None:
            return None
        content = ocimanifest.read_manifest(body, f"{self._url}: {name}")
        if content.inline is None and len(self._known) < MAX_KNOWN:
            self._known[name] = content
        return content

    def _manifest(self, name: str) -> str:
        return f"{self._base}/manifests/{ocimanifest.tag_of(name)}"

    def _manifest_body(self, name: str) -> bytes | None:
        request = Request("GET", self._manifest(name), {"Accept": ocimanifest.MANIFEST_TYPE})
        answer = self._ask(request, PULL, limit=ocimanifest.MAX_MANIFEST_BYTES)
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise self._fault(answer.status, f"reading {name}")
        return answer.body

    def _exists(self, place: str) -> bool:
        answer = self._ask(Request("HEAD", place, {"Accept": ocimanifest.MANIFEST_TYPE}), PULL, limit=0)
        if answer.status not in {200, 404}:
            raise self._fault(answer.status, "looking for a tag")
        return answer.status == 200

    def _blob(self, content: ocimanifest.Content) -> Request:
        """Return the request for a blob, with a token that still lasts."""
        url = f"{self._base}/blobs/{content.digest}"
        if self._keys.held(PULL) is None:  # none was needed so far, or the last one is at its end
            self._ask(Request("HEAD", url), PULL, limit=0)
        return Request("GET", url, secret=self._keys.held(PULL))

    def _tags(self) -> Iterator[list[str]]:
        url: str | None = f"{self._base}/tags/list?n={PAGE}"
        while url is not None:
            answer = self._ask(Request("GET", url), PULL, limit=MAX_TAGS_BYTES)
            if answer.status == 404:  # nobody has written yet
                return
            if answer.status != 200:
                raise self._fault(answer.status, "listing")
            try:
                tags = json.loads(answer.body)["tags"] or []
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise BadDataError(self._url, "the list of tags is none") from error
            yield [tag for tag in tags if isinstance(tag, str)]
            url = self._next(url, answer.headers.get("link", ""), tags)

    def _next(self, url: str, link: str, tags: list[str]) -> str | None:
        found = re.match(r'<([^>]+)>\s*;\s*rel="?next"?', link)
        if not found or not tags:
            return None
        following: str = urljoin(url, found[1])
        if origin(following) != origin(url) or following == url:
            raise BadDataError(self._url, "the list of tags goes on somewhere else")
        return following

    def _ask(self, request: Request, actions: str, *, limit: int) -> Answer:
        """Send a request; where the registry wants to know who we are, tell it and ask again."""
        secret = self._keys.held(actions)
        sent = Request(request.method, request.url, request.headers, request.body, secret)
        if origin(request.url) != origin(self._base):  # an upload that goes to a storage of its own
            return self._transport.read(request, limit=limit)
        answer = self._transport.read(sent, limit=limit)
        if answer.status != 401:
            return answer
        secret = self._keys.obtain(answer.headers.get("www-authenticate", ""), actions, secret)
        if secret is None:
            return answer
        body = request.body
        if body is not None and not isinstance(body, bytes):
            body.seek(0)
        return self._transport.read(
            Request(request.method, request.url, request.headers, body, secret), limit=limit
        )

    def _fault(self, status: int, doing: str, *, writing: bool = False) -> Exception:
        if status == 401:
            reason = f"{doing}: it wants a login that it knows, or that may do this (401): docker login"
            return RefusedError(self._url, reason, writing=writing)
        if status == 413:
            return UnavailableError(f"{self._url}: {doing}: too large for this registry (413)")
        return self._transport.refuse(status, doing, writing=writing)
