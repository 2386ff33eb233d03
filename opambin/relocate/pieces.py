"""Putting a file together from parts: when it is brought into placeholder form, and when it is rendered."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from opambin.errors import BadDataError, CannotRelocateError
from opambin.frozen import dataclass
from opambin.model import PADDED_LENGTH, PLACEHOLDER, Kind, Occurrence
from opambin.relocate.located import Located
from opambin.relocate.spelling import pad

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from opambin.model import Bound


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """Bytes of a file that are replaced.

    Attributes:
        start: Offset of the first byte.
        end: Offset after the last byte.
        new: What stands there afterwards.
    """

    start: int
    end: int
    new: bytes


class Pieces:
    """Collects the parts of a file in their order and shifts what was located in them."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._chunks: list[bytes] = []
        self._occurrences: list[Occurrence] = []
        self._bound: list[Bound] = []
        self._leaks = 0
        self._length = 0

    @property
    def length(self) -> int:
        """Bytes collected so far."""
        return self._length

    def raw(self, data: bytes) -> None:
        """Append bytes that hold no occurrence."""
        self._chunks.append(data)
        self._length += len(data)

    def part(self, located: Located) -> None:
        """Append a part that was located on its own."""
        shift = self._length
        self._occurrences += [
            dataclasses.replace(occurrence, offset=occurrence.offset + shift)
            for occurrence in located.occurrences
        ]
        self._bound += located.bound
        self._leaks += located.leaks
        self.raw(located.content)

    def located(self) -> Located:
        """Return the whole."""
        content = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        return Located(content, tuple(self._occurrences), tuple(self._bound), self._leaks)


def in_order(content: bytes, changes: Iterable[Change]) -> list[Change]:
    """Return changes by rising offset.

    Raises:
        BadDataError: Two changes overlap, or one is outside of the content.
    """
    done = 0
    ordered = sorted(changes)
    for change in ordered:
        if not done <= change.start <= change.end <= len(content):
            raise BadDataError("occurrences", f"overlapping or outside of the file at {change.start}")
        done = change.end
    return ordered


def apply(content: bytes, changes: Iterable[Change]) -> bytes:
    """Return ``content`` with the changes made.

    Raises:
        BadDataError: Two changes overlap, or one is outside of the content.
    """
    chunks: list[bytes] = []
    done = 0
    for change in in_order(content, changes):
        chunks += (content[done : change.start], change.new)
        done = change.end
    if not chunks:
        return content
    chunks.append(content[done:])
    return b"".join(chunks)


def check_placeholder(content: bytes, occurrence: Occurrence) -> None:
    """Refuse an occurrence where the placeholder does not stand.

    Raises:
        BadDataError: Something else stands at its offset.
    """
    if occurrence.offset < 0 or not content.startswith(PLACEHOLDER, occurrence.offset):
        raise BadDataError(f"occurrence at {occurrence.offset}", "no placeholder stands there")


def text_changes(content: bytes, occurrences: Iterable[Occurrence], target: bytes) -> list[Change]:
    """Replace placeholders in bytes that may have any length."""
    changes = []
    for occurrence in occurrences:
        check_placeholder(content, occurrence)
        changes.append(Change(occurrence.offset, occurrence.offset + PADDED_LENGTH, target))
    return changes


def fixed_changes(content: bytes, occurrences: Iterable[Occurrence], target: bytes) -> list[Change]:
    """Replace placeholders in bytes that keep their length, by the padded target.

    An informational occurrence stays as it is where the target does not fit.

    Raises:
        CannotRelocateError: A functional one does not fit.
    """
    fits = len(target) <= PADDED_LENGTH
    new = pad(target) if fits else b""
    changes = []
    for occurrence in occurrences:
        check_placeholder(content, occurrence)
        if fits:
            changes.append(Change(occurrence.offset, occurrence.offset + PADDED_LENGTH, new))
        elif occurrence.functional:
            raise CannotRelocateError(
                occurrence.where, f"the prefix has {len(target)} bytes, at most {PADDED_LENGTH} fit"
            )
    return changes


def of_kind(occurrences: Sequence[Occurrence], *kinds: Kind) -> list[Occurrence]:
    """Return the occurrences of some kinds, in their order."""
    return [occurrence for occurrence in occurrences if occurrence.kind in kinds]


def refuse_others(occurrences: Iterable[Occurrence], *kinds: Kind) -> None:
    """Refuse occurrences of a kind that a format does not have.

    Raises:
        BadDataError: There is one.
    """
    for occurrence in occurrences:
        if occurrence.kind not in kinds:
            raise BadDataError(f"occurrence at {occurrence.offset}", f"unexpected kind {occurrence.kind}")
