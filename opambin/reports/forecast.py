"""What a restore would do, how much it would move, and how long that takes."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from opambin.model import FileType
from opambin.placement import placing
from opambin.plan import Verdict

if TYPE_CHECKING:
    from opambin.door.front import Prepared
    from opambin.plan import Item

SECONDS_PER_FILE = 0.00025
SECONDS_PER_OCCURRENCE = 0.0001
SECONDS_PER_BYTE = 1 / 1_500_000_000
SECONDS_AT_LEAST = 0.05
"""What restores of the test corpora have taken, rounded up; a guess, and called one."""


@dataclass(frozen=True, slots=True)
class Row:
    """One package.

    Attributes:
        package: Name and version.
        verdict: ``hit``, ``check``, ``wait``, ``miss`` or ``opam``.
        reason: Why it is no hit.
        bytes: Of its files.
        source_bytes: Of the source that need not be fetched.
        build_seconds: That building it had taken.
        key: Its cone key, when it has one.
        download_bytes: What would be fetched for it, in bytes; 0 when it is in the store.
        remote: Where from.
    """

    package: str
    verdict: str
    reason: str = ""
    bytes: int = 0
    source_bytes: int = 0
    build_seconds: float = 0.0
    key: str = ""
    download_bytes: int = 0
    remote: str = ""


@dataclass(frozen=True, slots=True)
class Forecast:
    """All of them.

    Attributes:
        rows: The packages, in opam's order.
        removed: Installed packages that would be taken out.
        seconds: What the restore is expected to take.
    """

    rows: tuple[Row, ...]
    removed: tuple[str, ...]
    seconds: float

    @property
    def restored(self) -> int:
        """How many packages would be restored, or checked."""
        return sum(row.verdict in (Verdict.HIT, Verdict.CHECK) for row in self.rows)

    @property
    def left(self) -> int:
        """How many packages opam would have to build."""
        return len(self.rows) - self.restored

    @property
    def bytes(self) -> int:
        """Bytes of all files that would be restored."""
        return sum(row.bytes for row in self.rows)

    @property
    def download_bytes(self) -> int:
        """Bytes that would be fetched from remotes."""
        return sum(row.download_bytes for row in self.rows)

    @property
    def saved_seconds(self) -> float:
        """Seconds of building that would be saved."""
        return round(sum(row.build_seconds for row in self.rows), 3)

    @property
    def saved_source_bytes(self) -> int:
        """Bytes of sources that need not be fetched."""
        return sum(row.source_bytes for row in self.rows)

    def as_dict(self) -> dict[str, object]:
        """Return it as plain values."""
        return {
            "packages": [asdict(row) for row in self.rows],
            "removed": list(self.removed),
            "restored": self.restored,
            "left_to_opam": self.left,
            "bytes": self.bytes,
            "download_bytes": self.download_bytes,
            "expected_seconds": self.seconds,
            "saved_seconds": self.saved_seconds,
            "saved_source_bytes": self.saved_source_bytes,
        }


def forecast(prepared: Prepared) -> Forecast:
    """Work out what carrying out a plan would do; nothing is changed."""
    leaving = frozenset(_leaving(prepared))
    rows = [_row(prepared, item, leaving) for item in prepared.items]
    rows += [Row(str(package), "opam", "it is defined in a folder") for package in prepared.later]
    seconds = sum(
        _seconds(item) for item, row in zip(prepared.items, rows, strict=False) if row.verdict == Verdict.HIT
    )
    removed = tuple(str(package) for package in prepared.decision.removals)
    return Forecast(tuple(rows), removed, round(SECONDS_AT_LEAST + seconds, 3))


def _leaving(prepared: Prepared) -> set[str]:
    found: set[str] = set()
    for package in prepared.decision.removals:
        changes = prepared.context.switch.changes(package.name)
        found.update(changes.added() if changes is not None else ())
    return found


def _row(prepared: Prepared, item: Item, leaving: frozenset[str]) -> Row:
    key = item.keyed.key or "" if item.keyed is not None else ""
    manifest = item.manifest
    if item.verdict is not Verdict.HIT or manifest is None:
        return Row(str(item.package), str(item.verdict), item.reason, key=key)
    conflict = placing.conflicts(prepared.context.prefix, manifest, leaving)
    if conflict:
        return Row(str(item.package), str(Verdict.MISS), f"{conflict} is in the switch already", key=key)
    build = manifest.build
    offer = prepared.decision.shelf.offer(manifest)
    return Row(
        str(item.package),
        str(item.verdict),
        "",
        manifest.size,
        build.source_bytes,
        build.seconds,
        key,
        offer.size if offer is not None else 0,
        offer.source.name if offer is not None else "",
    )


def _seconds(item: Item) -> float:
    files = [entry for entry in item.manifest.files if entry.type is FileType.FILE] if item.manifest else []
    occurrences = sum(len(entry.occurrences) for entry in files)
    moved = sum(entry.size for entry in files)
    speed = max(1, min(4, os.cpu_count() or 1))
    return (
        len(files) * SECONDS_PER_FILE + occurrences * SECONDS_PER_OCCURRENCE + moved * SECONDS_PER_BYTE
    ) / (1 + (speed - 1) / 4)
