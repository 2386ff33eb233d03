"""From the store to a remote: archives first, the largest first, then the slots that name them.

Rules:

* What a reader can find is complete: a slot is written only when its archive, and those of the outputs that
  it was built against, are there.
* The first writer wins. An output that the remote has already, with a statement that this client accepts, is
  left alone; a slot with another output stays, and the next one is taken.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from opambin.archive.tarform import unique
from opambin.archive.writer import Source as ObjectSource
from opambin.archive.writer import write_archive
from opambin.errors import BadDataError, OpambinError, UnavailableError
from opambin.exchange import names
from opambin.exchange.meter import Silent
from opambin.exchange.selection import needs
from opambin.remote.protocol import FORMAT, FORMAT_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from opambin.archive.writer import Written
    from opambin.exchange.meter import Meter
    from opambin.exchange.signing import Signer
    from opambin.exchange.sources import Source
    from opambin.model import ConeKey, Manifest
    from opambin.store.store import Store

AT_ONCE = 3
FULL = f"its key has {names.MAX_SLOTS} outputs already"


@dataclass(slots=True)
class Pushed:
    """What a push did.

    Attributes:
        pushed: Snapshots that are on the remote now.
        there: Those that were there before.
        failed: ``NAME.VERSION`` to why it is not there.
        bytes: What was transferred.
        seconds: How long it took.
    """

    pushed: list[Manifest] = field(default_factory=list)
    there: list[Manifest] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    bytes: int = 0
    seconds: float = 0.0


def push(store: Store, manifests: Sequence[Manifest], source: Source, signer: Signer, meter: Meter) -> Pushed:
    """Put snapshots on a remote.

    Args:
        store: Where they are.
        manifests: They, dependencies first.
        source: The remote.
        signer: Signs the statements.
        meter: Shown the progress.

    Raises:
        UnavailableError: The remote does not answer, or can't be written.
    """
    begun = time.monotonic()
    run = _Push(store, source, signer, meter)
    run.look(manifests)
    run.upload([manifest for manifest in manifests if manifest not in run.done.there])
    run.done.seconds = time.monotonic() - begun
    return run.done


def compare(store: Store, manifests: Sequence[Manifest], source: Source, signer: Signer) -> Pushed:
    """Say what a push would do: what it would put there counts as pushed."""
    run = _Push(store, source, signer, Silent())
    run.look(manifests)
    run.done.pushed += [
        manifest
        for manifest in manifests
        if manifest not in run.done.there and str(manifest.package) not in run.done.failed
    ]
    return run.done


class _Push:
    """One push."""

    def __init__(self, store: Store, source: Source, signer: Signer, meter: Meter) -> None:
        self._store = store
        self._source = source
        self._signer = signer
        self._meter = meter
        self._taken: dict[ConeKey, int] = {}  # by key: how many slots are taken
        self.done = Pushed()

    def look(self, manifests: Iterable[Manifest]) -> None:
        """Find out what the remote has already."""
        waiting: dict[ConeKey, list[Manifest]] = {}
        for manifest in manifests:
            waiting.setdefault(manifest.key, []).append(manifest)
        for number in range(names.MAX_SLOTS):
            slots = {key: names.slot(key, number) for key in waiting}
            answers = self._source.remote.get_many(slots.values(), limit=names.MAX_STATEMENT_BYTES)
            for key, name in slots.items():
                data = answers.get(name)
                if data is None:
                    self._taken[key] = number
                    del waiting[key]
                    continue
                there = [manifest for manifest in waiting[key] if self._source.says(data, manifest)]
                self.done.there += there
                waiting[key] = [manifest for manifest in waiting[key] if manifest not in there]
                if not waiting[key]:
                    del waiting[key]
            if not waiting:
                return
        for manifest in (manifest for group in waiting.values() for manifest in group):
            self.done.failed[str(manifest.package)] = FULL

    def upload(self, manifests: Sequence[Manifest]) -> None:
        """Write archives and then slots."""
        from concurrent.futures import ThreadPoolExecutor

        wanted = [manifest for manifest in manifests if str(manifest.package) not in self.done.failed]
        if not wanted:
            return
        self._source.remote.put(FORMAT_NAME, FORMAT)
        largest_first = sorted(wanted, key=lambda manifest: -manifest.size)
        self._meter.begin("pushing", len(wanted), sum(manifest.size for manifest in wanted))
        written: dict[str, Written] = {}
        # Not under the name of a draft: gc leaves it alone for a day, and need not wait for us.
        folders = tempfile.TemporaryDirectory(prefix=f"push-{os.getpid()}-", dir=self._store.layout.tmp)
        with folders as folder, ThreadPoolExecutor(min(AT_ONCE, len(wanted))) as pool:
            results = pool.map(lambda manifest: self._archive(manifest, Path(folder)), largest_first)
            for manifest, result in zip(largest_first, results, strict=True):
                if result is not None:
                    written[manifest.key + manifest.output] = result
        self._meter.finish()
        for manifest in wanted:
            found = written.get(manifest.key + manifest.output)
            if found is not None:
                self._slot(manifest, found)

    def _archive(self, manifest: Manifest, folder: Path) -> Written | None:
        """Write the archive of a snapshot and put it on the remote."""
        path = folder / f"{manifest.key[:16]}-{manifest.output[:16]}"
        try:
            data = self._store.manifests.read_bytes(manifest.key, manifest.output)
            sources = [
                ObjectSource(it, self._store.objects.path(it.digest, executable=it.executable, size=it.size))
                for it in unique(manifest.objects)
            ]
            with path.open("xb") as stream:
                written = write_archive(data, sources, stream)
            if self._source.remote.put(names.archive(written.digest), path):
                self.done.bytes += written.size
        except OpambinError as error:
            self.done.failed[str(manifest.package)] = str(error)
            return None
        except OSError as error:
            self.done.failed[str(manifest.package)] = f"{path} can't be written: {error.strerror}"
            return None
        finally:
            path.unlink(missing_ok=True)
        self._meter.advance(manifest.size)
        return written

    def _slot(self, manifest: Manifest, written: Written) -> None:
        """Write the slot of a snapshot whose archive is there, unless something that it needs is not."""
        package = str(manifest.package)
        wanted = {str(name) for name, _ in needs(manifest)}
        broken = next((other for other in self.done.failed if other.partition(".")[0] in wanted), None)
        if broken:
            self.done.failed[package] = f"it needs {broken}, which could not be pushed"
            return
        try:
            manifest_bytes = self._store.manifests.read_bytes(manifest.key, manifest.output)
            data = self._signer.envelope(manifest, manifest_bytes, written)
            for number in range(self._taken.get(manifest.key, 0), names.MAX_SLOTS):
                name = names.slot(manifest.key, number)
                if self._source.remote.put(name, data):
                    self.done.pushed.append(manifest)
                    return
                there = self._source.remote.get(name, limit=names.MAX_STATEMENT_BYTES)
                if there is not None and self._source.says(there, manifest):
                    self.done.there.append(manifest)  # another one was faster
                    return
            raise UnavailableError(FULL)
        except (BadDataError, UnavailableError) as error:
            self.done.failed[package] = str(error)
