r"""The small language in which a published archive says how its files get another prefix; pure.

``opam-bin.edits`` is read at installation by ``install.sh``, which does what :func:`carry_out` does here.
Its form is described in ``docs/formats/published-archive.md``. What an item gives depends on the prefix
alone; its length, on that of the prefix alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from opambin.errors import CannotRelocateError
from opambin.relocate import blocks
from opambin.relocate.marshalstream import encode_string, string_words
from opambin.relocate.spelling import pad

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/")
SHEBANG_MAX = 127  # bytes with "#!"; what OCaml itself goes by
_SCRIPT = b'#!/bin/sh\nexec \'%s\' "$0" "$@"\n'


def escape(data: bytes) -> str:
    """Spell bytes for ``printf``: three octal digits for all but letters, digits, ``.``, ``_`` and ``/``."""
    return "".join(chr(byte) if byte in _PLAIN else f"\\{byte:03o}" for byte in data)


@dataclass(frozen=True, slots=True)
class Term:
    """A number that grows with the prefix: what a string of ``rest`` bytes and ``count`` prefixes takes.

    Attributes:
        kind: ``P``: its bytes. ``O``: opcode and length before it in a marshalled value; ``T``: both
            together. ``V``, ``W``: its words in memory, of 4 and of 8 bytes, with the header. ``L``: what
            starts a program with it as the command.
        rest: Bytes beside the prefixes.
        count: How many prefixes are in it.
    """

    kind: str
    rest: int
    count: int

    def value(self, length: int) -> int:
        """Return the number for a prefix of ``length`` bytes."""
        size = self.rest + self.count * length
        match self.kind:
            case "P":
                return size
            case "V":
                return string_words(size, 4)
            case "W":
                return string_words(size, 8)
            case "L":
                return len(_launcher(b"x" * size))
        over = 1 if size < 0x20 else 2 if size < 0x100 else 5
        return over if self.kind == "O" else over + size

    def __str__(self) -> str:
        return f"{self.kind} {self.rest} {self.count}"


@dataclass(frozen=True, slots=True)
class Size:
    """A length: some bytes, and terms."""

    base: int = 0
    terms: tuple[Term, ...] = ()

    def value(self, length: int) -> int:
        """Return it for a prefix of ``length`` bytes."""
        return self.base + sum(term.value(length) for term in self.terms)

    def __add__(self, other: Size) -> Size:
        return Size(self.base + other.base, self.terms + other.terms)

    def __str__(self) -> str:
        return " ".join([str(self.base), *map(str, self.terms)])


@dataclass(frozen=True, slots=True)
class Prefix:
    """The prefix."""

    def render(self, prefix: bytes) -> bytes:
        """Return its bytes."""
        return prefix

    @property
    def size(self) -> Size:
        """How long it is."""
        return Size(0, (Term("P", 0, 1),))

    def __str__(self) -> str:
        return "p"


@dataclass(frozen=True, slots=True)
class Padded:
    """The prefix with slashes, as long as the placeholder."""

    length: int

    def render(self, prefix: bytes) -> bytes:
        """Return its bytes."""
        return pad(prefix, self.length)

    @property
    def size(self) -> Size:
        """How long it is."""
        return Size(self.length)

    def __str__(self) -> str:
        return "s"


@dataclass(frozen=True, slots=True)
class Literal:
    """Bytes that don't depend on the prefix."""

    data: bytes

    def render(self, prefix: bytes) -> bytes:  # noqa: ARG002 - as all items
        """Return its bytes."""
        return self.data

    @property
    def size(self) -> Size:
        """How long it is."""
        return Size(len(self.data))

    def __str__(self) -> str:
        return f"={escape(self.data)}"


@dataclass(frozen=True, slots=True)
class Number:
    """A big-endian number of ``width`` bytes."""

    width: int
    number: Size

    def render(self, prefix: bytes) -> bytes:
        """Return its bytes."""
        return self.number.value(len(prefix)).to_bytes(self.width)

    @property
    def size(self) -> Size:
        """How long it is."""
        return Size(self.width)

    def __str__(self) -> str:
        return ":".join(["n", str(self.width), *str(self.number).split()])


@dataclass(frozen=True, slots=True)
class Token:
    """Opcode and length of a marshalled string of ``rest`` bytes and ``count`` prefixes."""

    rest: int
    count: int

    def render(self, prefix: bytes) -> bytes:
        """Return its bytes."""
        text = b"x" * (self.rest + self.count * len(prefix))
        return encode_string(text)[: -len(text) or None]

    @property
    def size(self) -> Size:
        """How long it is."""
        return Size(0, (Term("O", self.rest, self.count),))

    def __str__(self) -> str:
        return f"t:{self.rest}:{self.count}"


