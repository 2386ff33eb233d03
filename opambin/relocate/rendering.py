"""From placeholder form to a prefix: which bytes to write where; pure.

Every place is looked at before anything is answered: where the placeholder or the structure around it is
not what the manifest says, nothing is rendered.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from opambin.errors import BadDataError, CannotRelocateError
from opambin.frozen import dataclass
from opambin.model import PADDED_LENGTH, PLACEHOLDER, Kind, Occurrence
from opambin.relocate import (
    arfile,
    blocks,
    bytecode,
    camlobj,
    dunesite,
    elf,
    machomagic,
    marshal,
    marshalwrite,
)
from opambin.relocate.pieces import Change, apply
from opambin.relocate.spelling import pad

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Read = Callable[[int, int], bytes]

IN_PLACE = frozenset({Kind.CSTRING, Kind.BLOCK, Kind.DUNE_SITE})
"""Kinds that never change the length of a file."""


_WHOLE = (
    (bytecode.recognises, bytecode.changes),
    (camlobj.recognises, marshalwrite.changes),
    (marshal.recognises, marshalwrite.changes),
)
"""Formats whose module rewrites all kinds at once."""


@dataclass(frozen=True, slots=True)
class Patch:
    """Bytes to write at an offset."""

    offset: int
    data: bytes

    @property
    def end(self) -> int:
        """Offset of the first byte after them."""
        return self.offset + len(self.data)


def in_place(occurrences: Iterable[Occurrence]) -> bool:
    """Tell whether a file is rendered without changing its length."""
    return all(found.kind in IN_PLACE for found in occurrences)


def check(occurrences: Iterable[Occurrence], target: bytes) -> None:
    """Find out whether a file can be rendered for a prefix, from what is recorded alone.

    Raises:
        CannotRelocateError: The prefix is too long, or has white space where the kernel reads it.
    """
    for found in occurrences:
        if not found.functional or found.capacity is None:
            continue
        if len(target) > found.capacity:
            raise CannotRelocateError(
                found.where or found.kind,
                f"the new prefix has {len(target)} bytes, there is room for {found.capacity}",
            )
        if found.kind is Kind.TEXT and len(target.split()) != 1:
            raise CannotRelocateError("#! line", "the new prefix has white space")


def longest_prefix(occurrences: Iterable[Occurrence]) -> int | None:
    """Return the length of the longest prefix that a file can be moved to, in bytes; None for any."""
    return min(
        (found.capacity for found in occurrences if found.functional and found.capacity is not None),
        default=None,
    )


def render(content: bytes, occurrences: Sequence[Occurrence], target: bytes) -> bytes:
    """Return a file in placeholder form with every placeholder replaced by ``target``.

    Informational places where it does not fit keep the placeholder.

    Raises:
        BadDataError: The bytes are not what the occurrences say.
        CannotRelocateError: The prefix does not fit.
    """
    if not occurrences:
        return content  # also of what only begins like a Mach-O file: nothing in it asks to be read
    found = changes(content, occurrences, target)
    if found is not None:
        return apply(content, found)
    content = _rendered(content, occurrences, target)
    if not needs_finish(content):
        return content
    from opambin.relocate import machofile

    return machofile.finish(content)


def changes(content: bytes, occurrences: Sequence[Occurrence], target: bytes) -> list[Change] | None:
    """Return what to change in a file whose length may change; None when it has to be rendered as a whole.

    That is native code: see :func:`plan` for the part of it that keeps its length.

    Raises:
        BadDataError: The bytes are not what the occurrences say.
        CannotRelocateError: The prefix does not fit.
    """
    check(occurrences, target)
    if _is_native(content):
        return None
    for recognises, module_changes in _WHOLE:
        if recognises(content):
            return module_changes(content, occurrences, target)
    return None


def _is_native(content: bytes) -> bool:
    return content.startswith((elf.MAGIC, arfile.MAGIC)) or machomagic.recognises(content)


def needs_finish(head: bytes) -> bool:
    """Tell from its first bytes whether a file may hold a signature of all its bytes.

    Such a file is rendered as a whole, also where all occurrences are in place.
    """
    return machomagic.recognises(head)


def _rendered(content: bytes, occurrences: Sequence[Occurrence], target: bytes) -> bytes:
    patches = plan(occurrences, target, lambda offset, size: content[offset : offset + size])
    content = apply(content, [Change(patch.offset, patch.end, patch.data) for patch in patches])
    free = [found for found in occurrences if found.kind not in IN_PLACE]
    if free and bytecode.recognises(content):
        return bytecode.render(content, free, target)
    for found in free:
        if found.kind is not Kind.TEXT or _is_native(content):
            raise BadDataError("object", f"holds no {found.kind} at byte {found.offset}")
    return splice(content, sorted(found.offset for found in free), target) if free else content


def plan(occurrences: Sequence[Occurrence], target: bytes, read: Read) -> list[Patch]:
    """Work out the writes of the in-place kinds; others are skipped.

    Args:
        occurrences: Of one file.
        target: The prefix.
        read: Gives ``size`` bytes at ``offset`` of the file in placeholder form, fewer at its end.

    Raises:
        BadDataError: The bytes are not what the occurrences say.
        CannotRelocateError: The prefix does not fit.
    """
    check(occurrences, target)
    patches = []
    sites: dict[tuple[int, int], list[Occurrence]] = defaultdict(list)
    blocks_of: dict[tuple[int, int], list[Occurrence]] = defaultdict(list)
    for found in occurrences:
        if found.capacity is not None and len(target) > found.capacity:
            continue
        if found.kind is Kind.CSTRING:
            patches.append(_cstring(found, target, read))
        elif found.kind is Kind.BLOCK:
            blocks_of[_block_place(found)].append(found)
        elif found.kind is Kind.DUNE_SITE:
            sites[_site_place(found)].append(found)
    patches += (_block(place, inside, target, read) for place, inside in blocks_of.items())
    patches += (_site(place, inside, target, read) for place, inside in sites.items())
    return patches


def splice(content: bytes, offsets: Iterable[int], target: bytes) -> bytes:
    """Replace the placeholders at rising ``offsets`` by ``target``, whatever the length.

    Raises:
        BadDataError: No placeholder stands at one of the offsets.
    """
    parts: list[bytes] = []
    done = 0
    for offset in offsets:
        _expect_placeholder(content[offset : offset + PADDED_LENGTH] if offset >= done else b"", offset)
        parts += [content[done:offset], target]
        done = offset + PADDED_LENGTH
    return b"".join([*parts, content[done:]])


def _cstring(found: Occurrence, target: bytes, read: Read) -> Patch:
    _expect_placeholder(read(found.offset, PADDED_LENGTH), found.offset)
    return Patch(found.offset, pad(target, PADDED_LENGTH))


def _block_place(found: Occurrence) -> tuple[int, int]:
    """Return the offset of the block's header and the words it may use."""
    match found.anchor:
        case (back, room) if blocks.WORD <= back <= found.offset and room > 0:
            return found.offset - back, room
        case _:
            raise BadDataError(
                f"occurrence at byte {found.offset}", "its anchor is not that of a string block"
            )


