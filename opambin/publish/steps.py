"""From what a manifest knows of a file to the edits that ``install.sh`` makes; pure.

What the formats of :mod:`opambin.relocate` do is spelled out as edits here, and then tried: what the edits
give must be, byte for byte, what a restore gives, for short, long and odd lengths. A file for which it isn't
is not published.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from opambin.errors import BadDataError, CannotRelocateError
from opambin.model import PADDED_LENGTH, PLACEHOLDER, Kind, Occurrence
from opambin.publish.edits import (
    Block,
    Edit,
    FileEdits,
    Item,
    Launcher,
    Literal,
    Number,
    Padded,
    Prefix,
    Site,
    Size,
    Term,
    Token,
    carry_out,
    merged,
)
from opambin.relocate import blocks, bytecode, dunesite, elf, machomagic, rendering
from opambin.relocate.marshalheader import read_header
from opambin.relocate.marshalstream import string_at, string_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

TRIED_LENGTHS = (2, 12, 29, 57, 112, 114, 165, PADDED_LENGTH)
"""Of prefixes, in bytes: both sides of what a ``#!`` line may have, several remainders of 8."""
_SMALL_HEADER = 20  # bytes of the header of a marshalled value
_GAP_REBUILT = 40  # bytes between edits that are cheaper to write out than to copy


def file_edits(content: bytes, occurrences: Sequence[Occurrence]) -> FileEdits:
    """Work out the edits of one file in placeholder form.

    Raises:
        CannotRelocateError: They would not give what a restore gives.
        BadDataError: The bytes are not what the occurrences say.
    """
    if machomagic.recognises(content):
        raise CannotRelocateError("Mach-O", "has to be signed again after it was changed")
    swept = _is_swept(content, occurrences)
    kept = [found for found in occurrences if not (swept and _is_stale_in_place(found))]
    edits = [*_fixed(kept), *_blocks(content, kept), *_sites(content, kept)]
    in_place = rendering.in_place(kept)
    if not in_place:
        edits += _values(content, kept)
        edits += _texts(content, kept)
        if bytecode.recognises(content):
            edits += _table(content, edits)
    gap = 0 if in_place else _GAP_REBUILT
    found = FileEdits(merged(edits, content, gap), in_place, swept)
    try_out(content, occurrences, found)
    return found


def try_out(content: bytes, occurrences: Sequence[Occurrence], edits: FileEdits) -> None:
    """Compare what the edits give with what a restore gives.

    Raises:
        CannotRelocateError: They differ for a prefix that a restore could be made for.
    """
    longest = rendering.longest_prefix(occurrences)
    lengths = TRIED_LENGTHS if edits.edits else TRIED_LENGTHS[-3:-1]
    for length in (*lengths, *(() if longest is None or longest > PADDED_LENGTH else (longest,))):
        prefix = b"/p" + b"q" * (length - 2) if length < 60 else b"/r" * 20 + b"/" + b"q" * (length - 41)
        try:
            wanted = rendering.render(content, occurrences, prefix)
        except CannotRelocateError:
            continue
        if carry_out(content, edits, PLACEHOLDER, prefix) != wanted:
            raise CannotRelocateError("edits", f"they fail for a prefix of {length} bytes")


def store_text(text: str) -> tuple[Item, ...]:
    """Return the items that make a short text of placeholder form (a target, a line)."""
    return _around(text.encode("utf-8", "surrogateescape"))


def text_edits(content: bytes) -> FileEdits:
    """Return the edits of a text without recorded occurrences, such as ``NAME.config``."""
    edits = [Edit(at, at + PADDED_LENGTH, (Prefix(),)) for at in _places(content)]
    return FileEdits(merged(edits, content, _GAP_REBUILT), in_place=False)


def _is_stale_in_place(found: Occurrence) -> bool:
    return found.kind is Kind.CSTRING and not found.functional


def _is_swept(content: bytes, occurrences: Sequence[Occurrence]) -> bool:
    """Tell whether all stale places of a file can be replaced without looking at offsets.

    What another edit touches as well is written over by it.
    """
    stale = any(_is_stale_in_place(found) for found in occurrences)
    return stale and set(_places(content)) == {found.offset for found in occurrences}


def _places(content: bytes) -> Iterator[int]:
    at = content.find(PLACEHOLDER)
    while at >= 0:
        yield at
        at = content.find(PLACEHOLDER, at + PADDED_LENGTH)


def _around(text: bytes, places: Iterable[int] | None = None) -> tuple[Item, ...]:
    items: list[Item] = []
    parts = _parts(text, _places(text) if places is None else places)
    for number, part in enumerate(parts):
        items += [Prefix()] * (number > 0)
        items += [Literal(part)] * bool(part)
    return tuple(items)


def _parts(text: bytes, places: Iterable[int]) -> tuple[bytes, ...]:
    """Cut a text at its placeholders.

    Raises:
        BadDataError: No placeholder stands at a place.
    """
    parts, done = [], 0
    for at in sorted(places):
        if at < done or not text.startswith(PLACEHOLDER, at):
            raise BadDataError("object", f"no placeholder at byte {at}")
        parts.append(text[done:at])
        done = at + PADDED_LENGTH
    return (*parts, text[done:])


