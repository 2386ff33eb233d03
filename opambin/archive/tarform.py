"""The tar members of an archive, to the byte.

Every member is a regular file whose 512 bytes of header follow from its name, mode and size. So a reader
needs no tar parser: it makes the header that has to come and compares. Links, devices, other names, owners,
sparse files and pax records all fail that one comparison; :func:`explain` then says what was there instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opambin.model import Digest

BLOCK = 512  # bytes
END_MARK = bytes(2 * BLOCK)
FILE_MODE = 0o644
PROGRAM_MODE = 0o755
MAX_MEMBER_BYTES = 8**11 - 1  # the size has eleven octal digits
MANIFEST_NAME = "manifest.json"
TABLE_NAME = "frames.json"

_AFTER_SIZE = b"00000000000\0"  # time of modification: 1970
_AFTER_SUM = b"0" + bytes(100) + b"ustar\00000" + bytes(64) + b"0000000\0" * 2 + bytes(167)
_TYPES = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"5": "a directory",
    b"6": "a FIFO",
    b"7": "a contiguous file",
    b"D": "a GNU directory dump",
    b"K": "a GNU long link name",
    b"L": "a GNU long name",
    b"M": "a continuation of another volume",
    b"S": "a sparse file",
    b"V": "a volume label",
    b"X": "a Solaris extended header",
    b"g": "a global pax header",
    b"x": "a pax header",
}


@dataclass(frozen=True, slots=True)
class Member:
    """An object as a member of an archive.

    Attributes:
        digest: Of its bytes.
        executable: Which of the two forms.
        size: In bytes.
    """

    digest: Digest
    executable: bool
    size: int

    @property
    def name(self) -> str:
        """Of the tar member."""
        return f"objects/{self.digest}.x" if self.executable else f"objects/{self.digest}"

    @property
    def header(self) -> bytes:
        """Of the tar member."""
        return header(self.name, self.size, PROGRAM_MODE if self.executable else FILE_MODE)

    @property
    def span(self) -> int:
        """Bytes of header, content and padding."""
        return BLOCK + self.size + padding(self.size)


def unique(objects: Iterable[tuple[Digest, bool, int]]) -> tuple[Member, ...]:
    """Turn a manifest's objects into members, each once, in the order in which they are first named."""
    members = {(digest, program): Member(digest, program, size) for digest, program, size in objects}
    return tuple(members.values())


def padding(size: int) -> int:
    """Return how many zero bytes follow a content of ``size`` bytes."""
    return -size % BLOCK


def header(name: str, size: int, mode: int = FILE_MODE) -> bytes:
    """Return the header of a member: ustar, owner 0, time 0.

    Args:
        name: At most 100 characters, ASCII.
        size: In bytes, at most :data:`MAX_MEMBER_BYTES`.
        mode: Permission bits.
    """
    start = b"%b%07o\0%07o\0%07o\0%011o\0%b" % (
        name.encode("ascii").ljust(100, b"\0"),
        mode,
        0,
        0,
        size,
        _AFTER_SIZE,
    )
    checksum = sum(start) + 8 * ord(" ") + _SUM_OF_REST
    return b"%b%06o\0 %b" % (start, checksum, _AFTER_SUM)


_SUM_OF_REST = sum(_AFTER_SUM)


def explain(block: bytes, expected: bytes) -> str:
    """Say how a header differs from the one that had to come, in words.

    Args:
        block: What was found; :data:`BLOCK` bytes.
        expected: What should have been there.
    """
    if not block.strip(b"\0"):
        return "the archive ends early"
    kind = block[156:157]
    if kind in _TYPES:
        return f"{_TYPES[kind]} ({_text(block[:100])!r}) where a regular file had to come"
    for what, field in (("name", slice(100)), ("mode", slice(100, 108)), ("size", slice(124, 136))):
        if block[field] != expected[field]:
            return f"wrong {what} {_text(block[field])!r}, not {_text(expected[field])!r}"
    return "a tar header that is not in our form"


def size_in(block: bytes) -> int | None:
    """Return the size that a header gives, in bytes; None when it gives none in our form."""
    digits = block[124:135]
    if block[135:136] != b"\0" or digits.translate(None, b"01234567"):
        return None
    return int(digits, 8)


def _text(field: bytes) -> str:
    return field.rstrip(b"\0").decode("ascii", "backslashreplace")
