"""Bytecode programs: a launcher, sections, a table of the sections' lengths, a magic number.

The launcher is a ``#!`` line, a small shell script, or (linked with ``-custom``) an ELF or Mach-O file,
which is another module's business and keeps its length. All sections may change theirs:

* ``RNTM``: path of the run-time system. ``DLPT``, ``DLLS``, ``PRIM``: names, each ended by NUL.
* ``DATA``: one marshalled value, the constants. ``SYMB``, ``CRCS``: marshalled values as well.
* ``DBUG``: BE32 count; for each unit BE32 offset, events, directories. Informational.
* ``CODE``: instructions; a prefix in it or in an unknown section binds the program.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from opambin.errors import BadDataError
from opambin.frozen import dataclass
from opambin.model import PLACEHOLDER, Bound, Kind, Occurrence
from opambin.relocate import elf, machomagic, marshal, marshalwrite
from opambin.relocate.located import Located
from opambin.relocate.pieces import (
    Change,
    Pieces,
    apply,
    of_kind,
    refuse_others,
    text_changes,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opambin.relocate.spelling import Spelling

MAGIC = b"Caml1999X"
_MAGIC_LENGTH = 12  # bytes: MAGIC, three digits
_TRAILER = 16  # bytes: number of sections, magic number
_ENTRY = 8  # bytes: name, length
_MAX_SECTIONS = 64  # OCaml writes at most ten
_LISTS = (b"RNTM", b"DLPT", b"DLLS", b"PRIM")
_VALUES = (b"DATA", b"SYMB", b"CRCS")
_DEBUG = b"DBUG"
_SHEBANG_MAX = 127  # bytes with "#!"; Linux before 5.1, and what OCaml itself goes by
_SCRIPT = b'#!/bin/sh\nexec \'%s\' "$0" "$@"\n'
_QUOTE = rb"'\''"  # a quote inside of quotes


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a bytecode program.

    Attributes:
        name: Four bytes.
        start: Offset of its first byte.
        end: Offset after its last byte.
    """

    name: bytes
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class SectionTable:
    """Where the parts of a bytecode program stand.

    Attributes:
        sections: In their order, without gaps; the launcher ends where the first of them begins.
        start: Offset of the first section.
        end: Offset after the last one, where the table begins.
    """

    sections: tuple[Section, ...]
    start: int
    end: int


def sections(data: bytes) -> SectionTable | None:
    """Read the table of sections, or return None when ``data`` is no bytecode program."""
    magic = data[-_MAGIC_LENGTH:]
    if len(data) < _TRAILER or not magic.startswith(MAGIC) or not magic[len(MAGIC) :].isdigit():
        return None
    count = int.from_bytes(data[-_TRAILER:-_MAGIC_LENGTH])
    end = len(data) - _TRAILER - _ENTRY * count
    if not 0 < count <= _MAX_SECTIONS or end < 0:
        return None
    entries = list(struct.iter_unpack(">4sI", data[end : len(data) - _TRAILER]))
    start = at = end - sum(length for _, length in entries)
    if start < 0:
        return None
    found = []
    for name, length in entries:
        found.append(Section(name, at, at + length))
        at += length
    return SectionTable(tuple(found), start, end)


def recognises(data: bytes) -> bool:
    """Tell whether a file is a bytecode program, alone or behind an ELF file."""
    return sections(data) is not None


def locate(data: bytes, spelling: Spelling, path: str) -> Located:
    """Bring a bytecode program into placeholder form; an ELF file at its beginning stays as it is.

    Raises:
        BadDataError: It is none, or damaged.
    """
    table = sections(data)
    if table is None:
        raise BadDataError(path, "not a bytecode program")
    pieces = Pieces()
    launcher = data[: table.start]
    if _is_native(launcher):
        pieces.raw(launcher)
    else:
        pieces.part(_locate_text(launcher, spelling, "launcher"))
    lengths = []
    try:
        for section in table.sections:
            before = pieces.length
            pieces.part(_locate_section(data, section, spelling, path))
            lengths.append(pieces.length - before)
    except BadDataError as error:
        raise BadDataError(path, str(error)) from error
    pieces.raw(_table(table, lengths))
    pieces.raw(data[-_TRAILER:])
    return pieces.located()


def _is_native(launcher: bytes) -> bool:
    return launcher.startswith(elf.MAGIC) or machomagic.recognises(launcher)


