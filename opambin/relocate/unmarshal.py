"""Reading marshalled values that describe compiled units: as much as is needed, as little as possible.

Blocks become lists without their tag, strings ``bytes``, integers ``int``, doubles ``float`` (arrays of them
lists), and what has no meaning here (custom blocks, code pointers) None. Shared objects are shared lists:
a value may be cyclic. No recursion; the memory is bounded by the length of the data, whatever it claims.
"""

from __future__ import annotations

import struct

from opambin.errors import BadDataError
from opambin.relocate.marshalheader import Header, decompress, read_header
from opambin.relocate.marshalstream import string_at

Node = int | bytes | float | list["Node"] | None
"""An OCaml value."""

MAX_SIZE = 1 << 26  # bytes of tokens; the largest known .cmxa has 6 MB

_INTEGERS = {0x00: ">b", 0x01: ">h", 0x02: ">i", 0x03: ">q"}
_SHARED = {0x04: ">B", 0x05: ">H", 0x06: ">I", 0x14: ">Q"}
_BLOCKS = {0x08: ">I", 0x13: ">Q"}
_DOUBLES = {0x0B: ">d", 0x0C: "<d"}
_DOUBLE_ARRAYS = {
    0x0D: (">B", ">"), 0x0F: (">I", ">"), 0x16: (">Q", ">"),
    0x0E: (">B", "<"), 0x07: (">I", "<"), 0x17: (">Q", "<"),
}  # fmt: skip
_CODE_POINTER, _INFIX_POINTER = 0x10, 0x11
_CUSTOM, _CUSTOM_LENGTH, _CUSTOM_FIXED = 0x12, 0x18, 0x19
_CUSTOM_SIZES = {b"_i\0": 4, b"_j\0": 8}
_NATIVEINT_SIZES = {1: 4, 2: 8}


def read_value(data: bytes, start: int) -> tuple[Node, int]:
    """Read the value at ``start``; also return the offset after it.

    Raises:
        BadDataError: It is none, or damaged.
    """
    header = read_header(data, start)
    return _read(data, header, None), header.end


def read_fields(data: bytes, start: int, count: int) -> tuple[list[Node], int]:
    """Read the first ``count`` fields of the block that the value at ``start`` is, and nothing after them.

    Raises:
        BadDataError: It is no such block, or damaged.
    """
    header = read_header(data, start)
    node = _read(data, header, count)
    if not isinstance(node, list) or len(node) < count:
        raise BadDataError(f"marshalled value at {start}", f"not a block of {count} fields or more")
    return node[:count], header.end


def _read(data: bytes, header: Header, count: int | None) -> Node:
    if header.size > MAX_SIZE:
        what = f"marshalled value at {header.start}"
        raise BadDataError(what, "too large to read", expected=f"at most {MAX_SIZE}", observed=header.size)
    if header.compressed:
        tokens = decompress(data, header)
        return _Reader(tokens, 0, len(tokens)).root(count)
    return _Reader(data, header.body, header.end).root(count)


class _Reader:
    """One pass over a token stream."""

    def __init__(self, data: bytes, start: int, end: int) -> None:
        self._data = data
        self._at = start
        self._end = end
        self._objects: list[Node] = []

    def root(self, count: int | None) -> Node:
        """Read the value, or its first fields when it is a block."""
        holder: list[Node] = []
        # Each level: the block that is filled, and how many fields it still lacks.
        levels: list[tuple[list[Node], int]] = [(holder, 1)]
        data, end = self._data, self._end
        while levels:
            block, lacking = levels.pop()
            if count is not None and len(levels) == 0 and block is not holder and len(block) >= count:
                break
            if lacking > 1:
                levels.append((block, lacking - 1))
            if self._at >= end:
                raise BadDataError("marshalled value", "truncated")
            code = data[self._at]
            if 0x40 <= code < 0x80:
                self._at += 1
                block.append(code & 0x3F)
                continue
            size = self._block_size(code)
            if size is None:
                block.append(self._leaf(code))
            else:
                fields: list[Node] = []
                block.append(fields)
                if size:
                    self._objects.append(fields)
                    levels.append((fields, size))
        return holder[0]

    def _block_size(self, code: int) -> int | None:
        """Pass over the header of a block and return its size; None when no block begins."""
        if code >= 0x80:
            self._at += 1
            return code >> 4 & 0x7
        if code in _BLOCKS:
            return self._number(_BLOCKS[code]) >> 10
        return None

    def _number(self, layout: str) -> int:
        """Pass over an opcode and return the number after it."""
        start = self._at + 1
        self._advance(1 + struct.calcsize(layout))
        return int(struct.unpack_from(layout, self._data, start)[0])

    def _advance(self, size: int) -> None:
        if self._at + size > self._end:
            raise BadDataError("marshalled value", "truncated")
        self._at += size

    def _leaf(self, code: int) -> Node:
        if code in _INTEGERS:
            return self._number(_INTEGERS[code])
        if code in _SHARED:
            back = self._number(_SHARED[code])
            if not 0 < back <= len(self._objects):
                raise BadDataError("marshalled value", "a shared object that does not exist")
            return self._objects[-back]
        token = string_at(self._data, self._at, self._end)
        if token is not None:
            self._at = token.end
            return self._object(self._data[token.text : token.end])
        return self._rare(code)

    def _object(self, node: Node) -> Node:
        self._objects.append(node)
        return node

    def _rare(self, code: int) -> Node:
        if code in _DOUBLES:
            start = self._at + 1
            self._advance(9)
            return self._object(float(struct.unpack_from(_DOUBLES[code], self._data, start)[0]))
        if code in _DOUBLE_ARRAYS:
            layout, order = _DOUBLE_ARRAYS[code]
            size = self._number(layout)
            start = self._at
            self._advance(8 * size)
            return self._object(list(struct.unpack_from(f"{order}{size}d", self._data, start)))
        if code == _CODE_POINTER:
            self._advance(21)
            return None
        if code in (_CUSTOM, _CUSTOM_LENGTH, _CUSTOM_FIXED):
            self._custom(code)
            return self._object(None)
        raise BadDataError("marshalled value", f"unexpected token {code:#04x} at {self._at}")

    def _custom(self, code: int) -> None:
        self._advance(1)
        name = self._data[self._at : self._at + 3]
        self._advance(3 + (12 if code == _CUSTOM_LENGTH else 0))
        if name == b"_n\0" and self._at < self._end:
            width = self._data[self._at]
            self._advance(1)
            size = _NATIVEINT_SIZES.get(width)
        else:
            size = _CUSTOM_SIZES.get(name)
        if size is None:
            raise BadDataError("marshalled value", f"unknown custom block {name!r}")
        self._advance(size)
