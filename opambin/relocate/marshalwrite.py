"""Marshalled values in placeholder form, written for a prefix: strings, lengths and sizes.

The anchor of an occurrence of kind ``marshal`` is (bytes back to the header of the value, bytes back to the
opcode of the string): see :mod:`opambin.relocate.marshal`, which finds them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opambin.errors import BadDataError
from opambin.model import PADDED_LENGTH, Kind
from opambin.relocate import dunesite
from opambin.relocate.marshalheader import read_header, write_header
from opambin.relocate.marshalstream import encode_string, string_at, string_words
from opambin.relocate.pieces import Change, apply, check_placeholder, fixed_changes, of_kind, refuse_others

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from opambin.model import Occurrence

KINDS = (Kind.MARSHAL, Kind.CSTRING, Kind.DUNE_SITE)
"""What may be found in a file of marshalled values."""


def changes(content: bytes, occurrences: Sequence[Occurrence], target: bytes) -> list[Change]:
    """Return what has to be changed in ``content`` for the prefix ``target``.

    Raises:
        BadDataError: The occurrences do not fit the content.
        CannotRelocateError: The prefix does not fit a field that keeps its length.
    """
    refuse_others(occurrences, *KINDS)
    return [
        *_value_changes(content, of_kind(occurrences, Kind.MARSHAL), target),
        *fixed_changes(content, of_kind(occurrences, Kind.CSTRING), target),
        *dunesite.changes(content, of_kind(occurrences, Kind.DUNE_SITE), target),
    ]


def _value_changes(content: bytes, occurrences: Iterable[Occurrence], target: bytes) -> list[Change]:
    values: dict[int, dict[int, list[int]]] = {}
    for occurrence in occurrences:
        check_placeholder(content, occurrence)
        match occurrence.anchor:
            case (to_value, to_string) if 0 < to_string < to_value:
                strings = values.setdefault(occurrence.offset - to_value, {})
                strings.setdefault(occurrence.offset - to_string, []).append(occurrence.offset)
            case _:
                raise BadDataError(f"occurrence at {occurrence.offset}", "its anchor is not that of a string")
    return [
        change
        for start, strings in sorted(values.items())
        for change in _change_value(content, start, strings, target)
    ]


def _change_value(
    content: bytes, start: int, strings: dict[int, list[int]], target: bytes
) -> Iterator[Change]:
    header = read_header(content, start)
    size, grown32, grown64 = header.size, 0, 0
    for opcode, offsets in sorted(strings.items()):
        token = string_at(content, opcode, header.end)
        if header.compressed or token is None or opcode < header.body:
            raise BadDataError(f"marshalled value at {start}", f"no string stands at {opcode}")
        text = content[token.text : token.end]
        inner = [offset - token.text for offset in sorted(offsets)]
        if inner[0] < 0 or inner[-1] + PADDED_LENGTH > len(text):
            raise BadDataError(
                f"marshalled value at {start}", f"occurrence outside of the string at {opcode}"
            )
        new = apply(text, [Change(place, place + PADDED_LENGTH, target) for place in inner])
        encoded = encode_string(new)
        yield Change(opcode, token.end, encoded)
        size += len(encoded) - (token.end - opcode)
        grown32 += string_words(len(new), 4) - string_words(len(text), 4)
        grown64 += string_words(len(new), 8) - string_words(len(text), 8)
    yield Change(start, header.body, write_header(header, size, grown32, grown64))