def _table(table: SectionTable, lengths: Sequence[int]) -> bytes:
    try:
        return b"".join(
            struct.pack(">4sI", section.name, length)
            for section, length in zip(table.sections, lengths, strict=True)
        )
    except struct.error as error:
        raise BadDataError("bytecode program", "a section of 4 GB or more") from error


def _locate_section(data: bytes, section: Section, spelling: Spelling, path: str) -> Located:
    where = section.name.decode("latin-1")
    content = data[section.start : section.end]
    if section.name in _LISTS:
        return _locate_text(content, spelling, where)
    if section.name == _DEBUG:
        return _locate_debug(content, spelling)
    if section.name in _VALUES and marshal.begins_value(content, 0):
        value, end = marshal.locate_value(content, 0, spelling, path, where)
        pieces = Pieces()
        pieces.part(value)
        pieces.raw(content[end:])
        return pieces.located()
    found = spelling.needed_anywhere(content) or marshal.compressed_hits(content, spelling)
    reason = f"the prefix stands in section {where}, whose form is unknown"
    return Located(content, bound=(Bound(path, reason),) if found else ())


def _locate_text(text: bytes, spelling: Spelling, where: str) -> Located:
    pieces, done = Pieces(), 0
    for hit in spelling.hits(text):
        if not hit.build:
            pieces.raw(text[done : hit.offset])
            pieces.part(Located(PLACEHOLDER, (Occurrence(Kind.TEXT, 0, where=where),)))
            done = hit.end
    pieces.raw(text[done:])
    return pieces.located()


def _locate_debug(content: bytes, spelling: Spelling) -> Located:
    """Go through the values of the section; the numbers between them have four bytes."""
    pieces, at = Pieces(), 0
    while at < len(content):
        if marshal.begins_value(content, at):
            located, at = marshal.locate_informational(content, at, spelling, _DEBUG.decode())
            pieces.part(located)
        else:
            pieces.raw(content[at : at + 4])
            at += 4
    return pieces.located()


def render(content: bytes, occurrences: Sequence[Occurrence], target: bytes) -> bytes:
    """Return a bytecode program for the prefix ``target``; see :func:`changes`."""
    return apply(content, changes(content, occurrences, target))


def changes(content: bytes, occurrences: Sequence[Occurrence], target: bytes) -> list[Change]:
    """Return what to change for the prefix ``target``; an ELF file at the beginning stays as it is.

    Raises:
        BadDataError: The occurrences do not fit the content.
        CannotRelocateError: The prefix does not fit a dune-site field.
    """
    refuse_others(occurrences, Kind.TEXT, *marshalwrite.KINDS)
    table = sections(content)
    if table is None:
        raise BadDataError("bytecode program", "no table of sections")
    quoted = target.replace(b"'", _QUOTE) if content.startswith(_SCRIPT.partition(b"%s")[0]) else target
    text = of_kind(occurrences, Kind.TEXT)
    others = [occurrence for occurrence in occurrences if occurrence.kind is not Kind.TEXT]
    heads = [occurrence for occurrence in text if occurrence.offset < table.start]
    found = [
        *text_changes(content, heads, quoted),
        *text_changes(content, text[len(heads) :], target),
        *marshalwrite.changes(content, others, target),
    ]
    launcher = [change for change in found if change.end <= table.start]
    inside = [change for change in found if change.end > table.start]
    if launcher and _is_native(content):
        raise BadDataError("bytecode program", "an occurrence in its launcher was to be rewritten here")
    lengths = [section.end - section.start + _growth(section, inside) for section in table.sections]
    entries = Change(table.end, len(content) - _TRAILER, _table(table, lengths))
    if launcher:
        head = _launcher(apply(content[: table.start], launcher))
        return [Change(0, table.start, head), *inside, entries]
    return [*inside, entries]


def _growth(section: Section, changes: Sequence[Change]) -> int:
    inside = [change for change in changes if change.start < section.end and section.start < change.end]
    if any(change.start < section.start or section.end < change.end for change in inside):
        raise BadDataError(f"section {section.name!r}", "an occurrence reaches over its end")
    return sum(len(change.new) - (change.end - change.start) for change in inside)


def _launcher(head: bytes) -> bytes:
    """Turn a ``#!`` line that the kernel may not read into a script, as OCaml does."""
    line, newline, rest = head.partition(b"\n")
    command = line[2:]
    if not line.startswith(b"#!") or not newline or rest:
        return head
    if len(line) <= _SHEBANG_MAX and not set(command) & set(b" \t"):
        return head
    return _SCRIPT % command.replace(b"'", _QUOTE)
