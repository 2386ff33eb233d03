"""One store, opened: what the workflows use."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from opambin.errors import BadDataError, MisuseError, UnavailableError
from opambin.model import ConeKey, FileType, Manifest, OutputId, PackageName
from opambin.store import layout as layouts
from opambin.store.index import Index
from opambin.store.layout import Layout
from opambin.store.manifests import Manifests
from opambin.store.objects import Objects
from opambin.store.permissions import Sharing, check
from opambin.store.records import Event, InstalledRecord, Result, SnapshotRecord, StoreSize
from opambin.store.staging import Staging

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["Event", "InstalledRecord", "Result", "SnapshotRecord", "Store", "StoreSize"]


class Store:
    """A store; make one with :meth:`open`.

    Attributes:
        layout: Its paths.
        objects: File contents.
        manifests: Snapshots.
        index: Use times, installed packages, statistics; derived data as far as snapshots go.
        problems: Bad data met since it was opened, one sentence each.
    """

    def __init__(self, staging: Staging) -> None:
        """Put the parts together; nothing is read or written."""
        self.layout: Layout = staging.layout
        self.problems: list[str] = []
        self.staging = staging
        self.objects = Objects(staging, self.problems.append)
        self.manifests = Manifests(staging, self.problems.append)
        self.index = Index(staging, self.manifests.all, self.problems.append)

    @classmethod
    def open(
        cls,
        root: Path,
        *,
        create: bool = True,
        readonly: bool = False,
        fsync: bool = False,
        sharing: Sharing | None = None,
    ) -> Store:
        """Open the store at ``root``.

        Args:
            root: Its directory, absolute.
            create: Make it when it is not there.
            readonly: Never write, and refuse to.
            fsync: Wait for the disk on every write.
            sharing: With whom it may be shared; None does not look at owners and permissions.

        Raises:
            BadDataError: Its format is not known.
            MisuseError: ``root`` is relative, or is a directory of something else, or others could write to
            it.
            UnavailableError: It is not there and may not be made, or can't be read or made.
        """
        if not root.is_absolute():
            raise MisuseError(f"the store's directory must be absolute: {root}")
        layout = Layout(root)
        if sharing is not None and not check(root, sharing):
            readonly = True
        if not layouts.check_format(layout):
            if readonly or not create:
                raise UnavailableError(
                    f"there is no store at {root} yet; the first build that is captured makes it"
                )
            layouts.create(layout, group=sharing is Sharing.GROUP)
            layouts.check_format(layout)
        return cls(Staging(layout, readonly=readonly, fsync=fsync))

    def close(self) -> None:
        """Close the index."""
        self.index.close()

    def __enter__(self) -> Store:
        """Return the store itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the store."""
        self.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep gc out for the block: hold it from the first object of a snapshot to its manifest."""
        self.staging.refuse_if_readonly()
        with self.staging.lock.shared():
            yield

    def add(self, manifest: Manifest) -> bool:
        """Store a manifest whose objects are there, and put it into the index.

        Returns:
            True when the key had no such output before.

        Raises:
            BadDataError: An object is missing or damaged, or the manifest is bad; nothing was written.
            UnavailableError: The store can't be written.
        """
        with self.writing():
            for entry in manifest.files:
                if entry.type is FileType.FILE and entry.digest is None:
                    raise BadDataError(entry.path, "a file without digest in a manifest")
            for digest, executable, size in manifest.objects:
                self.objects.path(digest, executable=executable, size=size)
            new = self.manifests.put(manifest)
            self.index.add_snapshots([manifest])
        return new

    def drop(self, key: ConeKey, output: OutputId) -> None:
        """Remove a snapshot; its objects stay until gc finds them unused.

        Raises:
            UnavailableError: The store can't be written.
        """
        with self.writing():
            self.manifests.remove(key, output)
            self.index.drop_snapshots([(key, output)])

    def outputs(self, key: ConeKey) -> list[Manifest]:
        """Return every usable manifest of ``key``; bad ones are in :attr:`problems`."""
        return self.manifests.outputs(key)

    def by_name(self, name: PackageName) -> list[SnapshotRecord]:
        """Return what is known of every snapshot of a package, the newest first."""
        return self.index.by_name(name)

    def installed(self, prefix: str) -> Mapping[PackageName, InstalledRecord]:
        """Return what was recorded as installed under ``prefix``."""
        return self.index.installed(prefix)

    def record_installed(self, prefix: str, records: Sequence[InstalledRecord]) -> None:
        """Record packages as installed under ``prefix``; an earlier record of the same name is replaced."""
        self.index.record_installed(prefix, records)

    def forget_installed(self, prefix: str, names: Iterable[PackageName]) -> None:
        """Drop what was recorded of packages under ``prefix``."""
        self.index.forget_installed(prefix, names)

    def touch(self, used: Iterable[tuple[ConeKey, OutputId]], now: int) -> None:
        """Record that snapshots were used.

        Args:
            used: Keys and outputs.
            now: Seconds since 1970.
        """
        self.index.touch(used, now)

    def record_events(self, events: Sequence[Event]) -> None:
        """Record hits, misses, builds and refusals for the statistics."""
        self.index.record_events(events)

    def size(self) -> StoreSize:
        """Return how much the store holds; walks all objects."""
        manifests = [path.stat().st_size for path in self.manifests.paths()]
        objects = [found.size for found in self.objects.all()]
        quarantine = sum(path.lstat().st_size for path in self.layout.quarantine.glob("*"))
        return StoreSize(len(manifests), len(objects), sum(objects), sum(manifests), quarantine)
