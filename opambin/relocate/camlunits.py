"""What the compiled units of a file are called, and which other units they were compiled against.

OCaml refuses a link in which two files disagree on the CRC of a unit's interface (``.cmi``) or implementation
(``.cmx``). Here these CRCs are read; their order of fields is that of OCaml 4.07 to 5.4:

* ``.cmi``: [(own name, Some crc); (import, crc option); ...] is the second value.
* ``.cmo``: the descriptor is a unit: name first, imported interfaces as the fifth field. ``.cma``: a
  list of units first.
* ``.cmx``: name first, imported interfaces and implementations as fields four and five; own CRC after the
  value. ``.cmxa``: a list of (unit, CRC) first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from opambin.errors import BadDataError
from opambin.model import Symbol
from opambin.relocate import camlobj
from opambin.relocate.marshalheader import read_header
from opambin.relocate.unmarshal import read_fields, read_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from opambin.relocate.unmarshal import Node

CRC_LENGTH = 16  # bytes
MAX_UNITS = 100_000  # in one list; the lists of a damaged file may be cyclic
INTERFACE, IMPLEMENTATION = "cmi", "cmx"


class Units(NamedTuple):
    """What a file offers and needs.

    Attributes:
        provides: Units with their CRC, sorted; empty for byte code, which no CRC identifies.
        imports: Units with the CRC that is expected, or with "" when any will do; sorted, and without
            those that the file provides itself.
    """

    provides: tuple[Symbol, ...]
    imports: tuple[Symbol, ...]


def units(data: bytes) -> Units:
    """Return the units of a ``.cmi``, ``.cmo``, ``.cma``, ``.cmx`` or ``.cmxa`` file.

    Raises:
        BadDataError: It is another kind of file, or damaged.
    """
    reader = _READERS.get(data[8:9]) if camlobj.recognises(data) else None
    if reader is None:
        raise BadDataError("compiled unit", "not a .cmi, .cmo, .cma, .cmx or .cmxa file")
    return reader(data)


def _of_interface(data: bytes) -> Units:
    signature = read_header(data, camlobj.MAGIC_LENGTH)
    crcs, _ = read_value(data, signature.end)
    symbols = list(_symbols(INTERFACE, crcs))
    if not symbols or not symbols[0].value:
        raise BadDataError("interface", "it does not state its own CRC")
    return _units(symbols[:1], symbols[1:])


def _of_object(data: bytes) -> Units:
    descriptor, _ = read_fields(data, camlobj.descriptor_offset(data), 5)
    return _units((), _imports_of_object(descriptor))


def _of_library(data: bytes) -> Units:
    (members,), _ = read_fields(data, camlobj.descriptor_offset(data), 1)
    imports = [symbol for member in items(members) for symbol in _imports_of_object(member)]
    return _units((), imports)


def _of_native(data: bytes) -> Units:
    unit, end = read_fields(data, camlobj.MAGIC_LENGTH, 5)
    crc = data[end : end + CRC_LENGTH]
    return _units([_symbol(IMPLEMENTATION, unit[0], crc)], _imports_of_native(unit))


def _of_native_library(data: bytes) -> Units:
    (members,), _ = read_fields(data, camlobj.MAGIC_LENGTH, 1)
    provides: list[Symbol] = []
    imports: list[Symbol] = []
    for member in items(members):
        unit, crc = _pair(member)
        provides.append(_symbol(IMPLEMENTATION, _fields(unit, 5)[0], crc))
        imports += _imports_of_native(unit)
    return _units(provides, imports)


_READERS = {
    b"I": _of_interface,
    b"O": _of_object,
    b"A": _of_library,
    b"Y": _of_native,
    b"y": _of_native,
    b"Z": _of_native_library,
    b"z": _of_native_library,
}


def _imports_of_object(unit: Node) -> Iterator[Symbol]:
    yield from _symbols(INTERFACE, _fields(unit, 5)[4])


def _imports_of_native(unit: Node) -> Iterator[Symbol]:
    fields = _fields(unit, 5)
    yield from _symbols(INTERFACE, fields[3])
    yield from _symbols(IMPLEMENTATION, fields[4])


def _symbols(kind: str, crcs: Node) -> Iterator[Symbol]:
    for item in items(crcs):
        name, crc = _pair(item)
        yield _symbol(kind, name, b"" if crc == 0 else _fields(crc, 1)[0])


def _symbol(kind: str, name: Node, crc: Node) -> Symbol:
    if not isinstance(name, bytes) or not isinstance(crc, bytes) or len(crc) not in (0, CRC_LENGTH):
        raise BadDataError("compiled unit", "no name or CRC where one is expected")
    try:
        return Symbol(kind, name.decode(), crc.hex())
    except UnicodeDecodeError as error:
        raise BadDataError("compiled unit", f"no name: {name!r}") from error


def _fields(node: Node, count: int) -> list[Node]:
    if not isinstance(node, list) or len(node) < count:
        raise BadDataError("compiled unit", f"no record of {count} fields or more where one is expected")
    return node


def _pair(node: Node) -> list[Node]:
    fields = _fields(node, 2)
    if len(fields) > 2:
        raise BadDataError("compiled unit", "no pair where one is expected")
    return fields


def items(node: Node) -> Iterator[Node]:
    """Yield the elements of an OCaml list.

    Raises:
        BadDataError: It is none, or has no end.
    """
    for _ in range(MAX_UNITS):
        if node == 0:
            return
        cell = _fields(node, 2)
        yield cell[0]
        node = cell[1]
    raise BadDataError("compiled unit", f"a list of more than {MAX_UNITS} units")


def _units(provides: Iterable[Symbol], imports: Iterable[Symbol]) -> Units:
    offered, needed = set(provides), set(imports)
    exact = {(symbol.kind, symbol.name) for symbol in needed | offered if symbol.value}
    needed = {symbol for symbol in needed if symbol.value or (symbol.kind, symbol.name) not in exact}
    return Units(tuple(sorted(offered)), tuple(sorted(needed - offered)))