def _fixed(occurrences: Iterable[Occurrence]) -> Iterator[Edit]:
    for found in occurrences:
        if found.kind is Kind.CSTRING:
            yield Edit(found.offset, found.offset + PADDED_LENGTH, (Padded(PADDED_LENGTH),))


def _anchored(occurrences: Iterable[Occurrence], kind: Kind) -> dict[tuple[int, int], list[int]]:
    """Group the places of a kind by where their structure begins, and the second number of the anchor."""
    found: dict[tuple[int, int], list[int]] = defaultdict(list)
    for item in occurrences:
        if item.kind is kind:
            back, second = item.anchor
            found[(item.offset - back, second)].append(item.offset)
    return found


def _blocks(content: bytes, occurrences: Iterable[Occurrence]) -> Iterator[Edit]:
    for (header, room), places in _anchored(occurrences, Kind.BLOCK).items():
        block = blocks.string_at(content, header, header + blocks.WORD * (room + 1))
        if block is None:
            raise BadDataError("object", f"no string block at byte {header}")
        text = content[block.start : block.start + block.length]
        parts = _parts(text, (at - block.start for at in places))
        yield Edit(header, block.start + blocks.WORD * room, (Block(room, parts),))


def _sites(content: bytes, occurrences: Iterable[Occurrence]) -> Iterator[Edit]:
    for (start, size), places in _anchored(occurrences, Kind.DUNE_SITE).items():
        field = dunesite.field_in(content, start, start + size)
        if field is None:
            raise BadDataError("object", f"no dune-site field at byte {start}")
        parts = _parts(content[field.value : field.value_end], (at - field.value for at in places))
        yield Edit(start, start + size, (Site(size, parts),))


def _values(content: bytes, occurrences: Iterable[Occurrence]) -> Iterator[Edit]:
    values: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for found in occurrences:
        if found.kind is Kind.MARSHAL:
            to_value, to_string = found.anchor
            values[found.offset - to_value][found.offset - to_string].append(found.offset)
    for start, strings in values.items():
        yield from _value(content, start, strings)


def _value(content: bytes, start: int, strings: dict[int, list[int]]) -> Iterator[Edit]:
    """Edit the strings of one value, and the three numbers of its header that follow from them."""
    header = read_header(content, start)
    size, words32, words64 = Size(header.size), Size(header.words32), Size(header.words64)
    for opcode, places in strings.items():
        token = string_at(content, opcode, header.end)
        if token is None or header.compressed:
            raise BadDataError(f"marshalled value at {start}", f"no string stands at {opcode}")
        length = token.end - token.text
        rest, count = length - PADDED_LENGTH * len(places), len(places)
        yield Edit(opcode, token.text, (Token(rest, count),))
        for at in places:
            yield Edit(at, at + PADDED_LENGTH, (Prefix(),))
        size += Size(opcode - token.end, (Term("T", rest, count),))
        words32 += Size(-string_words(length, 4), (Term("V", rest, count),))
        words64 += Size(-string_words(length, 8), (Term("W", rest, count),))
    if header.body - start == _SMALL_HEADER:
        numbers: tuple[tuple[int, int, Size], ...] = ((4, 4, size), (12, 4, words32), (16, 4, words64))
    else:
        numbers = ((8, 8, size), (24, 8, words64))
    for at, width, number in numbers:
        yield Edit(start + at, start + at + width, (Number(width, number),))


def _texts(content: bytes, occurrences: Iterable[Occurrence]) -> Iterator[Edit]:
    places = [found.offset for found in occurrences if found.kind is Kind.TEXT]
    launcher = _launcher(content, places)
    if launcher is not None:
        yield launcher
        places = [at for at in places if at >= launcher.end]
    for at in places:
        yield Edit(at, at + PADDED_LENGTH, (Prefix(),))


def _launcher(content: bytes, places: Sequence[int]) -> Edit | None:
    """Return the edit for the ``#!`` line of a bytecode program, which may have to become a script."""
    table = bytecode.sections(content)
    if table is None or content.startswith(elf.MAGIC) or not any(at < table.start for at in places):
        return None
    line, newline, rest = content[: table.start].partition(b"\n")
    command = line[2:]
    if not line.startswith(b"#!") or not newline or rest or b"'" in command:
        return None
    parts = _parts(command, [at - 2 for at in places if at < table.start])
    if set(command) & set(b" \t"):
        items = (Literal(b"#!/bin/sh\nexec '"), *_around(command), Literal(b'\' "$0" "$@"\n'))
        return Edit(0, table.start, items)
    return Edit(0, table.start, (Launcher(parts),))


def _table(content: bytes, edits: Sequence[Edit]) -> Iterator[Edit]:
    """Edit the table of a bytecode program: the lengths of the sections in which something is edited."""
    table = bytecode.sections(content)
    if table is None:
        return
    for number, section in enumerate(table.sections):
        inside = [edit for edit in edits if section.start <= edit.start and edit.end <= section.end]
        if inside:
            untouched = section.end - section.start - sum(edit.end - edit.start for edit in inside)
            length = sum((item.size for edit in inside for item in edit.items), Size(untouched))
            at = table.end + 8 * number + 4
            yield Edit(at, at + 4, (Number(4, length),))
