"""Garbage on remotes that can list: archives that nothing names, and snapshots that are too old or too much.

Rules:

* An archive that no slot names goes when it is a day old: a younger one may be waiting for its slot.
* A remote knows no last use: the age of a snapshot is that of its slot.
* Slots are removed before archives, and those of a key that stay move up, so that readers, who stop at the
  first empty one, find them. Who read a slot just before gets a miss with a line.
* A slot that can't be read is nobody's: it counts as old as it is, and holds no archive.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from opambin.errors import BadDataError
from opambin.exchange import names
from opambin.trust.envelope import Envelope
from opambin.trust.statement import Statement

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opambin.model import ConeKey
    from opambin.remote.protocol import Entry, Remote

YOUNG = 86_400.0  # seconds


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot of a remote.

    Attributes:
        key: Of which key.
        number: Which one.
        package: ``NAME.VERSION``; empty when it can't be read.
        archive: The sha256 of its archive; empty when it can't be read.
        modified: When it was written, in seconds since 1970.
        data: What it holds.
    """

    key: ConeKey
    number: int
    package: str
    archive: str
    modified: float
    data: bytes = field(repr=False, default=b"")


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a remote holds.

    Attributes:
        slots: Its slots.
        archives: Size and time of each archive, by sha256.
    """

    slots: tuple[Slot, ...]
    archives: Mapping[str, Entry]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to stay.

    Attributes:
        size: The most that archives may take, in bytes; None for any.
        age: How old a snapshot may be, in seconds; None for any.
        keep: Globs on ``NAME`` or ``NAME.VERSION``, and first digits of keys, that stay in any case.
    """

    size: int | None = None
    age: float | None = None
    keep: tuple[str, ...] = ()

    def keeps(self, slot: Slot) -> bool:
        """Tell whether a slot stays in any case."""
        name = slot.package.partition(".")[0]
        return any(
            fnmatchcase(slot.package, glob)
            or fnmatchcase(name, glob)
            or (len(glob) >= 8 and slot.key.startswith(glob))
            for glob in self.keep
        )


@dataclass(frozen=True, slots=True)
class Doomed:
    """What goes.

    Attributes:
        slots: Slots that go.
        archives: Archives that go with them.
        orphans: Archives that nothing named.
        bytes: Size of all these archives.
        left: Size of the archives that stay, in bytes.
    """

    slots: tuple[Slot, ...]
    archives: tuple[str, ...]
    orphans: tuple[str, ...]
    bytes: int
    left: int


def survey(remote: Remote) -> Holdings:
    """List a remote and read its slots.

    Raises:
        UnavailableError: It can't list, or does not answer.
    """
    slots: dict[str, Entry] = {}
    archives: dict[str, Entry] = {}
    for entry in remote.entries(""):
        digest = names.archive_of(entry.name)
        if digest is not None:
            archives[digest] = entry
        elif names.slot_of(entry.name):
            slots[entry.name] = entry
    read = remote.get_many(slots, limit=names.MAX_STATEMENT_BYTES)
    return Holdings(tuple(_slot(slots[name], data or b"") for name, data in read.items()), archives)


def _slot(entry: Entry, data: bytes) -> Slot:
    at = names.slot_of(entry.name)
    if at is None:
        raise ValueError(entry.name)
    try:
        statement = Statement.read(Envelope.from_json(data, entry.name), entry.name)
    except BadDataError:
        return Slot(*at, "", "", entry.modified, data)
    return Slot(*at, str(statement.package), statement.archive.digest, entry.modified, data)


def choose(holdings: Holdings, wanted: Wanted, now: float) -> Doomed:
    """Choose what goes; pure."""
    sizes = {digest: entry.size for digest, entry in holdings.archives.items()}
    holders: dict[str, int] = {}
    for slot in holdings.slots:
        holders[slot.archive] = holders.get(slot.archive, 0) + 1
    orphans = [
        digest
        for digest, entry in holdings.archives.items()
        if digest not in holders and now - entry.modified > YOUNG
    ]
    total = sum(size for digest, size in sizes.items() if digest not in set(orphans))
    gone: list[Slot] = []
    archives: list[str] = []
    for slot in sorted(holdings.slots, key=lambda slot: (slot.modified, slot.key, slot.number)):
        too_old = wanted.age is not None and now - slot.modified > wanted.age
        too_much = wanted.size is not None and total > wanted.size
        if not (too_old or too_much) or wanted.keeps(slot):
            continue
        gone.append(slot)
        holders[slot.archive] -= 1
        if not holders[slot.archive] and slot.archive in sizes:
            archives.append(slot.archive)
            total -= sizes[slot.archive]
    freed = sum(sizes[digest] for digest in (*archives, *orphans))
    return Doomed(tuple(gone), tuple(archives), tuple(sorted(orphans)), freed, total)


def carry_out(remote: Remote, holdings: Holdings, doomed: Doomed) -> None:
    """Remove what goes, orphans first.

    Raises:
        UnavailableError: The remote can't be written; what was removed so far was all right to go.
    """
    for digest in doomed.orphans:
        remote.remove(names.archive(digest))
    gone = {(slot.key, slot.number) for slot in doomed.slots}
    for key in dict.fromkeys(slot.key for slot in doomed.slots):
        slots = sorted((slot for slot in holdings.slots if slot.key == key), key=lambda slot: slot.number)
        _close_up(remote, slots, gone)
    for digest in doomed.archives:
        remote.remove(names.archive(digest))


def _close_up(remote: Remote, slots: Iterable[Slot], gone: set[tuple[ConeKey, int]]) -> None:
    """Remove slots of a key, and move those that stay to the front."""
    slots = list(slots)
    staying = [slot for slot in slots if (slot.key, slot.number) not in gone]
    for number, slot in enumerate(staying):
        if slot.number != number:
            remote.put(names.slot(slot.key, number), slot.data, replace=True)
    for slot in slots:
        if slot.number >= len(staying):
            remote.remove(names.slot(slot.key, slot.number))
