"""Which shared libraries an ELF file asks the loader for; pure.

Source of the constants: ELF specification (gABI), "Dynamic Section".
"""

from __future__ import annotations

import struct

from opambin.errors import BadDataError
from opambin.relocate import elf

SHT_DYNAMIC = 6
DT_NULL = 0
DT_NEEDED = 1


def needed_libraries(data: bytes) -> tuple[str, ...]:
    """Return the names that ``DT_NEEDED`` entries state, in file order; empty for all but linked ELF files.

    Raises:
        BadDataError: The dynamic section lies outside of the file or names a string that does.
    """
    if not data.startswith(elf.MAGIC):
        return ()
    try:
        sections = elf.parse(data).sections
    except BadDataError:
        return ()  # 32 bits, or damaged: the analysis of the file says so
    found: list[str] = []
    for section in sections:
        if section.type == SHT_DYNAMIC and section.link < len(sections):
            strings = sections[section.link]
            found += _needed(data[section.offset : section.end], data[strings.offset : strings.end])
    return tuple(found)


def _needed(entries: bytes, strings: bytes) -> list[str]:
    found = []
    for tag, value in struct.iter_unpack("<QQ", entries[: len(entries) // 16 * 16]):
        if tag == DT_NULL:
            break
        if tag == DT_NEEDED:
            end = strings.find(b"\0", value)
            if end < 0:
                raise BadDataError("ELF file", "the name of a needed library is outside its table")
            found.append(strings[value:end].decode("utf-8", "replace"))
    return found
