"""The spellings of a switch prefix, and where they stand in bytes.

A prefix has a *canonical* spelling (``/home/me/.opam/5.1``) and a *padded* one of 200 bytes, with a run
of slashes before the last component, which names the same directory. Both are found at path boundaries
only: ``/opt/foo`` is not in ``/opt/foobar``, nor in ``/mnt/opt/foo``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opambin.errors import MisuseError
from opambin.model import PADDED_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterator

PATH_BYTES = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+~-")
"""Bytes that continue a path component; any other byte, and the end of the data, is a boundary."""

BUILD_DIRECTORY_MARKER = b"/.opam-switch/"
BUILD_DIRECTORIES = (b"build", b"sources")
"""Folders under the marker that are gone after the installation: what names them is informational."""

_SLASH = 0x2F
_LEFT_CONTEXT = 24  # bytes; longer than any compiler flag that is glued to its path
_GLUED_FLAG = re.compile(rb"(?:\A|[^A-Za-z0-9._+~/-])-[A-Za-z]{1,12}\Z")
_FILE_URL = b"file://"
_ESCAPES = (b"\\n", b"\\t", b"\\r")


def pad(prefix: bytes, length: int = PADDED_LENGTH) -> bytes:
    """Spell ``prefix`` with more slashes before its last component, so that it has ``length`` bytes.

    Args:
        prefix: An absolute path without a slash at its end.
        length: The wanted length, in bytes.

    Returns:
        The padded spelling; ``prefix`` unchanged when it is as long or longer already.

    Raises:
        MisuseError: ``prefix`` is not absolute, is the root, or ends with a slash.
    """
    if not prefix.startswith(b"/") or prefix.endswith(b"/") or b"\0" in prefix:
        raise MisuseError(f"not a canonical absolute path: {prefix!r}")
    parent, _, leaf = prefix.rpartition(b"/")
    return parent + b"/" * max(1, length - len(parent) - len(leaf)) + leaf


@dataclass(frozen=True, slots=True)
class Hit:
    """A place where a prefix stands.

    Attributes:
        offset: Of its first byte.
        length: Of the spelling that was found.
        padded: Whether that is the padded spelling.
        build: Whether it continues into a build directory, so that nothing needs it after the build.
    """

    offset: int
    length: int
    padded: bool
    build: bool

    @property
    def end(self) -> int:
        """Offset of the first byte after the prefix."""
        return self.offset + self.length


@dataclass(frozen=True, slots=True)
class Spelling:
    """The two spellings of one prefix.

    Attributes:
        canonical: As opam knows it.
        padded: As the build was told it.
        marker: What follows the prefix in paths of build directories.
    """

    canonical: bytes
    padded: bytes
    marker: bytes = BUILD_DIRECTORY_MARKER

    @classmethod
    def of(cls, prefix: bytes) -> Spelling:
        """Return the spellings of a canonical prefix."""
        return cls(prefix, pad(prefix))

    def touches(self, data: bytes) -> bool:
        """Tell quickly whether a spelling may stand in ``data``; boundaries are not looked at."""
        return self.canonical in data or self.padded in data

    def hits(self, data: bytes, start: int = 0, end: int | None = None) -> Iterator[Hit]:
        """Find both spellings at path boundaries, by rising offset.

        The boundaries are those of ``data``: bytes outside ``start`` and ``end`` are looked at. Where a
        string begins inside binary data, hand over a copy of the string alone.
        """
        stop = len(data) if end is None else end
        found = [self._hit(data, at, self.padded) for at in find(data, self.padded, start, stop)]
        if self.canonical != self.padded:
            found += [
                self._hit(data, at, self.canonical)
                for at in find(data, self.canonical, start, stop)
                if left_boundary(data, at)
            ]
            found.sort(key=lambda hit: hit.offset)
        yield from found

    def glued(self, data: bytes, start: int = 0, end: int | None = None) -> Iterator[int]:
        """Yield where the canonical spelling follows a path byte, and so is no hit.

        In text that is another path. In binary data the byte before may as well be a length.
        """
        for at in find(data, self.canonical, start, end):
            if not left_boundary(data, at) and data[at - 1] != _SLASH:
                yield at

    def needed_anywhere(self, data: bytes) -> list[int]:
        """Return where a spelling stands, whatever is beside it, unless it goes on into a build directory.

        For bytes of unknown form: before and after the prefix may be the length of a string, or an opcode.
        """
        found = []
        for needle in {self.padded, self.canonical}:
            at = data.find(needle)
            while at >= 0:
                if not self.in_build_directory(data, at + len(needle)):
                    found.append(at)
                at = data.find(needle, at + 1)
        return sorted(found)

    def in_build_directory(self, data: bytes, end: int) -> bool:
        """Tell whether a prefix that ends at ``end`` goes on into a build directory."""
        return any(data.startswith(self.marker + name, end) for name in BUILD_DIRECTORIES)

    def _hit(self, data: bytes, at: int, needle: bytes) -> Hit:
        padded = needle is self.padded
        return Hit(at, len(needle), padded, self.in_build_directory(data, at + len(needle)))


def find(data: bytes, needle: bytes, start: int = 0, end: int | None = None) -> Iterator[int]:
    """Yield the offsets where ``needle`` stands and is not continued by a path byte.

    This is all that the padded spelling and the placeholder need; ask :func:`left_boundary` as well for
    a canonical spelling.
    """
    stop = len(data) if end is None else end
    at = data.find(needle, start, stop)
    while at >= 0:
        after = at + len(needle)
        if after >= len(data) or data[after] not in PATH_BYTES:
            yield at
            at = data.find(needle, after, stop)
        else:
            at = data.find(needle, at + 1, stop)


def left_boundary(data: bytes, at: int) -> bool:
    r"""Tell whether a path may begin at ``at``.

    A path byte or a slash before it says that it is the tail of a longer path, except for a flag that
    is glued to its path (``-I/x``), an escape of a program text (``\n/x``) and a ``file://`` address.
    """
    if at == 0 or (data[at - 1] not in PATH_BYTES and data[at - 1] != _SLASH):
        return True
    before = data[max(0, at - _LEFT_CONTEXT) : at]
    return before.endswith(_FILE_URL) or before.endswith(_ESCAPES) or _GLUED_FLAG.search(before) is not None
