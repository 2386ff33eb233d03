"""OCaml string blocks in the data of native code, 64-bit and little-endian.

A block is a header word (``words << 10 | colour | tag``) and its words. A string's last byte says how
many bytes of the last word are not used. A string that gets shorter leaves words over: they become a
*filler*, an abstract block of zeros that nothing refers to and that travels with the string into later
links, so that the string can grow again.
"""

from __future__ import annotations

import struct

from opambin.errors import BadDataError
from opambin.frozen import dataclass

STRING_TAG = 252
ABSTRACT_TAG = 251
STATIC_COLOUR = 0x300  # what compilers give to blocks outside the heap
WORD = 8  # bytes
_MAX_TAG_WORDS = 1 << 32  # a static block is never larger than its file; keeps sums small
_ENCLOSING_REACH = 65536  # bytes before a block where another block that holds it is looked for
_PREVIOUS_REACH = 4096  # bytes before a block where its neighbour is looked for
_ZERO = b"\0" * WORD
_STRING_BYTE = bytes([STRING_TAG])
_WHAT = "OCaml string block"


@dataclass(frozen=True, slots=True)
class Block:
    """A string block.

    Attributes:
        header: Offset of its header word.
        length: Of the string, in bytes.
        room: Words that the string may use: its own and those of a filler after it.
    """

    header: int
    length: int
    room: int

    @property
    def start(self) -> int:
        """Offset of the string's first byte."""
        return self.header + WORD

    @property
    def end(self) -> int:
        """Offset of the first byte after all that the string may use."""
        return self.start + self.room * WORD

    @property
    def capacity(self) -> int:
        """The longest string that fits, in bytes."""
        return self.room * WORD - 1


def string_at(data: bytes, header: int, limit: int) -> Block | None:
    """Read the string block whose header is at ``header``, and the filler after it.

    Args:
        data: All bytes.
        header: Where the header should be.
        limit: Offset where the section ends.

    Returns:
        The block, or None when these bytes are no static string block.
    """
    words = _words(data, header, limit, STRING_TAG)
    if not words:
        return None
    end = header + WORD + words * WORD
    unused = data[end - 1]
    if unused >= WORD or any(data[end - 1 - unused : end - 1]):
        return None
    return Block(header, words * WORD - 1 - unused, words + _filler_words(data, end, limit))


def enclosing(data: bytes, block: Block, start: int, limit: int) -> bool:
    """Tell whether ``block`` may be a part of the bytes of a longer string block before it."""
    low = max(start, block.header - _ENCLOSING_REACH)
    at = data.rfind(_STRING_BYTE, low, block.header)
    while at >= 0:
        if (at - start) % WORD == 0:
            other = string_at(data, at, limit)
            if other is not None and other.start + other.length > block.header:
                return True
        at = data.rfind(_STRING_BYTE, low, at)
    return False


def has_neighbours(data: bytes, block: Block, start: int, limit: int) -> bool:
    """Tell whether something that compilers put there stands right before and right after ``block``.

    That is another block, a word of zeros (the end of a table, or alignment), or the section's edge.
    """
    return _followed(data, block.end, limit) and _preceded(data, block.header, start, limit)


def _followed(data: bytes, end: int, limit: int) -> bool:
    return end == limit or data[end : end + WORD] == _ZERO or _any_words(data, end, limit) is not None


def _preceded(data: bytes, header: int, start: int, limit: int) -> bool:
    if header == start or data[header - WORD : header] == _ZERO:
        return True
    low = max(start, header - _PREVIOUS_REACH)
    for at in range(header - WORD, low - 1, -WORD):
        words = _any_words(data, at, limit)
        if words is not None and at + WORD + words * WORD == header:
            return True
    return False


def encode(value: bytes, room: int) -> bytes:
    """Return header, string and filler for ``value`` in a place of ``room`` words after the header.

    Raises:
        BadDataError: The string does not fit; who asks has looked at the capacity before.
    """
    words = len(value) // WORD + 1
    if words > room:
        raise BadDataError(_WHAT, "no room for the new string", expected=room, observed=words)
    unused = words * WORD - 1 - len(value)
    body = value + b"\0" * unused + bytes([unused])
    left = room - words
    filler = _header(left - 1, ABSTRACT_TAG) + b"\0" * (WORD * (left - 1)) if left else b""
    return _header(words, STRING_TAG) + body + filler


def _header(words: int, tag: int) -> bytes:
    return struct.pack("<Q", words << 10 | STATIC_COLOUR | tag)


def _words(data: bytes, header: int, limit: int, tag: int) -> int | None:
    if header < 0 or header + WORD > limit or data[header] != tag:
        return None
    return _any_words(data, header, limit)


def _any_words(data: bytes, header: int, limit: int) -> int | None:
    if header < 0 or header + WORD > min(limit, len(data)):
        return None
    (word,) = struct.unpack_from("<Q", data, header)
    words: int = word >> 10
    if word & 0x300 != STATIC_COLOUR or words >= _MAX_TAG_WORDS or header + WORD + words * WORD > limit:
        return None
    return words


def _filler_words(data: bytes, header: int, limit: int) -> int:
    words = _words(data, header, limit, ABSTRACT_TAG)
    if words is None or any(data[header + WORD : header + WORD + words * WORD]):
        return 0
    return words + 1
