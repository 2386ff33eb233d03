"""What two equal builds have in common: a digest of a file without what differs between them.

Left out are debug sections, build-ids and local symbols of ELF files; dates, owners and indexes of
archives; debug data of bytecode and the offsets that follow from its length; typed trees. All the rest
counts, so files that behave differently have different identities.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING

from opambin.errors import BadDataError
from opambin.relocate import arfile, bytecode, camlobj, elf
from opambin.relocate.marshalstream import MAGIC as VALUE_MAGIC
from opambin.relocate.marshalstream import decompress, read_header, string_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

    Part = bytes | memoryview

_TYPED_TREE = camlobj.MAGIC + b"T"
_BUILD_ID = ".note.gnu.build-id"
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
        file = elf.parse(data)
        return [b"elf", *_elf_parts(data, file), memoryview(data)[file.end :]]
    if data.startswith(arfile.MAGIC):
        return [b"ar", *_archive_parts(data)]
    if data.startswith((camlobj.MAGIC + b"O", camlobj.MAGIC + b"A")):
        return [b"caml", *_linked_parts(data)]
    if data.startswith(camlobj.MAGIC) and (tree := data.find(_TYPED_TREE)) >= 0:
        return [b"tree", memoryview(data)[:tree]]
    return None


def _elf_parts(data: bytes, file: elf.Elf) -> Iterator[Part]:
    view = memoryview(data)
    counted = [section for section in file.sections if not section.debug and section.name != _BUILD_ID]
    yield struct.pack("<HHQ", file.type, file.machine, file.entry)
    yield repr([(*section[:4], section.size) for section in counted]).encode()
    for section in counted:
        if section.type != elf.SHT_NOBITS:
            yield view[section.offset : section.offset + section.size]
    if file.type == elf.ET_REL:
        yield from _symbol_parts(data, file)


def _symbol_parts(data: bytes, file: elf.Elf) -> Iterator[Part]:
    """Yield what other files see of an object file; section numbers change with the debug sections."""
    names = [section.name.encode() for section in file.sections]
    for symbol in file.global_symbols(data):
        where = names[symbol.section] if symbol.section < len(names) else b"%d" % symbol.section
        yield b"%s\0%s\0%d %d %d" % (symbol.name, where, symbol.info, symbol.value, symbol.size)


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
    for token in string_tokens(tokens, 0, len(tokens)):
        yield tokens[token.text : token.end]


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
