"""A remote in memory: what exchange's tests talk to, and what lies where they want it to lie."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from opambin.remote.batch import in_batch
from opambin.remote.protocol import Answers, Entry, Span, check_name
from opambin.remote.reading import checked_limit, wrong_length

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


class MemoryRemote:
    """Keeps bytes in a dictionary.

    Attributes:
        content: What it holds; tests may change it.
        fail: Raised by every call while it is set.
        readonly: Raised by every write while it is set.
        lists: Whether it can list.
        calls: How often each method was called.
        read: Bytes that were handed out.
        now: Time of what is written next, in seconds since 1970.
    """

    def __init__(self, content: dict[str, bytes] | None = None, url: str = "memory:") -> None:
        self.content = dict(content or {})
        self.modified: dict[str, float] = {}
        self.url = url
        self.fail: Exception | None = None
        self.readonly: Exception | None = None
        self.lists = True
        self.calls: Counter[str] = Counter()
        self.read = 0
        self.now = 0.0
        self.closed = False

    def _called(self, method: str, *, writing: bool = False) -> None:
        self.calls[method] += 1
        if self.fail is not None:
            raise self.fail
        if writing and self.readonly is not None:
            raise self.readonly

    def get(self, name: str, *, limit: int, span: Span | None = None) -> bytes | None:
        self._called("get")
        return self._get(name, limit, span)

    def _get(self, name: str, limit: int, span: Span | None = None) -> bytes | None:
        data = self.content.get(check_name(name))
        if data is None:
            return None
        length = checked_limit(f"{self.url}{name}", len(data), limit=limit, span=span)
        start = span.start if span else 0
        self.read += length
        return data[start : start + length]

    def get_many(self, names: Iterable[str], *, limit: int) -> Answers:
        self._called("get_many")
        return in_batch(lambda name: self._get(name, limit), names, 1)

    def fetch(self, name: str, into: Callable[[bytes], object], *, size: int) -> bool:
        self._called("fetch")
        data = self.content.get(check_name(name))
        if data is None:
            return False
        if len(data) != size:
            raise wrong_length(f"{self.url}{name}", size, len(data))
        for at in range(0, len(data), 65_536):
            into(data[at : at + 65_536])
        self.read += len(data)
        return True

    def put(self, name: str, data: bytes | Path, *, replace: bool = False) -> bool:
        self._called("put", writing=True)
        if check_name(name) in self.content and not replace:
            return False
        self.content[name] = data.read_bytes() if isinstance(data, Path) else data
        self.modified[name] = self.now
        return True

    def entries(self, folder: str) -> Iterator[Entry]:
        self._called("entries")
        if not self.lists:
            from opambin.errors import UnavailableError

            raise UnavailableError(f"{self.url} can't list")
        for name, data in sorted(self.content.items()):
            if not folder or name.startswith(f"{folder}/"):
                yield Entry(name, len(data), self.modified.get(name, 0.0))

    def remove(self, name: str) -> None:
        self._called("remove", writing=True)
        self.content.pop(check_name(name), None)

    def close(self) -> None:
        self.closed = True
