"""Mach-O files (macOS), 64-bit and little-endian, and universal files that hold several.

Nothing here changes a length: install names, run paths and C strings are padded with slashes, OCaml string
blocks are rewritten as in ELF files, by the same code and under the same strict test. The file is read here,
not by lief, because in-place edits need offsets alone, hooks can't wait for its import, and what it writes it
lays out anew; the tests compare with it. What is not understood is left, and binds the file.

Ad-hoc signatures are made again by :func:`finish`, once the prefix has been written. A file that is signed
with a certificate, or that its signature does not fit, is bound.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from opambin.errors import BadDataError
from opambin.model import Bound
from opambin.relocate import elfdata, machosign
from opambin.relocate.located import Located
from opambin.relocate.machomagic import MAGIC, MAX_SLICES, UNIVERSAL, UNIVERSAL64
from opambin.relocate.native import RegionIndex
from opambin.relocate.pieces import Pieces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opambin.relocate.spelling import Spelling

_WHAT = "Mach-O file"
_HEADER_SIZE = 32  # bytes
_MAX_COMMANDS = 10_000
_SEGMENT, _SYMTAB, _UUID, _SIGNATURE = 0x19, 0x2, 0x1B, 0x1D
_NAMES = {
    0xC: "LC_LOAD_DYLIB", 0xD: "LC_ID_DYLIB", 0x18: "LC_LOAD_WEAK_DYLIB", 0x1C: "LC_RPATH",
    0x1F: "LC_REEXPORT_DYLIB", 0x20: "LC_LAZY_LOAD_DYLIB", 0x23: "LC_LOAD_UPWARD_DYLIB",
}  # fmt: skip
"""Commands that hold a path, without the bit that says that the loader must know them."""
_REQUIRED_BIT = 0x80000000
_SECTION_SIZE, _SYMBOL_SIZE = 80, 16  # bytes
_ZEROFILL = frozenset({0x1, 0xC, 0x12})  # types of sections without bytes in the file
_DEBUG_FLAG = 0x02000000
_STAB, _TYPE, _IN_SECTION = 0xE0, 0x0E, 0x0E  # of the type of a symbol


class Part(NamedTuple):
    """A section, the path in a load command, the names of symbols, or a table.

    Attributes:
        name: Segment and section, or what it is.
        offset: Of its first byte.
        size: In bytes.
        allocated: Whether it is there when the program runs.
        debug: Whether it is there for people and debuggers alone.
        address: In memory, of a section.
    """

    name: str
    offset: int
    size: int
    allocated: bool = True
    debug: bool = False
    address: int = 0

    @property
    def end(self) -> int:
        """Offset of the first byte after it."""
        return self.offset + self.size


@dataclass(frozen=True, slots=True)
class MachO:
    """A Mach-O file for one machine.

    Attributes:
        sections: In the order of the load commands, which numbers them from 1.
        parts: Other parts that are known.
        symbols: Offset and number of the symbols.
        signature: Offset and size of the code signature; None when there is none.
        uuid: Offset of the build's identifier; None when there is none.
        end: Offset of the first byte that belongs to no part of it.
    """

    sections: tuple[Part, ...]
    parts: tuple[Part, ...]
    symbols: tuple[int, int]
    signature: tuple[int, int] | None
    uuid: int | None
    end: int

    def index(self) -> RegionIndex:
        """Return a quick way from an offset to its part."""
        return RegionIndex((*self.sections, *self.parts))

    def has_symbol(self, data: bytes, offset: int) -> bool:
        """Tell whether a symbol stands for the byte at ``offset`` of the file."""
        for number, section in enumerate(self.sections, 1):
            if section.offset <= offset < section.end:
                value = struct.pack("<Q", section.address + offset - section.offset)
                return self._has_value(data, number, value)
        return False

    def _has_value(self, data: bytes, section: int, value: bytes) -> bool:
        start, count = self.symbols
        end = start + count * _SYMBOL_SIZE
        at = data.find(value, start, end)
        while at >= 0:
            entry, field = divmod(at - start, _SYMBOL_SIZE)
            kind, number = data[start + entry * _SYMBOL_SIZE + 4 : start + entry * _SYMBOL_SIZE + 6]
            if field == 8 and number == section and not kind & _STAB and kind & _TYPE == _IN_SECTION:
                return True
            at = data.find(value, at + 1, end)
        return False


def locate(data: bytes, spelling: Spelling, path: str, *, keep_length: bool = False) -> Located:
    """Bring a Mach-O file into placeholder form.

    Raises:
        BadDataError: It is none that can be read.
    """
    pieces, done = Pieces(), 0
    for start, end in _slices(data):
        pieces.part(_unknown(data[done:start], spelling, path))
        pieces.part(_locate_slice(data[start:end], spelling, path, keep_length=keep_length))
        done = end
    pieces.part(_unknown(data[done:], spelling, path))
    return pieces.located()


def finish(data: bytes) -> bytes:
    """Make the ad-hoc signatures of a file fit its content again; other files are returned as they are.

    Raises:
        BadDataError: It is no Mach-O file that can be read, or one that can't be signed here.
    """
    pieces, done = [], 0
    for start, end in _slices(data):
        part = data[start:end]
        signature = _signature(part, parse(part)) if part.startswith(MAGIC) else None
        if signature is not None:
            if not signature.renewable:
                raise BadDataError(_WHAT, "its signature can't be made again")
            part = machosign.renewed(part, signature)
        pieces += [data[done:start], part]
        done = end
    return b"".join([*pieces, data[done:]])


def identical_part(data: bytes) -> bytes:
    """Return a file without what differs between equal builds: build identifiers and signatures.

    Raises:
        BadDataError: It is none that can be read.
    """
    result = bytearray(data)
    for start, end in _slices(data):
        if data.startswith(MAGIC, start):
            file = parse(data[start:end])
            for at, size in ((file.uuid, 16), file.signature or (None, 0)):
                if at is not None:
                    result[start + at : start + at + size] = b"\0" * size
    return bytes(result)


def _slices(data: bytes) -> list[tuple[int, int]]:
    """Return bounds of the files for one machine in a file, by rising offset."""
    if not data.startswith((UNIVERSAL, UNIVERSAL64)):
        return [(0, len(data))]
    count = int.from_bytes(data[4:8])
    layout = ">8xII4x" if data.startswith(UNIVERSAL) else ">8xQQ8x"
    table = data[8 : 8 + count * struct.calcsize(layout)]
    if count > MAX_SLICES or len(table) < count * struct.calcsize(layout):
        raise BadDataError(_WHAT, "the table of machines is cut off")
    found = sorted((start, start + size) for start, size in struct.iter_unpack(layout, table))
    bounds = [(0, 8 + len(table)), *found, (len(data), len(data))]
    if any(low[1] > high[0] for low, high in pairwise(bounds)):
        raise BadDataError(_WHAT, "the parts for two machines overlap")
    return found


def _locate_slice(data: bytes, spelling: Spelling, path: str, *, keep_length: bool) -> Located:
    if not data.startswith(MAGIC):
        return _unknown(data, spelling, path)
    file = parse(data)
    found = elfdata.locate_in(file, data, spelling, path, keep_length=keep_length)
    behind = _unknown(data[file.end :], spelling, path)
    found = replace(found, bound=found.bound + behind.bound)
    if found.content == data:
        return found
    problem = _refusal(data, file)
    if not problem:
        return replace(found, content=finish(found.content))
    needed = any(item.functional for item in found.occurrences)
    bound = (Bound(path, problem),) if needed else ()
    return Located(data, (), found.bound + bound, found.leaks + len(found.occurrences))


def _refusal(data: bytes, file: MachO) -> str:
    """Return why a file may not be changed; empty when it may."""
    signature = _signature(data, file)
    if signature is None:
        return ""
    if not signature.renewable:
        return "a Mach-O file that is signed with a certificate"
    return "" if machosign.fits(data, signature) else "a Mach-O file that its signature does not fit"


def _signature(data: bytes, file: MachO) -> machosign.Signature | None:
    return machosign.read(data, *file.signature) if file.signature is not None else None


def _unknown(data: bytes, spelling: Spelling, path: str) -> Located:
    needed = spelling.needed_anywhere(data)
    reason = "the prefix stands in a part of a Mach-O file whose form is unknown"
    return Located(data, bound=(Bound(path, reason),) if needed else ())


def parse(data: bytes) -> MachO:
    """Read the load commands of a Mach-O file for one machine.

    Raises:
        BadDataError: It is none, is one for 32 bits or big-endian, or contradicts itself.
    """
    if not data.startswith(MAGIC) or len(data) < _HEADER_SIZE:
        raise BadDataError(_WHAT, "not 64-bit little-endian")
    reading = _Reading(data)
    for kind, start, end in _commands(data):
        reading.command(kind, start, end)
    return reading.file()


def _commands(data: bytes) -> Iterator[tuple[int, int, int]]:
    count, size = struct.unpack_from("<II", data, 16)
    at, end = _HEADER_SIZE, _HEADER_SIZE + size
    if end > len(data) or count > _MAX_COMMANDS:
        raise BadDataError(_WHAT, "the load commands go beyond the end")
    for _ in range(count):
        kind, length = struct.unpack_from("<II", data, at) if at + 8 <= end else (0, 0)
        if length < 8 or at + length > end:
            raise BadDataError(_WHAT, f"no load command at byte {at}")
        yield kind, at, at + length
        at += length


class _Reading:
    """What the load commands say, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._sections: list[Part] = []
        self._parts: list[Part] = []
        self._symbols = (0, 0)
        self._signature: tuple[int, int] | None = None
        self._uuid: int | None = None
        self._end = _HEADER_SIZE + int.from_bytes(data[20:24], "little")

    def command(self, kind: int, start: int, end: int) -> None:
        """Take in one load command."""
        name = _NAMES.get(kind & ~_REQUIRED_BIT)
        if name is not None:
            (offset,) = self._unpack("<8xI", start, end)
            if not 12 <= offset <= end - start:
                raise BadDataError(_WHAT, f"the path of an {name} lies outside of it")
            self._parts.append(Part(name, start + offset, end - start - offset))
        elif kind == _SEGMENT:
            self._segment(start, end)
        elif kind == _SYMTAB:
            at, count, names, size = self._unpack("<8x4I", start, end)
            self._symbols = at, count
            self._parts.append(Part("symbols", at, count * _SYMBOL_SIZE, allocated=False))
            self._parts.append(Part("names of symbols", names, size, allocated=False, debug=True))
        elif kind == _SIGNATURE:
            at, size = self._unpack("<8x2I", start, end)
            self._signature = at, size
            self._parts.append(Part("code signature", at, size, allocated=False))
        elif kind == _UUID:
            self._unpack("<8x16x", start, end)
            self._uuid = start + 8

    def _unpack(self, layout: str, start: int, end: int) -> tuple[int, ...]:
        if start + struct.calcsize(layout) > end:
            raise BadDataError(_WHAT, f"the load command at byte {start} is cut off")
        return struct.unpack_from(layout, self._data, start)

    def _segment(self, start: int, end: int) -> None:
        offset, size, count, _ = self._unpack("<40xQQ8xII", start, end)
        self._end = max(self._end, offset + size)
        for number in range(count):
            at = start + 72 + number * _SECTION_SIZE
            self._unpack(f"<{72 + (number + 1) * _SECTION_SIZE}x", start, end)
            names = struct.unpack_from("<16s16s", self._data, at)
            address, length, place, flags = struct.unpack_from("<QQI12xI", self._data, at + 32)
            section, segment = (name.rstrip(b"\0").decode("ascii", "backslashreplace") for name in names)
            stored = 0 if flags & 0xFF in _ZEROFILL else length
            debug = bool(flags & _DEBUG_FLAG) or segment == "__DWARF"
            self._sections.append(
                Part(f"{segment},{section}", place if stored else 0, stored, not debug, debug, address)
            )

    def file(self) -> MachO:
        """Return the whole, when its parts are apart from each other."""
        every = sorted((*self._sections, *self._parts), key=lambda part: part.offset)
        held = [part for part in every if part.size]
        end = max([self._end, *(part.end for part in held)])
        if end > len(self._data):
            raise BadDataError(_WHAT, "a part goes beyond the end")
        if any(low.end > high.offset for low, high in pairwise(held)):
            raise BadDataError(_WHAT, "two parts overlap")
        return MachO(
            tuple(self._sections), tuple(self._parts), self._symbols, self._signature, self._uuid, end
        )
