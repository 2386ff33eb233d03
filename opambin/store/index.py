"""The index: use times, what is installed where, caches, statistics.

For snapshots it is derived data: lost or damaged, it is made again from the manifests. What it alone knows
(use times, installed packages, events) makes nothing wrong when it is gone, only slower or less informed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opambin.store.database import INSERT_SNAPSHOT, Database, Row
from opambin.store.records import Event, InstalledRecord, Result, SnapshotRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from opambin.model import ConeKey, Manifest, OutputId, PackageName
    from opambin.store.staging import Staging

_SELECT_SNAPSHOTS = "SELECT key, output, name, version, built_at, size, last_used, uses FROM snapshots"
_NEWEST_FIRST = " ORDER BY built_at DESC, key, output"
KEYS_AT_ONCE = 500  # parameters of one statement; SQLite's oldest limit is 999


class Index:
    """The index of one store; nothing is opened before the first use.

    Args:
        staging: Knows the store's paths and whether it may be written.
        manifests: Yields every manifest of the store, for making the index again.
        report: Called with a sentence when the index was damaged.
    """

    def __init__(
        self, staging: Staging, manifests: Callable[[], Iterable[Manifest]], report: Callable[[str], None]
    ) -> None:
        """Open nothing yet."""
        self._manifests = manifests
        self._database = Database(staging, lambda: map(_row, manifests()), report)

    def close(self) -> None:
        """Close the connection; the next use opens it again."""
        self._database.close()

    def add_snapshots(self, manifests: Iterable[Manifest]) -> None:
        """Enter snapshots; those that are there keep their use times."""
        self._database.write(INSERT_SNAPSHOT, [_row(manifest) for manifest in manifests])

    def drop_snapshots(self, gone: Iterable[tuple[ConeKey, OutputId]]) -> None:
        """Remove snapshots from the index."""
        self._database.write("DELETE FROM snapshots WHERE key = ? AND output = ?", list(gone))

    def snapshots(self) -> set[tuple[ConeKey, OutputId]]:
        """Return key and output of every snapshot in the index."""
        return {(key, output) for key, output in self._database.read("SELECT key, output FROM snapshots")}

    def by_name(self, name: PackageName) -> list[SnapshotRecord]:
        """Return the snapshots of a package, the newest first."""
        rows = self._database.read(f"{_SELECT_SNAPSHOTS} WHERE name = ?{_NEWEST_FIRST}", (name,))
        return [SnapshotRecord(*row) for row in rows]

    def records(self) -> list[SnapshotRecord]:
        """Return every snapshot, the newest first."""
        return [SnapshotRecord(*row) for row in self._database.read(_SELECT_SNAPSHOTS + _NEWEST_FIRST)]

    def totals(self) -> tuple[int, int, int]:
        """Return how many snapshots there are, of how many packages, and the bytes of all their files."""
        ((snapshots, packages, size),) = self._database.read(
            "SELECT count(*), count(DISTINCT name), coalesce(sum(size), 0) FROM snapshots"
        )
        return snapshots, packages, size

    def touch(self, used: Iterable[tuple[ConeKey, OutputId]], now: int) -> None:
        """Record a use of each snapshot, in one transaction."""
        self._database.write(
            "UPDATE snapshots SET last_used = max(last_used, ?), uses = uses + 1"
            " WHERE key = ? AND output = ?",
            [(now, key, output) for key, output in used],
        )

    def installed(self, prefix: str) -> dict[PackageName, InstalledRecord]:
        """Return what is recorded under ``prefix``, by name."""
        rows = self._database.read(
            "SELECT name, version, key, output, changes_digest FROM installed WHERE prefix = ? ORDER BY name",
            (prefix,),
        )
        return {row[0]: InstalledRecord(*row) for row in rows}

    def record_installed(self, prefix: str, records: Sequence[InstalledRecord]) -> None:
        """Record packages under ``prefix``, replacing what was there under their names."""
        self._database.write(
            "INSERT OR REPLACE INTO installed (prefix, name, version, key, output, changes_digest)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            [(prefix, it.name, it.version, it.key, it.output, it.changes_digest) for it in records],
        )

    def forget_installed(self, prefix: str, names: Iterable[PackageName]) -> None:
        """Drop records of packages under ``prefix``."""
        self._database.write(
            "DELETE FROM installed WHERE prefix = ? AND name = ?", [(prefix, name) for name in names]
        )

    def record_events(self, events: Sequence[Event]) -> None:
        """Append to the statistics."""
        self._database.write(
            "INSERT INTO events (time, prefix, package, key, result, reason, seconds, bytes, source_bytes)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [event.row() for event in events],
        )

    def events(self, since: int = 0) -> list[Event]:
        """Return the events from ``since`` (seconds since 1970) on, the oldest first."""
        rows = self._database.read(
            "SELECT time, prefix, package, key, result, reason, seconds, bytes, source_bytes FROM events"
            " WHERE time >= ? ORDER BY time, rowid",
            (since,),
        )
        return [Event.from_row(row) for row in rows]

    def last_events(self, prefix: str) -> dict[str, Event]:
        """Return for each ``name.version`` how it last came to be under ``prefix``: as a hit, or built."""
        rows = self._database.read(
            "SELECT time, prefix, package, key, result, reason, seconds, bytes, source_bytes FROM events"
            " WHERE prefix = ? AND result IN (?, ?) ORDER BY time, rowid",
            (prefix, str(Result.HIT), str(Result.BUILT)),
        )
        return {event.package: event for event in map(Event.from_row, rows)}

    def cached(self, namespace: str, keys: Iterable[str]) -> dict[str, bytes]:
        """Return those of ``keys`` that a cache holds."""
        wanted = list(dict.fromkeys(keys))
        found: dict[str, bytes] = {}
        for start in range(0, len(wanted), KEYS_AT_ONCE):
            part = wanted[start : start + KEYS_AT_ONCE]
            marks = ",".join("?" * len(part))
            statement = f"SELECT key, value FROM caches WHERE namespace = ? AND key IN ({marks})"  # noqa: S608 (marks)
            found.update(self._database.read(statement, (namespace, *part)))
        return found

    def cache(self, namespace: str, values: Mapping[str, bytes], now: int) -> None:
        """Put values into a cache, replacing older ones; ``now`` is in seconds since 1970."""
        rows: list[Row] = [(namespace, key, value, now) for key, value in values.items()]
        self._database.write(
            "INSERT OR REPLACE INTO caches (namespace, key, value, stored_at) VALUES (?, ?, ?, ?)", rows
        )

    def trim_caches(self, before: int) -> None:
        """Drop cached values stored before ``before``, in seconds since 1970."""
        self._database.write("DELETE FROM caches WHERE stored_at < ?", [(before,)])

    def rebuild(self) -> int:
        """Enter every manifest and drop snapshots that have none; use times and the rest stay.

        Returns:
            How many snapshots there are.
        """
        rows = [_row(manifest) for manifest in self._manifests()]
        there = {(row[0], row[1]) for row in rows}
        self.drop_snapshots(self.snapshots() - there)
        self._database.write(INSERT_SNAPSHOT, rows)
        return len(there)


def _row(manifest: Manifest) -> Row:
    return (
        manifest.key,
        manifest.output,
        manifest.package.name,
        manifest.package.version,
        manifest.size,
        manifest.build.built_at,
    )
