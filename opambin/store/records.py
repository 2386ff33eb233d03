"""What the index and the reports say, as values."""

from __future__ import annotations

from dataclasses import astuple
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from opambin.frozen import dataclass

if TYPE_CHECKING:
    from opambin.model import ConeKey, OutputId, PackageName, Version


@dataclass(frozen=True, slots=True)
class SnapshotRecord:
    """A snapshot as the index knows it, without its files.

    Attributes:
        key: Its cone key.
        output: Its output id.
        name: Of the package.
        version: Of the package.
        built_at: Seconds since 1970.
        size: Of all its files, in bytes.
        last_used: Seconds since 1970; 0 when never.
        uses: How often it was used.
    """

    key: ConeKey
    output: OutputId
    name: PackageName
    version: Version
    built_at: int
    size: int
    last_used: int = 0
    uses: int = 0


@dataclass(frozen=True, slots=True)
class InstalledRecord:
    """What is installed under a prefix, and which snapshot it is.

    Attributes:
        name: Of the package.
        version: Of the package.
        key: Cone key it was restored or captured under.
        output: The output that is there.
        changes_digest: Of opam's record of its files, to see that it is still that installation.
    """

    name: PackageName
    version: Version
    key: ConeKey
    output: OutputId
    changes_digest: str


IN_SESSION = "in a session of opam, after its download"
"""The reason of a hit that the hooks placed."""


class Result(StrEnum):
    """What became of one package of a run."""

    HIT = "hit"
    MISS = "miss"
    BUILT = "built"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the statistics.

    Attributes:
        time: Seconds since 1970.
        prefix: Of the switch.
        package: ``name.version``.
        key: Cone key; empty when there was none.
        result: What became of it.
        reason: Why, for a miss or a refusal; :data:`IN_SESSION` for hits that the hooks placed.
        seconds: How long it took.
        bytes: Of its files.
        source_bytes: Of the source archive that was not needed, or was.
    """

    time: int
    prefix: str
    package: str
    key: str
    result: Result
    reason: str = ""
    seconds: float = 0.0
    bytes: int = 0
    source_bytes: int = 0

    def row(self) -> tuple[object, ...]:
        """Return the fields in order, with plain values."""
        return tuple(str(value) if isinstance(value, Result) else value for value in astuple(self))

    @classmethod
    def from_row(cls, row: tuple[Any, ...]) -> Event:
        """Make an event of what :meth:`row` gave."""
        time, prefix, package, key, result, *rest = row
        return cls(time, prefix, package, key, Result(result), *rest)


@dataclass(frozen=True, slots=True)
class StoreSize:
    """How much a store holds.

    Attributes:
        snapshots: Number of manifests.
        objects: Number of objects.
        object_bytes: Of all objects.
        manifest_bytes: Of all manifests.
        quarantine_bytes: Of what was found bad.
    """

    snapshots: int
    objects: int
    object_bytes: int
    manifest_bytes: int
    quarantine_bytes: int
