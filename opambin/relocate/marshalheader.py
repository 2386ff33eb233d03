"""The headers of OCaml's marshalled values: small, big and compressed ones.

A header states the length of the token stream after it and its size in words on two kinds of machines. The
tokens of a compressed value are one zstd frame. Nothing is read outside of the given bounds, whatever the
bytes say. All headers of OCaml 4.07 to 5.4 are known (runtime/caml/intext.h).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from opambin.errors import BadDataError
from opambin.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = b"\x84\x95\xa6"
"""First three bytes of every value; the fourth says which header it has."""
_SMALL, _BIG, _COMPRESSED = 0xBE, 0xBF, 0xBD
_SMALL_LENGTH, _BIG_LENGTH = 20, 32  # bytes
COMPRESSED = MAGIC + bytes((_COMPRESSED,))
_COMPRESSED_LENGTH_MASK = 0x3F
_WORD32 = 1 << 32
MAX_DECOMPRESSED = 1 << 29  # bytes; the largest known .cmt has 40 MB


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a marshalled value.

    Attributes:
        start: Offset of its first byte.
        body: Offset of the first byte after it.
        end: Offset after the value.
        size: Length of the token stream, in bytes, decompressed.
        objects: Number of shareable objects.
        words32: Size in words on a 32-bit machine; 0 in a big header.
        words64: Size in words on a 64-bit machine.
        kind: Its fourth byte.
    """

    start: int
    body: int
    end: int
    size: int
    objects: int
    words32: int
    words64: int
    kind: int

    @property
    def compressed(self) -> bool:
        """Whether the tokens are one zstd frame."""
        return self.kind == _COMPRESSED


def read_header(data: bytes, start: int, end: int | None = None) -> Header:
    """Read the header of the value at ``start``.

    Raises:
        BadDataError: There is none, or the value goes on after ``end``.
    """
    stop = len(data) if end is None else min(end, len(data))
    if start < 0 or data[start : start + 3] != MAGIC or start + 4 > stop:
        raise BadDataError(f"marshalled value at {start}", "no value begins there")
    try:
        header = _READERS[data[start + 3]](data, start)
    except (KeyError, struct.error, IndexError):
        raise BadDataError(f"marshalled value at {start}", "unknown or truncated header") from None
    if not header.body <= header.end <= stop:
        raise BadDataError(f"marshalled value at {start}", "truncated", expected=header.end, observed=stop)
    return header


def _read_small(data: bytes, start: int) -> Header:
    size, objects, words32, words64 = struct.unpack_from(">IIII", data, start + 4)
    body = start + _SMALL_LENGTH
    return Header(start, body, body + size, size, objects, words32, words64, _SMALL)


def _read_big(data: bytes, start: int) -> Header:
    size, objects, words64 = struct.unpack_from(">QQQ", data, start + 8)
    body = start + _BIG_LENGTH
    return Header(start, body, body + size, size, objects, 0, words64, _BIG)


def _read_compressed(data: bytes, start: int) -> Header:
    body = start + (data[start + 4] & _COMPRESSED_LENGTH_MASK)
    at = start + 5
    numbers = []
    for _ in range(5):
        number, at = _read_vlq(data, at, body)
        numbers.append(number)
    if at != body:
        raise IndexError
    stored, size, objects, words32, words64 = numbers
    return Header(start, body, body + stored, size, objects, words32, words64, _COMPRESSED)


def _read_vlq(data: bytes, at: int, end: int) -> tuple[int, int]:
    value = 0
    while at < end:
        value = value << 7 | data[at] & 0x7F
        at += 1
        if not data[at - 1] & 0x80:
            return value, at
    raise IndexError


_READERS = {_SMALL: _read_small, _BIG: _read_big, _COMPRESSED: _read_compressed}


def write_header(header: Header, size: int, grown32: int, grown64: int) -> bytes:
    """Return an uncompressed header for a value that was changed.

    Args:
        header: As it was.
        size: New length of the token stream, in bytes.
        grown32: By how many words it grew on a 32-bit machine.
        grown64: The same on a 64-bit machine.

    Raises:
        BadDataError: The sizes of the old header can't be right.
    """
    words32, words64 = header.words32 + grown32, header.words64 + grown64
    if words64 < 0 or (words32 < 0 and header.kind != _BIG):
        raise BadDataError(f"marshalled value at {header.start}", "its header has wrong sizes")
    if header.kind != _BIG and max(size, header.objects, words32, words64) < _WORD32:
        return MAGIC + struct.pack(">BIIII", _SMALL, size, header.objects, words32, words64)
    return MAGIC + struct.pack(">BIQQQ", _BIG, 0, size, header.objects, words64)


def decompress(data: bytes, header: Header) -> bytes:
    """Return the token stream of a compressed value.

    Raises:
        BadDataError: It is no zstd frame of the stated size, or larger than we accept.
    """
    import zstandard

    what = f"compressed value at {header.start}"
    if header.size > MAX_DECOMPRESSED:
        raise BadDataError(what, "too large", expected=f"at most {MAX_DECOMPRESSED}", observed=header.size)
    frame = data[header.body : header.end]
    try:
        # A frame may state another content size than the header, and would be allocated in full.
        stated = zstandard.frame_content_size(frame)
        if stated not in (-1, header.size):
            raise BadDataError(what, "wrong size", expected=header.size, observed=stated)
        with zstandard.ZstdDecompressor().stream_reader(frame) as reader:
            tokens = reader.read(header.size + 1)
    except zstandard.ZstdError as error:
        raise BadDataError(what, f"not a zstd frame: {error}") from error
    if len(tokens) != header.size:
        raise BadDataError(what, "wrong size", expected=header.size, observed=len(tokens))
    return tokens


def may_be_compressed(data: bytes) -> bool:
    """Tell quickly whether a compressed value may begin anywhere in ``data``."""
    # Three times as fast as a search for all four bytes, of which the last is a frequent one.
    at = data.find(MAGIC)
    while at >= 0:
        if data.startswith(COMPRESSED, at):
            return True
        at = data.find(MAGIC, at + 3)
    return False


def compressed_values(data: bytes, start: int, end: int) -> Iterator[tuple[Header, bytes]]:
    """Yield the compressed values among other bytes, with their tokens.

    The magic number may stand there by chance (in byte code, say): then no frame follows, and it is passed
    over.
    """
    at = data.find(COMPRESSED, start, end)
    while at >= 0:
        try:
            header = read_header(data, at, end)
            tokens = decompress(data, header)
        except BadDataError:
            after = at + 1
        else:
            yield header, tokens
            after = header.end
        at = data.find(COMPRESSED, after, end)
