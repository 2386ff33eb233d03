"""Marshalled OCaml values: their strings get another prefix, their header the new lengths.

A *functional* value is walked through token by token, but only when its bytes hold a spelling of the prefix;
it may grow and shrink. An *informational* one (``.cmt``, debug data; up to 40 MB) is searched, and the string
around each place is found by the bytes before it; its placeholders keep their length. Compressed values are
written back uncompressed when they are changed, which every OCaml reads.

Anchors are distances, so that they survive when a value is moved within its file: an occurrence of kind
``marshal`` has (bytes back to the header of the value, bytes back to the opcode of the string).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from opambin.model import PADDED_LENGTH, PLACEHOLDER, Kind, Occurrence
from opambin.relocate import dunesite
from opambin.relocate.located import Located
from opambin.relocate.marshalheader import (
    COMPRESSED,
    MAGIC,
    Header,
    compressed_values,
    decompress,
    read_header,
    write_header,
)
from opambin.relocate.marshalstream import encode_string, string_around, string_tokens, string_words
from opambin.relocate.pieces import Pieces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opambin.relocate.marshalstream import StringToken
    from opambin.relocate.spelling import Hit, Spelling

COMPRESSED_MAGIC = COMPRESSED
"""First bytes of values in which a search of the raw bytes finds nothing."""


def recognises(data: bytes) -> bool:
    """Tell from its first bytes whether a file holds marshalled values and nothing else."""
    return begins_value(data, 0)


def locate(data: bytes, spelling: Spelling, path: str) -> Located:
    """Bring a file of marshalled values, one after the other, into placeholder form.

    Raises:
        BadDataError: It is something else.
    """
    pieces, at = Pieces(), 0
    while at < len(data):
        located, at = locate_value(data, at, spelling, path)
        pieces.part(located)
    return pieces.located()


def locate_value(
    data: bytes, start: int, spelling: Spelling, path: str, where: str = "marshalled value"
) -> tuple[Located, int]:
    """Bring the functional value at ``start`` into placeholder form.

    Returns:
        The value alone, and the offset after it in ``data``.

    Raises:
        BadDataError: No value stands there, or it holds the prefix and can't be walked through.
    """
    header = read_header(data, start)
    if not header.compressed and not _touches(data, spelling, header.body, header.end):
        return Located(data[start : header.end]), header.end
    tokens = decompress(data, header) if header.compressed else data[header.body : header.end]
    body, grown = _locate_strings(tokens, spelling, path, where)
    if body.content == tokens:
        # Also when fields too short for the placeholder were left: the bound tells.
        return Located(data[start : header.end], bound=body.bound), header.end
    return _with_header(header, body, grown), header.end


def _with_header(header: Header, body: Located, grown: tuple[int, int]) -> Located:
    """Put the header before a new token stream and let the anchors reach it.

    Raises:
        BadDataError: The sizes in the header leave no room for the strings; they could not be lowered later.
    """
    pieces = Pieces()
    placed = sum(item.kind is Kind.MARSHAL for item in body.occurrences) * PADDED_LENGTH
    write_header(header, 0, grown[0] - placed // 4, grown[1] - placed // 8)
    pieces.raw(write_header(header, len(body.content), *grown))
    pieces.part(body)
    whole = pieces.located()
    found = tuple(
        Occurrence(
            item.kind,
            item.offset,
            item.capacity,
            item.functional,
            (item.offset, item.anchor[0]) if item.kind is Kind.MARSHAL else item.anchor,
            item.where,
        )
        for item in whole.occurrences
    )
    return Located(whole.content, found, whole.bound, whole.leaks)


def _touches(data: bytes, spelling: Spelling, start: int, end: int) -> bool:
    return data.find(spelling.padded, start, end) >= 0 or data.find(spelling.canonical, start, end) >= 0


def _locate_strings(
    tokens: bytes, spelling: Spelling, path: str, where: str
) -> tuple[Located, tuple[int, int]]:
    """Rewrite the strings of a token stream; also return by how many words they grew (32, 64 bits).

    The anchors hold, until the header is put before it, the distance to the string's opcode alone.
    """
    pieces, done = Pieces(), 0
    grown32 = grown64 = 0
    for token in _touched(tokens, spelling):
        text = tokens[token.text : token.end]
        field = dunesite.locate_field(text, spelling, path, where)
        if field is not None:
            pieces.raw(tokens[done : token.text])
            pieces.part(field)
            done = token.end
            continue
        hits = [hit for hit in spelling.hits(text) if not hit.build]
        if hits:
            pieces.raw(tokens[done : token.start])
            new = _respell(text, hits, where)
            pieces.part(new)
            done = token.end
            size = len(text) + sum(PADDED_LENGTH - hit.length for hit in hits)
            grown32 += string_words(size, 4) - string_words(len(text), 4)
            grown64 += string_words(size, 8) - string_words(len(text), 8)
    pieces.raw(tokens[done:])
    return pieces.located(), (grown32, grown64)


def _touched(tokens: bytes, spelling: Spelling) -> Iterator[StringToken]:
    """Yield the strings that hold a spelling; the walk ends after the last of them."""
    places = _places(tokens, spelling, 0, len(tokens))
    shortest = min(len(spelling.canonical), len(spelling.padded))
    upcoming = 0
    if not places:
        return
    for token in string_tokens(tokens, 0, len(tokens), shortest=shortest):
        # A place that was passed over is not in a string: a coincidence.
        while upcoming < len(places) and places[upcoming].start < token.text:
            upcoming += 1
        if upcoming == len(places):
            return
        if places[upcoming].stop <= token.end:
            yield token


def _places(data: bytes, spelling: Spelling, start: int, end: int) -> list[range]:
    """Return where the bytes of a spelling stand, boundaries unseen, by rising offset."""
    found = []
    for needle in {spelling.padded, spelling.canonical}:
        at = data.find(needle, start, end)
        while at >= 0:
            found.append(range(at, at + len(needle)))
            at = data.find(needle, at + len(needle), end)
    return sorted(found, key=lambda place: place.start)


def _respell(text: bytes, hits: list[Hit], where: str) -> Located:
    """Return the token of a string with the placeholder in the places of the hits."""
    chunks: list[bytes] = []
    places: list[int] = []
    done = length = 0
    for hit in hits:
        chunks += (text[done : hit.offset], PLACEHOLDER)
        places.append(length + hit.offset - done)
        length += hit.offset - done + PADDED_LENGTH
        done = hit.end
    chunks.append(text[done:])
    new = b"".join(chunks)
    token = encode_string(new)
    head = len(token) - len(new)
    return Located(
        token,
        tuple(
            Occurrence(Kind.MARSHAL, head + place, anchor=(head + place,), where=where) for place in places
        ),
    )


def locate_informational(
    data: bytes, start: int, spelling: Spelling, where: str = "debug information"
) -> tuple[Located, int]:
    """Bring the informational value at ``start`` into placeholder form.

    Returns:
        The value alone, and the offset after it in ``data``.

    Raises:
        BadDataError: No value stands there.
    """
    header = read_header(data, start)
    if not header.compressed:
        return locate_fixed(data, (start, header.end), spelling, where), header.end
    tokens = decompress(data, header)
    body = locate_fixed(tokens, (0, len(tokens)), spelling, where)
    if not body.occurrences:
        return Located(data[start : header.end], leaks=body.leaks), header.end
    pieces = Pieces()
    pieces.raw(write_header(header, len(tokens), 0, 0))
    pieces.part(body)
    return pieces.located(), header.end


def locate_fixed(
    data: bytes,
    bounds: tuple[int, int],
    spelling: Spelling,
    where: str,
    *,
    functional: bool = False,
) -> Located:
    """Bring the strings of ``data[start:end]`` into placeholder form without a change of length.

    Only the padded spelling can be; canonical ones are left and counted as leaks, and so is what
    does not stand in a string.
    """
    pieces, done, leaks = Pieces(), bounds[0], 0
    seen = done
    for place in _places(data, spelling, *bounds):
        if place.start < seen:
            continue
        token = string_around(data, place.start, len(place), bounds)
        seen = place.stop if token is None else token.end
        hits = _hits_in(data, token, spelling) if token is not None else []
        leaks += token is None
        for hit in hits:
            if not hit.padded or hit.length != PADDED_LENGTH:
                leaks += 1
            elif hit.offset >= done:
                pieces.raw(data[done : hit.offset])
                occurrence = Occurrence(Kind.CSTRING, 0, PADDED_LENGTH, functional, where=where)
                pieces.part(Located(PLACEHOLDER, (occurrence,)))
                done = hit.end
    pieces.raw(data[done : bounds[1]])
    located = pieces.located()
    return Located(located.content, located.occurrences, leaks=leaks)


def _hits_in(data: bytes, token: StringToken, spelling: Spelling) -> list[Hit]:
    """Return the hits of a string outside of build directories, with offsets in ``data``."""
    text = data[token.text : token.end]
    return [
        dataclasses.replace(hit, offset=hit.offset + token.text)
        for hit in spelling.hits(text)
        if not hit.build
    ]


def begins_value(data: bytes, at: int) -> bool:
    """Tell whether the magic number of a value stands at ``at``."""
    return data.startswith(MAGIC, at)


def count_hits(tokens: bytes, spelling: Spelling) -> int:
    """Return how often a spelling stands in a token stream, outside of build directories."""
    fixed = locate_fixed(tokens, (0, len(tokens)), spelling, "")
    return fixed.leaks + len(fixed.occurrences)


def compressed_hits(data: bytes, spelling: Spelling) -> int:
    """Return how often a spelling stands in the compressed values anywhere in ``data``."""
    return sum(count_hits(tokens, spelling) for _, tokens in compressed_values(data, 0, len(data)))
