"""What remotes have said, kept in the store's index so that the next command need not ask again.

What was found is kept for days: it is verified anew at each use, and a slot that was taken stays taken. That
nothing was found, or nothing more, is kept for seconds. A remote that did not answer is left alone for a
minute, which joins the commands of one session. A store that can't be written remembers nothing.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opambin.errors import OpambinError
from opambin.model import ConeKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opambin.store.index import Index

FOUND_SECONDS = 7 * 86_400
NOTHING_SECONDS = 20
SILENT_SECONDS = 60
STATE_SECONDS = 60
_SLOTS = "remote-slots {}"
_HEADS = "remote-heads-by-digest"
_SILENT = "remote-silent"
_STATE = "remote-state"


@dataclass(frozen=True, slots=True)
class Slots:
    """The slots of a key, as far as they were asked for.

    Attributes:
        statements: What the first ones hold.
        complete: Whether the next one is known to be empty.
    """

    statements: tuple[bytes, ...] = ()
    complete: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """What became of questions to a remote.

    Attributes:
        answered: When it last did, in seconds since 1970, to a minute; None when it never has.
        silent: When it last did not; None when it always has.
        reason: Why it did not.
    """

    answered: int | None = None
    silent: int | None = None
    reason: str = ""

    @property
    def dead(self) -> bool:
        """Whether it did not answer the last time."""
        return self.silent is not None and self.silent >= (self.answered or 0)


class Memory:
    """Answers of remotes.

    Args:
        index: Of the store.
        fresh: Whether what is known is passed over; new answers are kept all the same.
    """

    def __init__(self, index: Index, *, fresh: bool = False) -> None:
        self._index = index
        self._fresh = fresh

    def slots(self, url: str, keys: Iterable[ConeKey]) -> dict[ConeKey, Slots]:
        """Return what a remote said of keys, as far as that still counts."""
        now = time.time()
        found = {}
        for key, value in self._get(_SLOTS.format(url), keys).items():
            at, complete, texts = json.loads(value)
            age = now - at
            if 0 <= age < (FOUND_SECONDS if texts else NOTHING_SECONDS):
                statements = tuple(text.encode("utf-8", "surrogateescape") for text in texts)
                found[ConeKey(key)] = Slots(statements, complete and age < NOTHING_SECONDS)
        return found

    def keep_slots(self, url: str, found: Mapping[ConeKey, Slots]) -> None:
        """Keep what a remote said."""
        now = time.time()
        values = {
            str(key): json.dumps(
                [now, it.complete, [text.decode("utf-8", "surrogateescape") for text in it.statements]]
            ).encode("ascii")
            for key, it in found.items()
        }
        self._put(_SLOTS.format(url), values)

    def heads(self, digests: Iterable[str]) -> dict[str, bytes]:
        """Return heads of archives by the sha256 of the head."""
        return self._get(_HEADS, digests, always=True)

    def keep_heads(self, heads: Mapping[str, bytes]) -> None:
        """Keep heads whose manifests were what their statements say."""
        self._put(_HEADS, heads)

    def state(self, url: str) -> bytes | None:
        """Return what a remote said of itself a moment ago; empty when it said nothing, None when unknown."""
        value = self._get(_STATE, [url]).get(url)
        if value is None:
            return None
        at, _, data = value.partition(b" ")
        return data if 0 <= time.time() - float(at) < STATE_SECONDS else None

    def keep_state(self, url: str, data: bytes) -> None:
        """Keep what a remote said of itself."""
        self._put(_STATE, {url: f"{time.time()} ".encode("ascii") + data})

    def silent(self, url: str) -> str:
        """Say why a remote did not answer a moment ago; empty when it did, or was not asked."""
        value = self._get(_SILENT, [url]).get(url)
        if value is None:
            return ""
        at, reason = json.loads(value)
        return str(reason) if 0 <= time.time() - at < SILENT_SECONDS else ""

    def standing(self, url: str) -> Standing:
        """Return when a remote last answered, and when and why it last did not, however long ago."""
        state = self._get(_STATE, [url], always=True).get(url)
        silent = self._get(_SILENT, [url], always=True).get(url)
        answered = int(float(state.partition(b" ")[0])) if state is not None else None
        at, reason = json.loads(silent) if silent is not None else (0, "")
        return Standing(answered, int(at) if reason else None, str(reason))

    def note_silent(self, url: str, reason: str) -> None:
        """Note that a remote does not answer; with an empty reason, that it does again."""
        self._put(_SILENT, {url: json.dumps([time.time(), reason]).encode("ascii")})

    def _get(self, space: str, keys: Iterable[str], *, always: bool = False) -> dict[str, bytes]:
        if self._fresh and not always:
            return {}
        with suppress(OpambinError):
            return self._index.cached(space, keys)
        return {}

    def _put(self, space: str, values: Mapping[str, bytes]) -> None:
        with suppress(OpambinError):  # a memory that can't be kept costs time only
            self._index.cache(space, values, int(time.time()))
