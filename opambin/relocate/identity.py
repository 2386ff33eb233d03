"""What two equal builds have in common: a digest of a file without what differs between them.

Left out are debug sections, build-ids and local symbols of ELF files; build identifiers and signatures of
Mach-O files; dates, owners and indexes of archives; debug data of bytecode and the offsets that follow from
its length; typed trees. All the rest counts, so files that behave differently have different identities.
"""

from __future__ import annotations

import hashlib
import struct
from itertools import chain, count
from operator import itemgetter
from typing import TYPE_CHECKING

from opambin.errors import BadDataError
from opambin.relocate import arfile, bytecode, camlobj, elf, machomagic
from opambin.relocate.marshalheader import MAGIC as VALUE_MAGIC
from opambin.relocate.marshalheader import decompress, read_header
from opambin.relocate.marshalstream import all_strings

if TYPE_CHECKING:
    from collections.abc import Iterator

    Part = bytes | memoryview

_TYPED_TREE = camlobj.MAGIC + b"T"
_BUILD_ID = b".note.gnu.build-id\0"
_WHAT_COUNTS = itemgetter(1, 2, 3, 5)  # of a section header: type, flags, address, size
_DEBUG_DATA = b"DBUG"
_SMALL = 65536  # bytes; below, copying costs less than a call
_CODE_START = 16  # bytes of a .cmo or .cma before the code: magic number, offset of the descriptor


def identity(data: bytes) -> str:
    """Return 64 hexadecimal digits that equal builds share.

    A file of a known format that cannot be read is taken as bytes without a format.
    """
    try:
        parts = _parts(data)
    except BadDataError:
        parts = None
    if parts is None:
        return hashlib.sha256(data).hexdigest()
    digest = hashlib.sha256(b",".join(b"%d" % len(part) for part in parts))
    for batch in _batches(parts):
        digest.update(batch)
    return digest.hexdigest()


def _batches(parts: list[Part]) -> Iterator[Part]:
    """Join small parts: an object file has thousands, and each call costs more than its bytes."""
    small: list[Part] = []
    for part in parts:
        if len(part) < _SMALL:
            small.append(part)
            continue
        yield b"".join(small)
        small = []
        yield part
    yield b"".join(small)


def _parts(data: bytes) -> list[Part] | None:
    """Return what counts of a file of a known format, None when all of it does."""
    table = bytecode.sections(data)
    if table is not None:
        return [b"bytecode", *_bytecode_parts(data, table)]
    if data.startswith(elf.MAGIC):
        return [b"elf", *_elf_parts(data)]
    if machomagic.recognises(data):
        from opambin.relocate import machofile

        return [b"mach-o", machofile.identical_part(data)]
    if data.startswith(arfile.MAGIC):
        return [b"ar", *_archive_parts(data)]
    if data.startswith((camlobj.MAGIC + b"O", camlobj.MAGIC + b"A")):
        return [b"caml", *_linked_parts(data)]
    if data.startswith(camlobj.MAGIC) and (tree := data.find(_TYPED_TREE)) >= 0:
        return [b"tree", memoryview(data)[:tree]]
    return None


def _elf_parts(data: bytes) -> Iterator[Part]:
    view = memoryview(data)
    file = elf.read(data)
    debug, build_id = file.debug(), file.names.find(_BUILD_ID)
    counted = [
        row for row in file.rows if (row[0] not in debug or row[2] & elf.SHF_ALLOC) and row[0] != build_id
    ]
    yield struct.pack("<HHQ", file.type, file.machine, file.entry)
    yield b"\0".join(file.named(counted))
    yield struct.pack(f"<{4 * len(counted)}Q", *chain.from_iterable(map(_WHAT_COUNTS, counted)))
    yield b"".join([view[start:end] for start, end in _runs(counted)])
    if file.type == elf.ET_REL:
        ranks = dict(zip(map(id, counted), count(), strict=False))
        yield from _symbol_parts(data, file, [ranks.get(id(row), -1) for row in file.rows])
    yield view[file.end :]


def _runs(rows: list[tuple[int, ...]]) -> list[tuple[int, int]]:
    """Return bounds of the bytes of sections, in their order; neighbours are taken together."""
    runs = []
    start = end = 0
    for row in rows:
        if row[1] == elf.SHT_NOBITS:
            continue
        offset = row[4]
        if offset != end:
            runs.append((start, end))
            start = offset
        end = offset + row[5]
    return [*runs, (start, end)]


def _symbol_parts(data: bytes, file: elf.Raw, ranks: list[int]) -> Iterator[Part]:
    """Yield what other files see of an object file; section numbers change with the debug sections."""
    for row in file.rows:
        if row[1] != elf.SHT_SYMTAB:
            continue
        symbols = elf.global_symbols(data, row)
        if row[6] >= len(file.rows):
            raise BadDataError("ELF file", "the symbol table has no string table")
        strings = elf.strings_of(data, file.rows[row[6]], max(symbols.names, default=0))
        find = strings.find
        yield b"\0".join([strings[name : find(b"\0", name)] for name in symbols.names])
        known = len(ranks)
        where = [ranks[number] if number < known else number for number in symbols.sections]
        yield struct.pack(f"<{len(where)}q", *where)
        yield symbols.rest


def _archive_parts(data: bytes) -> Iterator[Part]:
    for member in arfile.members(data):
        if member.name not in arfile.INDEX_NAMES and member.name != arfile.LONG_NAMES:
            yield member.name
            yield identity(data[member.offset : member.end]).encode()


def _bytecode_parts(data: bytes, table: bytecode.SectionTable) -> Iterator[Part]:
    """Yield the launcher, which may be an ELF file, and all sections but the debug data."""
    view = memoryview(data)
    yield identity(data[: table.start]).encode()
    for section in table.sections:
        if section.name != _DEBUG_DATA:
            yield section.name
            yield view[section.start : section.end]
    yield view[-camlobj.MAGIC_LENGTH :]


def _linked_parts(data: bytes) -> Iterator[Part]:
    """Yield magic number, code, and the strings of the descriptor of a ``.cmo`` or ``.cma``."""
    view = memoryview(data)
    yield view[: camlobj.MAGIC_LENGTH]
    descriptor = camlobj.descriptor_offset(data)
    at = _CODE_START
    for start, end in _values(data, at, descriptor):
        yield view[at:start]
        at = end
    yield view[at:descriptor]
    header = read_header(data, descriptor)
    tokens = decompress(data, header) if header.compressed else data[header.body : header.end]
    yield b"".join(all_strings(tokens))


def _values(data: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the bounds of the marshalled values among other bytes."""
    at = data.find(VALUE_MAGIC, start, end)
    while at >= 0:
        try:
            after = read_header(data, at, end).end
        except BadDataError:
            # Byte code that holds these bytes by chance: it counts like the bytes around it.
            after = at + 1
        else:
            yield at, after
        at = data.find(VALUE_MAGIC, after, end)
