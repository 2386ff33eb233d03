"""The tokens of OCaml's marshalled values, and the strings among them.

After the header (:mod:`opambin.relocate.marshalheader`) comes a stream of self-delimiting tokens. Sharing
counts objects, not bytes, so a string may be replaced in the stream without touching any other token; only
the length of the data and its two sizes in words are in the header. All opcodes of OCaml 4.07 to 5.4 are
known (runtime/caml/intext.h). Nothing is read outside of the given bounds, whatever the bytes say.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from opambin.errors import BadDataError
from opambin.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_CANDIDATES = 1000  # bytes before a place that may be the opcode of its string; line ends look like one
_MAX_LONG_STRING = 1 << 20  # bytes that are searched backwards for the token of a string

_SMALL_STRING, _STRING8, _STRING32, _STRING64 = 0x20, 0x09, 0x0A, 0x15


@dataclass(frozen=True, slots=True)
class StringToken:
    """A string of a token stream.

    Attributes:
        start: Offset of its opcode.
        text: Offset of its first byte.
        end: Offset after its last byte.
    """

    start: int
    text: int
    end: int


_FIXED = rb"""
    [\x40-\xff]+                              # small integers and blocks
  | [\x00\x04] .                              # INT8, SHARED8
  | [\x01\x05] .{2}                           # INT16, SHARED16
  | [\x02\x06\x08\x11] .{4}                   # INT32, SHARED32, BLOCK32, INFIXPOINTER
  | [\x03\x0b\x0c\x13\x14] .{8}               # INT64, DOUBLE_BIG/LITTLE, BLOCK64, SHARED64
  | \x10 .{20}                                # CODEPOINTER: offset, digest
  | [\x12\x19] (?: _i\x00 .{4} | _j\x00 .{8} | _n\x00 (?: \x01 .{4} | \x02 .{8} ) )
  | \x18 (?: _i\x00 .{16} | _j\x00 .{20} | _n\x00 .{12} (?: \x01 .{4} | \x02 .{8} ) )
"""
_SHORT = b"".join(rb"| \x%02x .{%d}" % (_SMALL_STRING + size, size) for size in range(32))
_RUN = re.compile(b"(?:" + _FIXED + b")*+", re.DOTALL | re.VERBOSE)
_RUN_OVER_SHORT_STRINGS = re.compile(b"(?:" + _FIXED + _SHORT + b")*+", re.DOTALL | re.VERBOSE)
"""Runs of tokens that are passed over in C: a loop in Python over every token takes ten times as long."""
_SHORT_STRINGS = re.compile(
    b"(?:" + _FIXED + b")*+ (?: ((?:" + _SHORT[1:] + b")++) | \\Z )", re.DOTALL | re.VERBOSE
)
"""The next short strings of such a run, with opcodes; matches at the end too: nothing is searched."""

_DOUBLE_ARRAYS = {
    0x0D: ">B", 0x0E: ">B", 0x0F: ">I", 0x07: ">I", 0x16: ">Q", 0x17: ">Q",
}  # fmt: skip


def string_tokens(data: bytes, start: int, end: int, *, shortest: int = 0) -> Iterator[StringToken]:
    """Yield the strings of the token stream ``data[start:end]``.

    Args:
        data: Holds the stream.
        start: Offset of its first token.
        end: Offset after it.
        shortest: Strings of less than 32 bytes are left out when they are shorter than this.

    Raises:
        BadDataError: An unknown opcode, or a token that goes on after ``end``.
    """
    run = _RUN_OVER_SHORT_STRINGS if shortest > 0x1F else _RUN
    at = start
    while True:
        match = run.match(data, at, end)
        at = match.end() if match is not None else at
        if at >= end:
            return
        token = string_at(data, at, end)
        if token is not None:
            yield token
            at = token.end
        else:
            at = _after_double_array(data, at, end)


def all_strings(tokens: bytes) -> Iterator[bytes]:
    """Yield the strings of a token stream in their order, with their opcodes; many at a time.

    Raises:
        BadDataError: An unknown opcode, or a token that is cut off.
    """
    at, end = 0, len(tokens)
    while True:
        match = _RUN_OVER_SHORT_STRINGS.match(tokens, at)
        stop = match.end() if match is not None else at
        yield b"".join(_SHORT_STRINGS.findall(tokens, at, stop))
        if stop >= end:
            return
        token = string_at(tokens, stop, end)
        if token is not None:
            yield tokens[token.start : token.end]
        at = token.end if token is not None else _after_double_array(tokens, stop, end)


def string_at(data: bytes, at: int, end: int) -> StringToken | None:
    """Return the string token at ``at``, or None when there is none that ends before ``end``."""
    if not 0 <= at < end:
        return None
    code = data[at]
    if _SMALL_STRING <= code < 0x40:
        text, size = at + 1, code & 0x1F
    elif code == _STRING8 and at + 1 < end:
        text, size = at + 2, data[at + 1]
    elif code in (_STRING32, _STRING64):
        text = at + (5 if code == _STRING32 else 9)
        size = int.from_bytes(data[at + 1 : text])
    else:
        return None
    return StringToken(at, text, text + size) if text + size <= end else None


def _after_double_array(data: bytes, at: int, end: int) -> int:
    layout = _DOUBLE_ARRAYS.get(data[at])
    width = struct.calcsize(layout) if layout is not None else 0
    if layout is None or at + 1 + width > end:
        raise BadDataError("marshalled value", f"unknown or truncated token {data[at]:#04x} at {at}")
    after = at + 1 + width + 8 * int(struct.unpack_from(layout, data, at + 1)[0])
    if after > end:
        raise BadDataError("marshalled value", f"truncated array at {at}")
    return after


def string_around(data: bytes, at: int, length: int, bounds: tuple[int, int]) -> StringToken | None:
    """Find the string token that holds ``data[at:at + length]`` by looking at the bytes before it.

    For values too large to be walked through: the nearest bytes that read as the opcode and length of a
    string which covers the place are taken. Good enough where the length of the string stays as it is.
    """
    low, high = bounds
    for start in range(at - 1, max(low, at - 0x20) - 1, -1) if length < 0x20 else ():
        token = string_at(data, start, high)
        if token is not None and token.text == start + 1 and at + length <= token.end:
            return token
    for opcode, overhead, reach in ((_STRING8, 2, 0xFF), (_STRING32, 5, _MAX_LONG_STRING)):
        floor = max(low, at - overhead - reach)
        token = _nearest(data, at - overhead + 1, (floor, high), (opcode, at + length))
        if token is not None:
            return token
    return None


def _nearest(
    data: bytes, before: int, bounds: tuple[int, int], wanted: tuple[int, int]
) -> StringToken | None:
    low, high = bounds
    opcode, needed_end = wanted
    start = before
    for _ in range(_MAX_CANDIDATES):
        start = data.rfind(opcode, low, max(start, low))
        if start < 0:
            return None
        token = string_at(data, start, high)
        if token is not None and token.end >= needed_end:
            return token
    return None


def encode_string(text: bytes) -> bytes:
    """Return the token of a string below 4 GB, with the opcode that OCaml chooses for its length."""
    size = len(text)
    if size < 0x20:
        return bytes((_SMALL_STRING | size,)) + text
    if size < 0x100:
        return bytes((_STRING8, size)) + text
    return struct.pack(">BI", _STRING32, size) + text


def string_words(size: int, word: int) -> int:
    """Return the words that a string of ``size`` bytes takes, its header included."""
    return 1 + (size + word) // word
