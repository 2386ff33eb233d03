"""Reading 64-bit little-endian ELF files: sections and symbols, no more than relocation needs."""

from __future__ import annotations

import struct
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from opambin.errors import BadDataError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = b"\x7fELF"
ET_REL = 1
SHT_SYMTAB = 2
SHT_STRTAB = 3
SHT_NOBITS = 8
SHF_ALLOC = 2
SHN_XINDEX = 0xFFFF
SHN_LORESERVE = 0xFF00

_HEADER_SIZE = 64
_SECTION_SIZE = 64
_SYMBOL_SIZE = 24
_WHAT = "ELF file"
_DEBUG_PREFIXES = (".debug", ".zdebug", ".gnu_debug", ".gnu.debug", ".stab", ".rela.debug", ".rel.debug")
_DEBUG_NAMES = frozenset({".comment", ".symtab", ".strtab", ".shstrtab"})


class Section(NamedTuple):
    """One section header, with its name looked up; a tuple, because libraries have 100,000 of them.

    Attributes:
        name: Of the section; bytes that are no ASCII are escaped.
        type: ``SHT_…``.
        flags: ``SHF_…``.
        address: In memory, of a linked file.
        offset: In the file, in bytes.
        size: In bytes; in memory only when ``type`` is ``SHT_NOBITS``.
        link: Index of the section that this one refers to.
        info: More about it; of a symbol table, how many local symbols come first.
        entry_size: Of a table, in bytes.
    """

    name: str
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    entry_size: int

    @property
    def end(self) -> int:
        """Offset of the first byte of the file after the section."""
        return self.offset + (0 if self.type == SHT_NOBITS else self.size)

    @property
    def allocated(self) -> bool:
        """Whether it is there when the program runs."""
        return bool(self.flags & SHF_ALLOC)

    @property
    def debug(self) -> bool:
        """Whether it is there for people and debuggers alone."""
        named = self.name in _DEBUG_NAMES or self.name.startswith(_DEBUG_PREFIXES)
        return named and not self.allocated


class Symbol(NamedTuple):
    """One entry of the symbol table."""

    name: bytes
    info: int
    section: int
    value: int
    size: int


@dataclass(frozen=True, slots=True)
class Elf:
    """An ELF file.

    Attributes:
        type: ``ET_…``.
        machine: ``EM_…``.
        entry: Address where a program begins.
        sections: In the order of the file's table.
        end: Offset of the first byte that belongs to no part of it (a bytecode program may follow).
    """

    type: int
    machine: int
    entry: int
    sections: tuple[Section, ...]
    end: int

    def index(self) -> SectionIndex:
        """Return a quick way from an offset to its section."""
        return SectionIndex(self)

    def has_symbol(self, data: bytes, section: Section, offset: int) -> bool:
        """Tell whether a symbol stands for the byte at ``offset`` of the file, inside ``section``."""
        number = self.sections.index(section)  # tables of symbols say the number, not the name
        value = offset - section.offset + (0 if self.type == ET_REL else section.address)
        needle = struct.pack("<Q", value)
        for table in self.sections:
            if table.type == SHT_SYMTAB and _table_has(data, table, needle, number):
                return True
        return False

    def global_symbols(self, data: bytes) -> Iterator[Symbol]:
        """Yield the symbols that other files can refer to.

        Raises:
            BadDataError: A name lies outside its string table.
        """
        for table in self.sections:
            if table.type != SHT_SYMTAB:
                continue
            if table.link >= len(self.sections):
                raise BadDataError(_WHAT, "the symbol table has no string table")
            held = self.sections[table.link]
            strings = data[held.offset : held.end]
            first = table.offset + table.info * _SYMBOL_SIZE
            whole = data[first : max(first, table.end)]
            whole = whole[: len(whole) // _SYMBOL_SIZE * _SYMBOL_SIZE]
            for name, info, _, section, value, size in struct.iter_unpack("<IBBHQQ", whole):
                yield Symbol(_string_at(strings, name), info, section, value, size)


class SectionIndex:
    """Finds the section that holds an offset of the file."""

    def __init__(self, elf: Elf) -> None:
        """Sort the sections that hold bytes."""
        self._held = sorted(
            (section for section in elf.sections if section.end > section.offset),
            key=lambda section: section.offset,
        )
        self._starts = [section.offset for section in self._held]

    def at(self, offset: int) -> Section | None:
        """Return the section that holds the byte at ``offset``."""
        number = bisect_right(self._starts, offset) - 1
        if number < 0 or offset >= self._held[number].end:
            return None
        return self._held[number]


def parse(data: bytes) -> Elf:
    """Read the headers of an ELF file.

    Raises:
        BadDataError: It is no ELF file, is one for 32 bits or big-endian, has no sections, or
            contradicts itself.
    """
    if len(data) < _HEADER_SIZE or not data.startswith(MAGIC):
        raise BadDataError(_WHAT, "no ELF header")
    if data[4] != 2 or data[5] != 1:
        raise BadDataError(_WHAT, "not 64-bit little-endian")
    kind, machine = struct.unpack_from("<HH", data, 16)
    entry, _, table = struct.unpack_from("<QQQ", data, 24)
    entry_size, count, names = struct.unpack_from("<HHH", data, 58)
    if table == 0 or entry_size != _SECTION_SIZE:
        raise BadDataError(_WHAT, "no section table")
    first = _raw_sections(data, table, 1)[0]
    count = count or first[5]
    names = first[6] if names == SHN_XINDEX else names
    raw = _raw_sections(data, table, count)
    if names >= len(raw):
        raise BadDataError(_WHAT, "no section names")
    sections = _sections(data, raw, names)
    end = max(table + count * _SECTION_SIZE, *(section.end for section in sections))
    if end > len(data):
        raise BadDataError(_WHAT, "a section goes beyond the end")
    return Elf(kind, machine, entry, sections, end)


def _raw_sections(data: bytes, table: int, count: int) -> list[tuple[int, ...]]:
    if count < 1 or table + count * _SECTION_SIZE > len(data):
        raise BadDataError(_WHAT, "the section table goes beyond the end")
    return list(struct.iter_unpack("<IIQQQQIIQQ", data[table : table + count * _SECTION_SIZE]))


def _sections(data: bytes, raw: list[tuple[int, ...]], names: int) -> tuple[Section, ...]:
    start, size = raw[names][4:6]
    strings = data[start : start + size]
    sections = []
    for name, kind, flags, address, offset, length, link, info, _, entry_size in raw:
        text = _string_at(strings, name).decode("ascii", "backslashreplace")
        sections.append(Section(text, kind, flags, address, offset, length, link, info, entry_size))
    return tuple(sections)


def _string_at(strings: bytes, start: int) -> bytes:
    end = strings.find(b"\0", start)
    if end < 0:
        raise BadDataError(_WHAT, "a name lies outside its string table")
    return strings[start:end]


def _table_has(data: bytes, table: Section, value: bytes, section: int) -> bool:
    at = data.find(value, table.offset, table.end)
    while at >= 0:
        entry, field = divmod(at - table.offset, _SYMBOL_SIZE)
        if field == 8:
            (index,) = struct.unpack_from("<H", data, table.offset + entry * _SYMBOL_SIZE + 6)
            if index in {section, SHN_XINDEX}:
                return True
        at = data.find(value, at + 1, table.end)
    return False
