"""The spellings of a switch prefix, and where they stand in bytes.

A prefix has a *canonical* spelling (``/home/me/.opam/5.1``) and a *padded* one of 200 bytes, with a run
of slashes before the last component, which names the same directory. Both are found at path boundaries
only: ``/opt/foo`` is not in ``/opt/foobar``, nor in ``/mnt/opt/foo``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from opambin.errors import MisuseError
from opambin.frozen import dataclass
from opambin.model import PADDED_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterator

PATH_BYTES = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+~-")
"""Bytes that continue a path component; any other byte, and the end of the data, is a boundary."""

ESCAPED = frozenset(b" \t\"'\\$`#;&|<>()*?[]{}!:%")
"""Bytes of a prefix that scripts, makefiles or program texts write in another way, or can't write at all."""

LONGEST_PADDED = PADDED_LENGTH - 2  # bytes; builds at a longer prefix are told it as it is (hooks/padding.sh)

BUILD_DIRECTORY_MARKER = b"/.opam-switch/"
BUILD_DIRECTORIES = (b"build", b"sources")
"""Folders under the marker that are gone after the installation: what names them is informational."""

_SLASH = 0x2F
_LEFT_CONTEXT = 48  # bytes; longer than compiler flags and names of variables before a path
_LEADS_TO_PATH = re.compile(
    rb"""(?: (?: \A | [^A-Za-z0-9._+~/-] ) - [A-Za-z]{1,12}               # a flag
    | \\ (?: [abefnrtv0] | [0-9]{3} | x [0-9A-Fa-f]{2} | u [0-9A-Fa-f]{4} )  # an escape of a program text
    | \$ [A-Za-z_] [A-Za-z0-9_]*                                           # a variable of a shell: $DESTDIR/x
    | (?: : | \$\{ [A-Za-z_] [A-Za-z0-9_]* ) [-+]                           # its default value: ${X:-/x}
    ) \Z""",
    re.VERBOSE,
)
"""What may stand before a path and ends with bytes of paths."""
_ADDRESS = re.compile(rb"(?<![A-Za-z0-9/+.-])[A-Za-z][A-Za-z0-9+.-]*:\Z")
_AFTER_SENTENCE = frozenset(b"\0 \t\r\n\"'`)<\\")
"""What follows a full stop that is no part of a name; the end of the data does, too."""
_LONGEST_CHARACTER = 4  # bytes, in UTF-8


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


def escaped(prefix: bytes, *, ascii_only: bool = False) -> str:
    """Return the characters of a prefix that some files may hold in another form, each once.

    Args:
        prefix: Canonical.
        ascii_only: Whether bytes that are not ASCII count: OCaml writes them as numbers in program texts.
    """
    text = prefix.decode("utf-8", "surrogateescape")
    odd = {char for char in text if ord(char) in ESCAPED or not char.isprintable()}
    if ascii_only:
        odd |= {char for char in text if not char.isascii()}
    return "".join(sorted(odd))


def other_form(spelling: Spelling) -> re.Pattern[bytes] | None:
    """Return what finds the prefix with one of its characters written in another way.

    That is its beginning, followed by anything but the character itself.

    Returns:
        None when no character of the prefix is ever written otherwise.
    """
    odd = escaped(spelling.canonical, ascii_only=True)
    if not odd:
        return None
    forms = []
    for spelled in (spelling.canonical, spelling.padded):
        text = spelled.decode("utf-8", "surrogateescape")
        at = min(text.index(char) for char in odd)
        head, char = (part.encode("utf-8", "surrogateescape") for part in (text[:at], text[at]))
        forms.append(re.escape(head) + b"(?!" + re.escape(char) + b")")
    return re.compile(b"|".join(forms))


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
        return self.canonical in data or self.padded in data or self._may_be_respelled(data)

    def _may_be_respelled(self, data: bytes) -> bool:
        parent = self.canonical.rpartition(b"/")[0]
        return bool(parent) and parent + b"//" in data

    def respelled(self, data: bytes) -> Iterator[int]:
        """Yield where the prefix stands with another number of slashes before its last component.

        Somebody joined two paths; it is the same directory, but neither of the spellings that are replaced.
        """
        if not self._may_be_respelled(data):
            return
        parent, _, leaf = self.canonical.rpartition(b"/")
        for match in re.finditer(re.escape(parent) + b"//+" + re.escape(leaf), data):
            at, end = match.span()
            other = end - at != len(self.padded) and left_boundary(data, at)
            if other and not _goes_on(data, end) and not self.in_build_directory(data, end):
                yield at

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
        done = 0
        for hit in found:
            if hit.offset >= done:  # a prefix in the root folder is the tail of its own padding
                yield hit
                done = hit.end

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
        if not _goes_on(data, after):
            yield at
            at = data.find(needle, after, stop)
        else:
            at = data.find(needle, at + 1, stop)


def left_boundary(data: bytes, at: int) -> bool:
    r"""Tell whether a path may begin at ``at``.

    A path byte before it says that it is the tail of a longer path, except for a flag that is glued to its
    path (``-I/x``), an escape of a program text (``\n/x``), and variables of shells (``$DESTDIR/x``,
    ``${X:-/x}``). More slashes before it (``//x``) are a part of the path, unless they begin the host of an
    address (``http://x``).
    """
    start = at
    while start and data[start - 1] == _SLASH:
        start -= 1
    before = data[max(0, start - _LEFT_CONTEXT) : start]
    if not before or not (before[-1] in PATH_BYTES or _ends_with_letter(before)):
        return at - start != 1 or _ADDRESS.search(before) is None
    return _LEADS_TO_PATH.search(before) is not None


def _goes_on(data: bytes, end: int) -> bool:
    """Tell whether the name of a folder that has come to ``end`` goes on there."""
    first = data[end : end + 1]
    if first == b".":
        after = data[end + 1 : end + 2]
        return after != b"" and after[0] not in _AFTER_SENTENCE
    return (first != b"" and first[0] in PATH_BYTES) or (first >= b"\x80" and _begins_with_letter(data, end))


def _begins_with_letter(data: bytes, at: int) -> bool:
    """Tell whether a letter or digit beyond ASCII begins there, in UTF-8; quotes and dashes are none."""
    return any(_is_letter(data[at : at + size]) for size in range(2, _LONGEST_CHARACTER + 1))


def _ends_with_letter(data: bytes) -> bool:
    """Tell the same of the last character."""
    return data[-1] >= 0x80 and any(_is_letter(data[-size:]) for size in range(2, _LONGEST_CHARACTER + 1))


def _is_letter(character: bytes) -> bool:
    try:
        text = character.decode()
    except UnicodeDecodeError:
        return False
    return len(text) == 1 and text.isalnum()
