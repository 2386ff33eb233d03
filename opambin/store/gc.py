"""Removing what nobody needs: objects without a manifest, and what killed writers left in ``tmp/``.

Rules:

* The sweep holds the store's lock alone, so no put is running and every draft in ``tmp/`` is a dead one.
* An object younger than :data:`MIN_AGE` stays: its writer may have more to put before the manifest. The age
  is by ctime, which a put renews when it finds the object there already.
* When a manifest can't be read (which is not the same as bad), nothing is removed.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opambin.errors import BadDataError
from opambin.store.faults import store_faults
from opambin.store.staging import DRAFT_PREFIX

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from opambin.model import ConeKey, Digest, OutputId
    from opambin.store.store import Store

MIN_AGE = 3600.0  # seconds
FOREIGN_TMP_AGE = 86_400.0  # seconds; for files in tmp/ that no put of ours made
LOCK_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class GcReport:
    """What :func:`collect` removed, or would have.

    Attributes:
        objects: Objects removed.
        object_bytes: Their size.
        leftovers: Files and directories removed from ``tmp/``.
        young: Objects that nothing names and that were too young to go.
        dry_run: True when nothing was touched.
    """

    objects: int
    object_bytes: int
    leftovers: int
    young: int
    dry_run: bool


def collect(
    store: Store,
    *,
    now: float,
    dry_run: bool = False,
    timeout: float = LOCK_SECONDS,
    without: Collection[tuple[ConeKey, OutputId]] = (),
) -> GcReport:
    """Remove unnamed objects and leftovers.

    Args:
        store: To clean.
        now: Seconds since 1970.
        dry_run: Only count, without taking the lock.
        timeout: How long to wait for writers, in seconds.
        without: Snapshots to count as gone, for a dry run.

    Raises:
        UnavailableError: Writers were still there after that, or something can't be read or removed.
    """
    names = _Names(store, dry_run)
    names.skip({store.layout.manifest(key, output) for key, output in without})
    names.read_new()
    if dry_run:
        return _sweep(store, names, now, dry_run=True)
    store.staging.refuse_if_readonly()
    with store.staging.lock.exclusive(timeout):
        names.read_new()  # most was read before the lock: writers wait for the few that came since
        return _sweep(store, names, now, dry_run=False)


class _Names:
    """The objects that manifests name."""

    def __init__(self, store: Store, dry_run: bool) -> None:
        self.store = store
        self.dry_run = dry_run
        self.objects: set[tuple[Digest, bool]] = set()
        self._read: set[Path] = set()

    def skip(self, paths: Iterable[Path]) -> None:
        """Count what these manifests name as not named."""
        self._read.update(paths)

    def read_new(self) -> None:
        """Read the manifests that were not read before."""
        for path in self.store.manifests.paths():
            if path not in self._read:
                self._read.add(path)
                self._read_one(path)

    def _read_one(self, path: Path) -> None:
        try:
            manifest = self.store.manifests.load(path)
        except BadDataError as error:
            if self.dry_run:
                self.store.problems.append(str(error))
            else:
                self.store.manifests.quarantine(path, str(error))
            return
        for digest, executable, _ in manifest.objects if manifest else ():
            self.objects.add((digest, executable))


def _sweep(store: Store, names: _Names, now: float, *, dry_run: bool) -> GcReport:
    unnamed = [it for it in store.objects.all() if (it.digest, it.executable) not in names.objects]
    old = [found for found in unnamed if now - found.changed > MIN_AGE]
    leftovers = _leftovers(store.layout.tmp, now)
    if not dry_run:
        with store_faults(store.layout.root):
            for found in old:
                store.layout.object(found.digest, executable=found.executable).unlink(missing_ok=True)
            for path in leftovers:
                _remove(path)
        _remove_empty_keys(store.layout.manifests)
    return GcReport(len(old), sum(it.size for it in old), len(leftovers), len(unnamed) - len(old), dry_run)


def _leftovers(tmp: Path, now: float) -> list[Path]:
    found = []
    with suppress(FileNotFoundError):  # a store without tmp/ has no leftovers
        for path in sorted(tmp.iterdir()):
            with suppress(FileNotFoundError):  # in a dry run writers come and go
                age = now - path.lstat().st_ctime
                if age > FOREIGN_TMP_AGE or path.name.startswith(DRAFT_PREFIX):
                    found.append(path)
    return found


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        import shutil

        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _remove_empty_keys(manifests: Path) -> None:
    """Remove directories that a killed quarantine left: a key with a directory is taken to have an output."""
    for folder in manifests.glob("*/*"):
        with suppress(OSError):  # not empty: in use
            folder.rmdir()
