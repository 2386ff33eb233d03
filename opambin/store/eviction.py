"""Which snapshots have to go so that a store is no larger, and holds nothing older, than one wants.

The age of a snapshot is that of its last use, or of its build when it was never used. What was used within
:data:`YOUNG` stays: somebody may be restoring it. Objects that several snapshots share count once, and go
with the last.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opambin.model import ConeKey, Digest, OutputId
    from opambin.store.records import SnapshotRecord
    from opambin.store.store import Store

YOUNG = 3600.0  # seconds


@dataclass(frozen=True, slots=True)
class Limits:
    """What is wanted of a store.

    Attributes:
        size: The most that its objects may take, in bytes; None for any.
        age: How long ago the last use may be, in seconds; None for ever.
    """

    size: int | None = None
    age: float | None = None


@dataclass(frozen=True, slots=True)
class Evicted:
    """Which snapshots go.

    Attributes:
        gone: They, the longest unused first.
        kept: How many would have gone but for a wish to keep them.
        bytes: What all objects of the snapshots that stay take.
    """

    gone: tuple[SnapshotRecord, ...]
    kept: int
    bytes: int


Contents = dict[tuple["ConeKey", "OutputId"], dict[tuple["Digest", bool], int]]
"""Key and output to the objects of a snapshot with their sizes."""


def choose(
    records: Iterable[SnapshotRecord],
    contents: Contents,
    limits: Limits,
    keeps: Callable[[SnapshotRecord], bool],
    now: float,
) -> Evicted:
    """Choose what goes; pure.

    Args:
        records: All snapshots.
        contents: Their objects.
        limits: What is wanted.
        keeps: Tells whether one has to stay.
        now: Seconds since 1970.
    """
    oldest_first = sorted(records, key=lambda record: (last_use(record), record.key, record.output))
    names = Counter(found for objects in contents.values() for found in objects)
    sizes = {found: size for objects in contents.values() for found, size in objects.items()}
    total = sum(sizes.values())
    gone: list[SnapshotRecord] = []
    kept = 0
    for record in oldest_first:
        age = now - last_use(record)
        too_old = limits.age is not None and age > limits.age
        too_much = limits.size is not None and total > limits.size
        if age < YOUNG or not (too_old or too_much):
            continue
        if keeps(record):
            kept += 1
            continue
        gone.append(record)
        for found in contents.get((record.key, record.output), {}):
            names[found] -= 1
            total -= 0 if names[found] else sizes[found]
    return Evicted(tuple(gone), kept, total)


def last_use(record: SnapshotRecord) -> int:
    """Return when a snapshot was last used, or built, in seconds since 1970."""
    return max(record.last_used, record.built_at)


def evict(
    store: Store, limits: Limits, keeps: Callable[[SnapshotRecord], bool], *, now: float, dry_run: bool
) -> Evicted:
    """Drop the snapshots that have to go; their objects are for the sweep that follows.

    Raises:
        UnavailableError: The store can't be read or written.
    """
    if not dry_run:
        store.staging.refuse_if_readonly()
        store.index.rebuild()  # a snapshot that the index has missed has no age
    contents: Contents = {}
    for manifest in store.manifests.all():
        contents[manifest.key, manifest.output] = {
            (digest, executable): size for digest, executable, size in manifest.objects
        }
    found = choose(store.index.records(), contents, limits, keeps, now)
    if not dry_run:
        for record in found.gone:
            store.drop(record.key, record.output)
    return found
