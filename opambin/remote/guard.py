"""A dead or slow remote costs one time-out, not one for each question."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from opambin.remote.faults import RefusedError, RemoteDownError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from opambin.errors import UnavailableError
    from opambin.remote.protocol import Answers, Entry, Remote, Span


class Guarded:
    """A remote that, once it is down or refuses us, says so at once for the rest of the session.

    After a :class:`RemoteDownError` every call raises that same error; after a :class:`RefusedError` every
    call of that kind (reading, writing) does. Whoever tells the user tells it once for each error object.

    Args:
        remote: The remote.
    """

    def __init__(self, remote: Remote) -> None:
        self.remote = remote
        self._reading: UnavailableError | None = None
        self._writing: UnavailableError | None = None

    @property
    def url(self) -> str:
        """Where it is, without secrets."""
        return self.remote.url

    def get(self, name: str, *, limit: int, span: Span | None = None) -> bytes | None:
        """See :class:`opambin.remote.protocol.Remote`, as for all that follows."""
        with self._watch():
            return self.remote.get(name, limit=limit, span=span)

    def get_many(self, names: Iterable[str], *, limit: int) -> Answers:
        """Read many names."""
        with self._watch():
            return self.remote.get_many(names, limit=limit)

    def fetch(self, name: str, into: Callable[[bytes], object], *, size: int) -> bool:
        """Read a long one."""
        with self._watch():
            return self.remote.fetch(name, into, size=size)

    def put(self, name: str, data: bytes | Path, *, replace: bool = False) -> bool:
        """Write."""
        with self._watch(writing=True):
            return self.remote.put(name, data, replace=replace)

    def entries(self, folder: str) -> Iterator[Entry]:
        """List."""
        with self._watch():
            yield from self.remote.entries(folder)

    def remove(self, name: str) -> None:
        """Remove."""
        with self._watch(writing=True):
            self.remote.remove(name)

    def close(self) -> None:
        """Let go of connections."""
        self.remote.close()

    @contextmanager
    def _watch(self, *, writing: bool = False) -> Iterator[None]:
        known = self._writing if writing else self._reading
        if known is not None:
            raise known
        try:
            yield
        except RemoteDownError as error:
            self._reading = self._reading or error
            self._writing = self._writing or error
            raise
        except RefusedError as error:
            if error.writing:
                self._writing = self._writing or error
            else:
                self._reading = self._reading or error
            raise
