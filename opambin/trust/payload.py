"""What is signed, read strictly: every kind of statement has a shape, and nothing but that shape is one.

The rules that all kinds share are here; what a kind asks for besides stands beside it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opambin.errors import BadDataError
from opambin.trust import document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opambin.trust.envelope import Envelope


@dataclass(frozen=True, slots=True)
class Shape:
    """What a kind of statement looks like.

    Attributes:
        media: Its type on the envelope.
        kind: Its type inside, in the member ``type``.
        version: The one that is known, in the member ``version``.
        limit: How long it may be, in bytes.
        digests: Members that are a sha256 each.
        counts: Members that are a size, a time or a counter each.
        texts: Members that are a printable line each.
        others: Members with rules of their own.
    """

    media: str
    kind: str
    version: int
    limit: int
    counts: tuple[str, ...]
    digests: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def members(self) -> frozenset[str]:
        """All members; there are no others, and none may be missing."""
        return frozenset({"type", "version", *self.digests, *self.counts, *self.texts, *self.others})

    def write(self, content: dict[str, object]) -> bytes:
        """Return the canonical form of a statement of this kind, which is what gets signed."""
        return document.write({"type": self.kind, "version": self.version, **content})

    def read(
        self, envelope: Envelope, what: object, further: Callable[[dict[str, Any]], Iterable[str]]
    ) -> dict[str, Any]:
        """Read the payload of an envelope; whether it is signed is not looked at.

        Args:
            envelope: What came.
            what: Its name, for the error.
            further: Returns what is wrong with the members that have rules of their own.

        Raises:
            BadDataError: It is no statement of this kind and version; all that is wrong with it is told.
        """
        if envelope.type != self.media:
            raise BadDataError(what, "another kind of statement", expected=self.media, observed=envelope.type)
        body = document.read(envelope.payload, what, self.members, limit=self.limit)
        problems = [*self._problems(body), *further(body)]
        if problems:
            raise BadDataError(what, f"bad statement: {'; '.join(problems)}")
        return body

    def _problems(self, body: dict[str, Any]) -> Iterable[str]:
        rules: tuple[tuple[tuple[str, ...], Callable[[object], bool], str], ...] = (
            (self.digests, document.is_hex64, "not 64 hexadecimal digits"),
            (self.counts, document.is_count, "not a number that can be"),
            (self.texts, document.is_text, "not a line of text"),
        )
        for names, fits, problem in rules:
            yield from (f"{name}: {problem}" for name in names if not fits(body[name]))
        if body["type"] != self.kind or type(body["version"]) is not int or body["version"] != self.version:
            yield f"of type {body['type']!r:.40}, version {body['version']!r:.40}: not known"


def row_problems(
    name: str, rows: object, fits: Callable[[object], bool], holding: str, key: Callable[[Any], Any]
) -> list[str]:
    """Say what is wrong with a member that is a list: each row must fit, and their keys must rise.

    Args:
        name: Of the member.
        rows: Its value.
        fits: Tells whether a row can be one.
        holding: What rows are, in words.
        key: Returns that by which rows are sorted, and which no two share.
    """
    if not isinstance(rows, list) or not all(fits(row) for row in rows):
        return [f"{name}: not a list of {holding}"]
    if any(key(one) >= key(other) for one, other in itertools.pairwise(rows)):
        return [f"{name}: not sorted, or one twice"]
    return []
