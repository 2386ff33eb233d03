"""Which versions of symbols an ELF file wants of shared libraries, and which ones a library has; pure.

Source of the constants: the Linux Standard Base, "Symbol Versioning".
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from opambin.errors import BadDataError
from opambin.relocate import elf

if TYPE_CHECKING:
    from collections.abc import Iterator

SHT_GNU_VERDEF = 0x6FFFFFFD
SHT_GNU_VERNEED = 0x6FFFFFFE
VER_FLG_BASE = 1  # the entry is the library's own name
_VERNEED = struct.Struct("<HHIII")  # version, count, file, first, next
_VERNAUX = struct.Struct("<IHHII")  # hash, flags, other, name, next
_VERDEF = struct.Struct("<HHHHIII")  # version, flags, index, count, hash, first, next
_VERDAUX = struct.Struct("<II")  # name, next


def wanted(data: bytes) -> dict[str, frozenset[str]]:
    """Return the versions that a file wants, by library.

    Raises:
        BadDataError: A table lies outside of the file.
    """
    found: dict[str, frozenset[str]] = {}
    for table, strings in _tables(data, SHT_GNU_VERNEED):
        for at, (_, _, file, first, _) in _chain(table, 0, _VERNEED):
            names = {_string(strings, entry[3]) for _, entry in _chain(table, at + first, _VERNAUX)}
            library = _string(strings, file)
            found[library] = found.get(library, frozenset()) | names
    return found


def offered(data: bytes) -> frozenset[str]:
    """Return the versions that a library has.

    Raises:
        BadDataError: A table lies outside of the file.
    """
    found: set[str] = set()
    for table, strings in _tables(data, SHT_GNU_VERDEF):
        for at, (_, flags, _, _, _, first, _) in _chain(table, 0, _VERDEF):
            if not flags & VER_FLG_BASE:
                found.add(_string(strings, _entry(table, at + first, _VERDAUX)[0]))
    return frozenset(found)


def highest(versions: frozenset[str]) -> tuple[str, ...]:
    """Return the highest version of each family: who has ``GLIBC_2.34`` has ``GLIBC_2.17``, too."""
    best: dict[str, tuple[tuple[int, ...], str]] = {}
    for version in versions:
        family, _, number = version.rpartition("_")
        parts = number.split(".")
        numeric = bool(family) and all(part.isdecimal() for part in parts)
        key = family if numeric else version
        rank = (tuple(map(int, parts)) if numeric else (), version)
        best[key] = max(best.get(key, rank), rank)
    return tuple(sorted(version for _, version in best.values()))


def _tables(data: bytes, kind: int) -> Iterator[tuple[bytes, bytes]]:
    """Return the tables of a kind, each with its strings; nothing for what is no ELF file of 64 bits."""
    if not data.startswith(elf.MAGIC):
        return
    try:
        sections = elf.parse(data).sections
    except BadDataError:
        return  # 32 bits, or damaged: the analysis of the file says so
    for section in sections:
        if section.type == kind and section.link < len(sections):
            strings = sections[section.link]
            yield data[section.offset : section.end], data[strings.offset : strings.end]


def _chain(table: bytes, at: int, form: struct.Struct) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Follow entries whose last number is the distance of the next one; 0 ends them."""
    if not table:
        return
    while True:
        entry = _entry(table, at, form)
        yield at, entry
        if not entry[-1]:
            return
        at += entry[-1]


def _entry(table: bytes, at: int, form: struct.Struct) -> tuple[int, ...]:
    try:
        return form.unpack_from(table, at)
    except struct.error as error:
        raise BadDataError(
            "ELF file", f"an entry of a table of versions is outside of it: {error}"
        ) from error


def _string(strings: bytes, at: int) -> str:
    end = strings.find(b"\0", at)
    if end < 0:
        raise BadDataError("ELF file", "the name of a version is outside its table")
    return strings[at:end].decode("utf-8", "replace")
