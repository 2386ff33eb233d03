"""Prefixes that compilers took apart: eight bytes at a time, as immediate operands of instructions; pure.

A short copy (``strcpy`` of a literal) or a comparison (``match`` of a string in native OCaml) leaves no
string that could be found. Of a padded prefix runs of slashes are left, which :mod:`opambin.relocate.elfdata`
looks for. Of a prefix that was not padded only its own bytes are: here they are looked for in code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opambin.errors import BadDataError
from opambin.relocate import arfile, elf

if TYPE_CHECKING:
    from collections.abc import Iterator

WORD = 8  # bytes of one immediate operand
PIECES = 2
"""How many words of the prefix must be there: the first alone is in code that knows ``/usr/local``."""
_SHF_EXECINSTR = 4
_CONSTANTS = ".rodata.cst"


def taken_apart(data: bytes, prefix: bytes) -> str:
    """Say in which section words of a prefix stand alone in code; empty when in none, or in no native file.

    Args:
        data: A file.
        prefix: Canonical; one that is shorter than a word is never found.
    """
    words = [prefix[at : at + WORD] for at in range(0, len(prefix) - WORD + 1, WORD)][:PIECES]
    if not words or not data.startswith((elf.MAGIC, arfile.MAGIC)) or not all(word in data for word in words):
        return ""
    try:
        for part in _parts(data):
            sections = [_sections(part, word, prefix) for word in words]
            shared = set.intersection(*sections)
            if shared:
                return sorted(shared)[0]
    except BadDataError:
        # what can't be read holds no code that could run
        return ""
    return ""


def _parts(data: bytes) -> Iterator[bytes]:
    if data.startswith(elf.MAGIC):
        yield data
        return
    for member in arfile.members(data):
        if data.startswith(elf.MAGIC, member.offset):
            yield data[member.offset : member.end]


def _sections(data: bytes, word: bytes, prefix: bytes) -> set[str]:
    """Return the sections of code in which a word stands that is not in a whole prefix."""
    found: set[str] = set()
    code: list[elf.Section] | None = None
    at = data.find(word)
    while at >= 0:
        start = at - prefix.find(word)
        if start < 0 or not data.startswith(prefix, start):
            code = code if code is not None else _code(data)
            found.update(section.name for section in code if section.offset <= at < section.end)
        at = data.find(word, at + 1)
    return found


def _code(data: bytes) -> list[elf.Section]:
    return [
        section
        for section in elf.parse(data).sections
        if section.flags & _SHF_EXECINSTR or section.name.startswith(_CONSTANTS)
    ]
