"""Reading 64-bit little-endian ELF files: sections and symbols, no more than relocation needs."""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

from opambin.errors import BadDataError
from opambin.frozen import dataclass
from opambin.relocate.native import RegionIndex

MAGIC = b"\x7fELF"
ET_REL = 1
SHT_SYMTAB = 2
SHT_NOBITS = 8
SHF_ALLOC = 2
SHN_XINDEX = 0xFFFF

_HEADER_SIZE = 64
_SECTION_SIZE = 64
_SYMBOL_SIZE = 24
_WHAT = "ELF file"
_DEBUG = re.compile(
    rb"\.(?: z?debug | gnu_debug | stab | (?:rela?|gnu)(?=\.debug) | (?:comment|symtab|strtab|shstrtab)\0 )",
    re.VERBOSE,
)
"""Where the name of a section for people and debuggers begins; no match hides another one inside of it."""


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
        return not self.allocated and _DEBUG.match(self.name.encode() + b"\0") is not None


class Symbols(NamedTuple):
    """The symbols of a table that other files can refer to, one column each.

    Attributes:
        names: Offsets in the string table.
        sections: Numbers of sections, or ``SHN_…``.
        rest: Kinds, visibilities, values and sizes.
    """

    names: list[int]
    sections: list[int]
    rest: bytes


class Raw(NamedTuple):
    """The section table of an ELF file as numbers: what there is no time for is to name 100,000 sections.

    Attributes:
        type: ``ET_…``.
        machine: ``EM_…``.
        entry: Address where a program begins.
        rows: For each section: offset of its name, type, flags, address, offset, size, link, info, alignment,
            size of an entry.
        names: What the offsets of names refer to; ends with NUL, and all of them are inside.
        end: Offset of the first byte that belongs to no part of the file.
    """

    type: int
    machine: int
    entry: int
    rows: list[tuple[int, ...]]
    names: bytes
    end: int

    def name(self, row: tuple[int, ...]) -> bytes:
        """Return the name of a section."""
        return self.names[row[0] : self.names.find(b"\0", row[0])]

    def named(self, rows: list[tuple[int, ...]]) -> list[bytes]:
        """Return the names of sections."""
        names, find = self.names, self.names.find
        return [names[row[0] : find(b"\0", row[0])] for row in rows]

    def debug(self) -> set[int]:
        """Return where the names of debug sections begin, as far as these are not allocated."""
        return {match.start() for match in _DEBUG.finditer(self.names)}


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

    def index(self) -> RegionIndex:
        """Return a quick way from an offset to its section."""
        return RegionIndex(self.sections)

    def has_symbol(self, data: bytes, offset: int) -> bool:
        """Tell whether a symbol stands for the byte at ``offset`` of the file."""
        # Tables of symbols say the number of a section, not its name.
        number, section = next(
            (
                (number, section)
                for number, section in enumerate(self.sections)
                if section.offset <= offset < section.end
            ),
            (0, None),
        )
        if section is None:
            return False
        value = offset - section.offset + (0 if self.type == ET_REL else section.address)
        needle = struct.pack("<Q", value)
        for table in self.sections:
            if table.type == SHT_SYMTAB and _table_has(data, table, needle, number):
                return True
        return False


def parse(data: bytes) -> Elf:
    """Read the headers of an ELF file.

    Raises:
        BadDataError: It is no ELF file, is one for 32 bits or big-endian, has no sections, or
            contradicts itself.
    """
    raw = read(data)
    sections = []
    for row in raw.rows:
        _, kind, flags, address, offset, length, link, info, _, entry_size = row
        name = raw.name(row).decode("ascii", "backslashreplace")
        sections.append(Section(name, kind, flags, address, offset, length, link, info, entry_size))
    return Elf(raw.type, raw.machine, raw.entry, tuple(sections), raw.end)


def read(data: bytes) -> Raw:
    """Read the headers of an ELF file, without a name for each section.

    Raises:
        BadDataError: As :func:`parse`.
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
    rows = _raw_sections(data, table, count)
    if names >= len(rows):
        raise BadDataError(_WHAT, "no section names")
    end = max([row[4] if row[1] == SHT_NOBITS else row[4] + row[5] for row in rows])
    end = max(end, table + count * _SECTION_SIZE)
    if end > len(data):
        raise BadDataError(_WHAT, "a section goes beyond the end")
    strings = strings_of(data, rows[names], max([row[0] for row in rows]))
    return Raw(kind, machine, entry, rows, strings, end)


def global_symbols(data: bytes, row: tuple[int, ...]) -> Symbols:
    """Read the symbol table of a section that has one; columns are cut out without a step for each symbol."""
    first = row[4] + row[7] * _SYMBOL_SIZE
    count = max(0, (row[4] + row[5] - first) // _SYMBOL_SIZE)
    whole = memoryview(data)[first : first + count * _SYMBOL_SIZE]
    numbers = whole.cast("I")
    columns = (whole[4::24], whole[5::24], *(numbers[column::6] for column in range(2, 6)))
    rest = b"".join(column.tobytes() for column in columns)
    return Symbols(numbers[::6].tolist(), whole.cast("H")[3::12].tolist(), rest)


def strings_of(data: bytes, row: tuple[int, ...], last: int) -> bytes:
    """Return a string table in which the string at ``last``, and so all before it, have an end.

    Raises:
        BadDataError: They have not.
    """
    strings = data[row[4] : row[4] + row[5]]
    if strings.find(b"\0", last) < 0:
        raise BadDataError(_WHAT, "a name lies outside its string table")
    return strings


def _raw_sections(data: bytes, table: int, count: int) -> list[tuple[int, ...]]:
    if count < 1 or table + count * _SECTION_SIZE > len(data):
        raise BadDataError(_WHAT, "the section table goes beyond the end")
    return list(struct.iter_unpack("<IIQQQQIIQQ", data[table : table + count * _SECTION_SIZE]))


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
