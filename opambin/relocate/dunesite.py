"""dune-site's fields: ``%%DUNE_PLACEHOLDER:<n>:...%%`` before the installation, ``=<n>:<value>`` after it.

The field keeps its length for ever and is filled up with spaces, so the value may grow until the field is
full. A bare ``%%DUNE_PLACEHOLDER:`` (dune itself has it) holds no prefix and is never touched. The value may
hold the prefix several times (a list of directories, separated by NUL bytes).
The format is that of ``encode_replacement`` in dune's ``artifact_substitution.ml``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from opambin.errors import BadDataError, CannotRelocateError
from opambin.frozen import dataclass
from opambin.model import PADDED_LENGTH, PLACEHOLDER, Bound, Kind, Occurrence
from opambin.relocate.located import Located
from opambin.relocate.pieces import Change, Pieces, apply, check_placeholder, refuse_others

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from opambin.relocate.spelling import Spelling

MAX_FIELD = 65536  # bytes; dune's own limit
_START = re.compile(rb"=(0|[1-9][0-9]{0,4}):")
_SPACES = re.compile(rb" *")


@dataclass(frozen=True, slots=True)
class Field:
    """A placeholder after the installation.

    Attributes:
        start: Offset of its ``=``.
        value: Offset of the value.
        value_end: Offset after the value.
        end: Offset after the spaces.
    """

    start: int
    value: int
    value_end: int
    end: int


def field_in(data: bytes, start: int, end: int) -> Field | None:
    """Return the field that is exactly ``data[start:end]``, or None when that is something else."""
    match = _START.match(data, start, end)
    if match is None or end - start > MAX_FIELD:
        return None
    value_end = match.end() + int(match[1])
    if value_end > end or data[value_end:end].strip(b" "):
        return None
    return Field(start, match.end(), value_end, end)


def field_around(data: bytes, at: int, low: int, high: int) -> Field | None:
    """Return the field whose value holds the byte at ``at``, in the region ``data[low:high]``.

    A field is a string of its own: it begins the region, or a NUL byte stands before it (the end of the
    string before it, or the highest byte of the header of an OCaml block).
    """
    floor = max(low, at - MAX_FIELD)
    start = data.rfind(b"=", floor, at)
    while start >= 0:
        match = _START.match(data, start, high)
        if match is not None and (start == low or data[start - 1] == 0):
            value_end = match.end() + int(match[1])
            spaces = _SPACES.match(data, value_end, high)
            if match.end() <= at < value_end <= high and spaces is not None:
                return Field(start, match.end(), value_end, spaces.end())
        start = data.rfind(b"=", floor, start)
    return None


def locate_field(text: bytes, spelling: Spelling, path: str, where: str = "dune-site") -> Located | None:
    """Bring one whole field into placeholder form.

    Returns:
        None when ``text`` is no field or does not hold the prefix. When the placeholder does not fit,
        the text as it was and a bound.
    """
    field = field_in(text, 0, len(text))
    if field is None:
        return None
    value = text[field.value : field.value_end]
    hits = [hit for hit in spelling.hits(value) if not hit.build]
    if not hits:
        return None
    pieces, done = Pieces(), 0
    offsets = []
    for hit in hits:
        pieces.raw(value[done : hit.offset])
        offsets.append(pieces.length)
        pieces.raw(PLACEHOLDER)
        done = hit.end
    pieces.raw(value[done:])
    new = pieces.located().content
    content = _encode(new, len(text))
    if content is None:
        reason = f"a dune-site field of {len(text)} bytes is too short for another prefix ({where})"
        return Located(text, bound=(Bound(path, reason),))
    head = content.index(b":") + 1
    capacity = _capacity(len(text), len(new) - PADDED_LENGTH * len(hits), len(hits))
    return Located(
        content,
        tuple(
            Occurrence(Kind.DUNE_SITE, head + at, capacity, anchor=(head + at, len(text)), where=where)
            for at in offsets
        ),
    )


def locate(data: bytes, spelling: Spelling, path: str) -> Located:
    """Find the fields of ``data`` and bring them into placeholder form; its length stays.

    Occurrences outside of fields are not looked at.
    """
    pieces, done = Pieces(), 0
    for hit in spelling.hits(data):
        if hit.offset < done:
            continue
        field = field_around(data, hit.offset, done, len(data))
        located = locate_field(data[field.start : field.end], spelling, path) if field is not None else None
        if field is not None and located is not None:
            pieces.raw(data[done : field.start])
            pieces.part(located)
            done = field.end
    pieces.raw(data[done:])
    return pieces.located()


def changes(content: bytes, occurrences: Iterable[Occurrence], target: bytes) -> list[Change]:
    """Return the new fields for a prefix.

    Raises:
        BadDataError: The occurrences do not fit the content.
        CannotRelocateError: The prefix is too long for a field.
    """
    fields: dict[tuple[int, int], list[Occurrence]] = {}
    for occurrence in occurrences:
        check_placeholder(content, occurrence)
        match occurrence.anchor:
            case (back, size):
                start = occurrence.offset - back
                fields.setdefault((start, start + size), []).append(occurrence)
            case _:
                raise BadDataError(f"occurrence at {occurrence.offset}", "its anchor is not that of a field")
    return [_change(content, bounds, inside, target) for bounds, inside in sorted(fields.items())]


def _change(content: bytes, bounds: tuple[int, int], occurrences: list[Occurrence], target: bytes) -> Change:
    start, end = bounds
    if not 0 <= start < end <= len(content):
        raise BadDataError(f"dune-site field at {start}", "outside of the file")
    text = respell(content[start:end], [found.offset - start for found in occurrences], target)
    if text is None:
        raise CannotRelocateError(
            occurrences[0].where, f"the prefix has {len(target)} bytes and does not fit its dune-site field"
        )
    return Change(start, end, text)


def respell(text: bytes, places: Iterable[int], target: bytes) -> bytes | None:
    """Return a field in placeholder form with another prefix, of the same length.

    Args:
        text: The whole field.
        places: Offsets of the placeholders in it.
        target: The prefix.

    Returns:
        None when it does not fit.

    Raises:
        BadDataError: ``text`` is no field, or a place is not in its value.
    """
    field = field_in(text, 0, len(text))
    if field is None:
        raise BadDataError("dune-site field", "no field stands there")
    new: list[bytes] = []
    done = field.value
    for place in sorted(places):
        inside = done <= place <= field.value_end - PADDED_LENGTH
        if not inside or not text.startswith(PLACEHOLDER, place):
            raise BadDataError("dune-site field", f"no placeholder at its byte {place}")
        new += (text[done:place], target)
        done = place + PADDED_LENGTH
    new.append(text[done : field.value_end])
    return _encode(b"".join(new), len(text))


def render(content: bytes, occurrences: Sequence[Occurrence], target: bytes) -> bytes:
    """Return ``content`` for the prefix ``target``.

    Raises:
        BadDataError: The occurrences do not fit the content.
        CannotRelocateError: The prefix is too long for a field.
    """
    refuse_others(occurrences, Kind.DUNE_SITE)
    return apply(content, changes(content, occurrences, target))


def _encode(value: bytes, length: int) -> bytes | None:
    text = b"=%d:%s" % (len(value), value)
    return text.ljust(length) if len(text) <= length else None


def _capacity(length: int, rest: int, count: int) -> int:
    """Return the longest prefix with which ``=<n>:<value>`` still fits ``length`` bytes."""
    longest = (length - rest) // count
    while longest > 0:
        size = rest + count * longest
        if len(str(size)) + 2 + size <= length:
            break
        longest -= 1
    return longest