@dataclass(frozen=True, slots=True)
class Block:
    """An OCaml string block with its filler; ``parts`` stand around the prefixes.

    Attributes:
        room: Words after the header that it may use.
        parts: Literal bytes, one more than there are prefixes.
    """

    room: int
    parts: tuple[bytes, ...]

    def render(self, prefix: bytes) -> bytes:
        """Return its bytes."""
        return blocks.encode(prefix.join(self.parts), self.room)

    @property
    def size(self) -> Size:
        """How long it is."""
        return Size(blocks.WORD * (self.room + 1))

    def __str__(self) -> str:
        return ":".join(["b", str(self.room), *_parts(self.parts)])


@dataclass(frozen=True, slots=True)
class Site:
    """A field of dune-site, of ``length`` bytes for ever."""

    length: int
    parts: tuple[bytes, ...]

    def render(self, prefix: bytes) -> bytes:
        """Return its bytes.

        Raises:
            CannotRelocateError: It does not fit.
        """
        value = prefix.join(self.parts)
        text = b"=%d:%s" % (len(value), value)
        if len(text) > self.length:
            raise CannotRelocateError("dune-site field", f"the prefix has {len(prefix)} bytes")
        return text.ljust(self.length)

    @property
    def size(self) -> Size:
        """How long it is."""
        return Size(self.length)

    def __str__(self) -> str:
        return ":".join(["d", str(self.length), *_parts(self.parts)])


@dataclass(frozen=True, slots=True)
class Launcher:
    """The first line of a bytecode program, or the script that takes its place where it is too long.

    Attributes:
        parts: The command, around the prefixes.
    """

    parts: tuple[bytes, ...]

    def render(self, prefix: bytes) -> bytes:
        """Return its bytes."""
        return _launcher(prefix.join(self.parts))

    @property
    def size(self) -> Size:
        """How long it is."""
        return Size(0, (Term("L", sum(map(len, self.parts)), len(self.parts) - 1),))

    def __str__(self) -> str:
        return ":".join(["l", *_parts(self.parts)])


def _launcher(command: bytes) -> bytes:
    return b"#!%s\n" % command if len(command) + 2 <= SHEBANG_MAX else _SCRIPT % command


Item = Prefix | Padded | Literal | Number | Token | Block | Site | Launcher


def _parts(parts: Sequence[bytes]) -> list[str]:
    """Write literals with what they take together."""
    return [str(sum(map(len, parts))), *(f"={escape(part)}" for part in parts)]


@dataclass(frozen=True, slots=True)
class Edit:
    """Bytes of a file that are replaced.

    Attributes:
        start: Offset of the first.
        end: Offset after the last.
        items: What stands there afterwards.
    """

    start: int
    end: int
    items: tuple[Item, ...]

    def __str__(self) -> str:
        return " ".join([f"at {self.start} {self.end - self.start}", *map(str, self.items)])


@dataclass(frozen=True, slots=True)
class FileEdits:
    """What is done to one file.

    Attributes:
        edits: By rising offset.
        in_place: Whether its length stays.
        swept: Whether the placeholders that keep their length, and that nobody needs, are replaced first.
    """

    edits: tuple[Edit, ...] = ()
    in_place: bool = True
    swept: bool = False

    def lines(self, path: str, size: int) -> list[str]:
        """Write it down, but for what is swept.

        Args:
            path: Of the file.
            size: Of the file, in bytes.
        """
        if not self.edits:
            return []
        lines = [f"{'in' if self.in_place else 're'} {path}", *map(str, self.edits)]
        if not self.in_place:
            lines.append(f"size {self._final(size)}")
        return lines

    def _final(self, size: int) -> Size:
        items = [item for edit in self.edits for item in edit.items]
        untouched = size - sum(edit.end - edit.start for edit in self.edits)
        return sum((item.size for item in items), Size(untouched))


def carry_out(content: bytes, edits: FileEdits, placeholder: bytes, prefix: bytes) -> bytes:
    """Do what ``install.sh`` does to a file.

    Raises:
        CannotRelocateError: The prefix does not fit.
    """
    if edits.swept and len(prefix) <= len(placeholder):
        content = content.replace(placeholder, pad(prefix, len(placeholder)))
    parts: list[bytes] = []
    done = 0
    for edit in edits.edits:
        parts += [content[done : edit.start], *(item.render(prefix) for item in edit.items)]
        done = edit.end
    return b"".join([*parts, content[done:]])


def merged(edits: Iterable[Edit], content: bytes, gap: int) -> tuple[Edit, ...]:
    """Join edits that are at most ``gap`` bytes apart: each costs a process or two at installation."""
    found: list[Edit] = []
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
        last = found[-1] if found else None
        if last is not None and edit.start - last.end <= gap:
            between = content[last.end : edit.start]
            items = (*last.items, *((Literal(between),) if between else ()), *edit.items)
            found[-1] = Edit(last.start, edit.end, items)
        else:
            found.append(edit)
    return tuple(found)