def _block(place: tuple[int, int], inside: list[Occurrence], target: bytes, read: Read) -> Patch:
    header, room = place
    size = blocks.WORD * (room + 1)
    window = read(header, size)
    block = blocks.string_at(window, 0, len(window))
    if len(window) != size or block is None or block.room != room:
        raise BadDataError("object", f"no string block of {room} words at byte {header}")
    value = window[block.start : block.start + block.length]
    offsets = sorted(found.offset - header - blocks.WORD for found in inside)
    return Patch(header, blocks.encode(splice(value, offsets, target), room))


def _site_place(found: Occurrence) -> tuple[int, int]:
    """Return offset and length of the dune-site field."""
    match found.anchor:
        case (back, size) if 0 < back <= found.offset and back < size <= dunesite.MAX_FIELD:
            return found.offset - back, size
        case _:
            raise BadDataError(f"occurrence at byte {found.offset}", "its anchor is not that of a field")


def _site(place: tuple[int, int], inside: list[Occurrence], target: bytes, read: Read) -> Patch:
    start, size = place
    moved = [replace(found, offset=found.offset - start) for found in inside]
    return Patch(start, dunesite.render(read(start, size), moved, target))


def _expect_placeholder(data: bytes, offset: int) -> None:
    if data != PLACEHOLDER:
        raise BadDataError("object", f"no placeholder at byte {offset}")
