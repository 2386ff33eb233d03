"""Prefixes inside ELF files: OCaml string blocks, C strings, debug sections, and the canary of hidden ones.

Nothing here changes the length of a file. A C string keeps its length as well, because linkers let one
string be the tail of another: the new prefix is padded with slashes.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import field, replace
from enum import Enum
from typing import TYPE_CHECKING

from opambin.frozen import dataclass
from opambin.model import PADDED_LENGTH, PLACEHOLDER, Bound, Kind, Occurrence
from opambin.relocate import blocks, dunesite, elf, embedded
from opambin.relocate.located import Located
from opambin.relocate.pieces import Change, apply

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from opambin.relocate.native import NativeFile, Region
    from opambin.relocate.spelling import Hit, Spelling

CANARY = 8  # slashes; a compiler that moves a string through registers moves eight bytes at a time
SLASHES = b"/" * CANARY
_SLASH_RUN = re.compile(rb"/{%d,}" % CANARY)
_BLOCK_SECTIONS = (".data", ".ldata", "__DATA,__data")


class _Reading(Enum):
    """How sure it is that a string block stands somewhere."""

    NONE = 0
    DOUBTFUL = 1
    SURE = 2


@dataclass(slots=True)
class _Edits:
    """What is found so far; the bytes are changed at the same length."""

    changes: list[Change] = field(default_factory=list)
    occurrences: list[Occurrence] = field(default_factory=list)
    bound: list[Bound] = field(default_factory=list)
    leaks: int = 0


@dataclass(frozen=True, slots=True)
class _Place:
    """A hit, the section that holds it, and how to name it."""

    hit: Hit
    section: Region
    where: str


def stray_runs(data: bytes, hits: Iterable[Hit]) -> Iterator[tuple[int, int]]:
    """Yield start and end of the runs of slashes that are not part of a whole padded prefix."""
    ends = {hit.offset: hit.end for hit in hits if hit.padded}
    starts = sorted(ends)
    at = data.find(SLASHES)
    while at >= 0:
        run = _SLASH_RUN.match(data, at)
        end = run.end() if run else at + CANARY
        number = bisect_right(starts, end - 1) - 1
        # Other slashes may stand right before a padding that begins in the root folder (``file://``).
        if number < 0 or end > ends[starts[number]] or starts[number] - at >= CANARY:
            yield at, end
        at = data.find(SLASHES, end)


def locate(data: bytes, spelling: Spelling, path: str, *, keep_length: bool = False) -> Located:
    """Bring an ELF file into placeholder form.

    Bytes after the end of the ELF file proper (an appended bytecode program) are not looked at.

    Args:
        data: The file.
        spelling: Of the prefix.
        path: For the reasons that are reported.
        keep_length: Pad blocks with slashes instead of shrinking them: the program has lengths compiled in.

    Raises:
        BadDataError: It is not an ELF file that can be read; :func:`elf.parse` says why.
    """
    return locate_in(elf.parse(data), data, spelling, path, keep_length=keep_length)


def locate_in(
    file: NativeFile, data: bytes, spelling: Spelling, path: str, *, keep_length: bool = False
) -> Located:
    """Bring a file of native code, of any format, into placeholder form; see :func:`locate`."""
    values = embedded.locate(data, spelling, path, file.end)
    data = values.content
    hits = [hit for hit in spelling.hits(data) if hit.offset < file.end]
    found = _Locator(data, file, spelling, path, keep_length=keep_length).run(hits)
    occurrences = sorted((*values.occurrences, *found.occurrences), key=lambda item: item.offset)
    return replace(found, occurrences=tuple(occurrences), bound=values.bound + found.bound)


class _Locator:
    """One pass over one ELF file."""

    def __init__(
        self, data: bytes, file: NativeFile, spelling: Spelling, path: str, *, keep_length: bool
    ) -> None:
        self._data = data
        self._file = file
        self._spelling = spelling
        self._path = path
        self._keep_length = keep_length
        self._edits = _Edits()
        self._index = file.index()

    def run(self, hits: list[Hit]) -> Located:
        in_block: dict[int, tuple[blocks.Block, list[_Place]]] = {}
        done = 0
        for hit in hits:
            if hit.offset >= done:
                done = self._field(hit) or done
            if hit.offset >= done:
                self._sort(hit, in_block)
        for block, places in in_block.values():
            self._block(block, places)
        self._glued()
        self._canary(hits)
        edits = self._edits
        edits.occurrences.sort(key=lambda found: found.offset)
        content = apply(self._data, edits.changes)
        return Located(content, tuple(edits.occurrences), tuple(edits.bound), edits.leaks)

    def _sort(self, hit: Hit, in_block: dict[int, tuple[blocks.Block, list[_Place]]]) -> None:
        section = self._index.at(hit.offset)
        if hit.build:
            self._edits.leaks += 1
            return
        if section is None:
            self._refuse(hit, "outside of all sections")
            return
        place = _Place(hit, section, section.name)
        if section.debug:
            self._debug(place)
        elif not section.allocated:
            self._refuse(hit, f"in section {section.name}, which is unknown")
        else:
            self._string(place, in_block)

    def _debug(self, place: _Place) -> None:
        if place.hit.padded and place.hit.length == PADDED_LENGTH:
            self._in_place(place, functional=False)
        else:
            self._edits.leaks += 1

    def _string(self, place: _Place, in_block: dict[int, tuple[blocks.Block, list[_Place]]]) -> None:
        block = None if self._keep_length else self._block_of(place)
        reading = self._reading(block, place.section) if block else _Reading.NONE
        if block and reading is _Reading.SURE:
            in_block.setdefault(block.header, (block, []))[1].append(place)
        elif reading is _Reading.DOUBTFUL:
            self._refuse(place.hit, f"in {place.where}: two readings of a string block")
        elif place.hit.padded and place.hit.length == PADDED_LENGTH:
            self._in_place(place, functional=True)
        else:
            self._refuse(place.hit, f"unpadded in a string of {place.where}, which cannot grow")

    def _block_of(self, place: _Place) -> blocks.Block | None:
        """Return the string block that holds a hit; it begins after the last NUL before the hit."""
        section, offset = place.section, place.hit.offset
        if not section.name.startswith(_BLOCK_SECTIONS):
            return None
        header = self._data.rfind(b"\0", section.offset, offset) + 1 - blocks.WORD
        if header < section.offset or (header - section.offset) % blocks.WORD:
            return None
        block = blocks.string_at(self._data, header, section.end)
        if block is None or place.hit.end > block.start + block.length:
            return None
        return block

    def _reading(self, block: blocks.Block, section: Region) -> _Reading:
        """Tell whether what looks like a block is one, and not a part of a longer string."""
        if self._file.has_symbol(self._data, block.start):
            return _Reading.SURE
        bounds = section.offset, section.end
        if not blocks.has_neighbours(self._data, block, *bounds):
            return _Reading.NONE
        return _Reading.DOUBTFUL if blocks.enclosing(self._data, block, *bounds) else _Reading.SURE

    def _field(self, hit: Hit) -> int:
        """Handle the dune-site field that holds a hit; return where it ends, 0 when there is none."""
        section = self._index.at(hit.offset)
        if hit.build or section is None or not section.allocated:
            return 0
        field = dunesite.field_around(self._data, hit.offset, section.offset, section.end)
        if field is None:
            return 0
        text = self._data[field.start : field.end]
        located = dunesite.locate_field(text, self._spelling, self._path, section.name)
        if located is None:
            return 0
        self._edits.changes.append(Change(field.start, field.end, located.content))
        self._edits.occurrences += (
            replace(found, offset=found.offset + field.start) for found in located.occurrences
        )
        self._edits.bound += located.bound
        return field.end

    def _block(self, block: blocks.Block, places: list[_Place]) -> None:
        section = places[0].section
        old = self._data[block.start : block.start + block.length]
        hits = [place.hit for place in places]
        value = _placed(old, hits, block.start)
        if len(value) > block.capacity:
            self._refuse(hits[0], f"unpadded in a string block of {section.name} without room to grow")
            return
        self._edits.changes.append(Change(block.header, block.end, blocks.encode(value, block.room)))
        self._edits.occurrences += _block_occurrences(block, value, section.name)

    def _in_place(self, place: _Place, *, functional: bool) -> None:
        at = place.hit.offset
        self._edits.changes.append(Change(at, at + PADDED_LENGTH, PLACEHOLDER))
        self._edits.occurrences.append(
            Occurrence(Kind.CSTRING, at, PADDED_LENGTH, functional, where=place.where)
        )

    def _refuse(self, hit: Hit, problem: str) -> None:
        self._edits.bound.append(Bound(self._path, f"prefix at byte {hit.offset} {problem}"))

    def _glued(self) -> None:
        """Refuse what may be a prefix behind a length, or the tail of another path."""
        for at in self._spelling.glued(self._data, 0, self._file.end):
            section = self._index.at(at)
            if section is not None and section.allocated:
                reason = f"what looks like the prefix at byte {at} in {section.name} begins inside of a word"
                self._edits.bound.append(Bound(self._path, reason))

    def _canary(self, hits: list[Hit]) -> None:
        """Look for what is left of a padded prefix that a compiler copied through registers."""
        seen = set()
        for start, end in stray_runs(self._data, hits):
            section = self._index.at(start)
            if section is None or not section.allocated or section.name in seen:
                continue
            seen.add(section.name)
            reason = f"slash run of {end - start} at byte {start} in {section.name}: part of a hidden prefix"
            self._edits.bound.append(Bound(self._path, reason))


def _block_occurrences(block: blocks.Block, value: bytes, where: str) -> Iterator[Occurrence]:
    starts = [found.start() for found in re.finditer(re.escape(PLACEHOLDER), value)]
    rest = len(value) - PADDED_LENGTH * len(starts)
    longest = (block.capacity - rest) // len(starts)
    for start in starts:
        yield Occurrence(
            Kind.BLOCK, block.start + start, longest, anchor=(blocks.WORD + start, block.room), where=where
        )


def _placed(value: bytes, hits: list[Hit], base: int) -> bytes:
    """Replace the hits in ``value``, which begins at ``base`` of the file, by the placeholder."""
    parts, done = [], 0
    for hit in hits:
        parts += [value[done : hit.offset - base], PLACEHOLDER]
        done = hit.end - base
    return b"".join([*parts, value[done:]])
