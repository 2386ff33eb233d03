"""CRCs of compiled implementations that do not depend on the prefix.

``ocamlopt`` identifies a ``.cmx`` by the MD5 of its bytes. Where the prefix is in them (a module that exports
the path of the standard library), that CRC is another at every prefix, and so is that of each unit that was
compiled against it. The *canonical* CRC of such a unit is the MD5 of its placeholder form, in which the CRCs
of the units that it imports are canonical already: it is the same wherever it was built.

CRCs are compared, never computed again from the bytes, so they may be renamed as long as that is done in all
places at once. These are: the end of a ``.cmx``, its list of imports, the units of a ``.cmxa``, and two
tables that the linker writes as marshalled values into the data of native code, ``caml_plugin_header`` of a
plugin and ``caml_globals_map`` of a program. In all but the first a CRC is a string of 16 bytes of a
marshalled value. Lengths stay as they are. A CRC is 128 bits of a hash: none stands anywhere by chance.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from opambin.errors import BadDataError
from opambin.frozen import dataclass
from opambin.relocate import arfile, camlobj, elf, machomagic
from opambin.relocate.camlunits import CRC_LENGTH, IMPLEMENTATION, items, units
from opambin.relocate.marshalheader import MAGIC as VALUE_MAGIC
from opambin.relocate.marshalheader import read_header
from opambin.relocate.unmarshal import read_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from opambin.model import Symbol
    from opambin.relocate.marshalheader import Header

    Renaming = Mapping[bytes, bytes]

_UNIT = b"Yy"  # letters of .cmx in their magic numbers
_LIBRARY = b"Zz"  # of .cmxa
_CRC_TOKEN = bytes([0x20 | CRC_LENGTH])  # opcode of a marshalled string of that length
_WHAT = "CRC of a unit"


@dataclass(frozen=True, slots=True)
class Unit:
    """A compiled implementation.

    Attributes:
        crc: As its file states it.
        imports: CRCs of the implementations that it was compiled against.
        body: What its CRC is to be computed from: its file in placeholder form, without the CRC at its end.
        moves: Whether the placeholder is in it.
    """

    crc: bytes
    imports: frozenset[bytes]
    body: bytes
    moves: bool


def may_hold_crcs(data: bytes) -> bool:
    """Tell quickly whether a file is of a kind that holds CRCs of implementations."""
    if camlobj.recognises(data):
        return data[8] in _UNIT + _LIBRARY
    native = data.startswith((elf.MAGIC, arfile.MAGIC)) or machomagic.recognises(data)
    return native and VALUE_MAGIC in data


def read_unit(content: bytes, *, moves: bool) -> Unit:
    """Read a ``.cmx`` in placeholder form.

    Raises:
        BadDataError: It is none, is compressed, or does not end with its CRC.
    """
    found = units(content)
    value = read_header(content, camlobj.MAGIC_LENGTH)
    if value.compressed or value.end + CRC_LENGTH != len(content):
        raise BadDataError(_WHAT, "not at the end of its file")
    imports = frozenset(
        bytes.fromhex(symbol.value)
        for symbol in found.imports
        if symbol.kind == IMPLEMENTATION and symbol.value
    )
    return Unit(content[value.end :], imports, content[: value.end], moves)


def renaming(found: Iterable[Unit]) -> dict[bytes, bytes]:
    """Return the canonical CRCs of the units of a package, by those that differ from them.

    Raises:
        BadDataError: Units import each other, or two have one CRC and are not the same.
    """
    by_crc: dict[bytes, Unit] = {}
    for unit in found:
        if by_crc.setdefault(unit.crc, unit) != unit:
            raise BadDataError(_WHAT, "two units have it", observed=unit.crc.hex())
    canonical: dict[bytes, bytes] = {}
    for unit in _imports_first(by_crc):
        changed = {crc: canonical[crc] for crc in unit.imports if canonical.get(crc, crc) != crc}
        new = _digest(unit, changed) if changed or unit.moves else unit.crc
        canonical[unit.crc] = new
    changed = {old: new for old, new in canonical.items() if old != new}
    if len(set(changed.values()) - set(canonical)) != len(changed):
        raise BadDataError(_WHAT, "a canonical one is that of another unit")
    return changed


def _digest(unit: Unit, changed: Renaming) -> bytes:
    body = _in_values(unit.body, pattern(changed), changed) if changed else unit.body
    return hashlib.md5(body, usedforsecurity=False).digest()


def _imports_first(by_crc: Mapping[bytes, Unit]) -> Iterator[Unit]:
    """Yield units after those of the same package that they import.

    Raises:
        BadDataError: There is no such order.
    """
    waiting = {crc: {one for one in unit.imports if one in by_crc} for crc, unit in by_crc.items()}
    importers: dict[bytes, list[bytes]] = {}
    for crc, imports in waiting.items():
        for imported in imports:
            importers.setdefault(imported, []).append(crc)
    ready = sorted(crc for crc, imports in waiting.items() if not imports)
    done = 0
    while ready:
        crc = ready.pop()
        done += 1
        yield by_crc[crc]
        for importer in importers.get(crc, ()):
            waiting[importer].discard(crc)
            if not waiting[importer]:
                ready.append(importer)
    if done != len(by_crc):
        raise BadDataError(_WHAT, "units import each other")


def pattern(changed: Renaming) -> re.Pattern[bytes]:
    """Return what finds the CRCs that are to be renamed, as strings of marshalled values."""
    return re.compile(_CRC_TOKEN + b"(" + b"|".join(map(re.escape, sorted(changed))) + b")", re.DOTALL)


def renamed(content: bytes, changed: Renaming, finder: re.Pattern[bytes]) -> bytes:
    """Return a file with other CRCs; its length stays.

    Args:
        content: The file.
        changed: Canonical CRCs by those that it may hold.
        finder: What :func:`pattern` gave for them.
    """
    if camlobj.recognises(content) and content[8] in _UNIT + _LIBRARY:
        new = _in_values(content, finder, changed)
        if content[8] in _UNIT:
            crc = new[-CRC_LENGTH:]
            new = new[:-CRC_LENGTH] + changed.get(crc, crc)
        return new
    return _in_native(content, finder, changed)


def _in_native(content: bytes, finder: re.Pattern[bytes], changed: Renaming) -> bytes:
    """Rename in the marshalled values of native code; an archive is searched as a whole."""
    parts: list[bytes] = []
    done = 0
    for header in _values(content):
        parts += (content[done : header.body], _in_values(content[header.body : header.end], finder, changed))
        done = header.end
    return b"".join([*parts, content[done:]]) if parts else content


def _values(content: bytes) -> Iterator[Header]:
    """Yield the headers of the uncompressed values in native code."""
    at = content.find(VALUE_MAGIC)
    while at >= 0:
        try:
            header = read_header(content, at)
        except BadDataError:
            # The magic number alone, in the code of a reader, say.
            at = content.find(VALUE_MAGIC, at + 1)
            continue
        if not header.compressed:
            yield header
        at = content.find(VALUE_MAGIC, header.end)


def linked(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and CRC of the units that a program of native code says it was linked from.

    Its ``caml_globals_map`` is a list of (name, CRC of the interface, CRC of the implementation, symbols).
    Both CRCs are options.
    """
    for header in _values(content):
        try:
            table = list(items(read_value(content, header.start)[0]))
        except BadDataError:
            continue
        for row in table:
            match row:
                case [bytes(name), _, [bytes(crc)], _] if len(crc) == CRC_LENGTH:
                    yield name, crc


def alone(path: str, name: bytes) -> bytes:
    """Return a canonical CRC for a unit that is in the program at ``path`` and has no ``.cmx``.

    Nobody can be compiled against it, so it only has to differ from all others.
    """
    text = b"opam-bin unit\0" + path.encode("utf-8", "surrogateescape") + b"\0" + name
    return hashlib.md5(text, usedforsecurity=False).digest()


def _in_values(content: bytes, finder: re.Pattern[bytes], changed: Renaming) -> bytes:
    return finder.sub(lambda match: _CRC_TOKEN + changed[match[1]], content)


def renamed_symbol(symbol: Symbol, changed: Renaming) -> Symbol:
    """Return what a file offers or needs, after its CRCs were renamed."""
    if symbol.kind != IMPLEMENTATION or not symbol.value:
        return symbol
    new = changed.get(bytes.fromhex(symbol.value))
    return symbol if new is None else replace(symbol, value=new.hex())
