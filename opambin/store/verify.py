"""Looking through a whole store for damage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from opambin.errors import BadDataError

if TYPE_CHECKING:
    from opambin.model import Digest, Manifest
    from opambin.store.store import Store


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What :func:`verify` found.

    Attributes:
        manifests: How many manifests were read.
        objects: How many objects were looked at.
        unnamed: How many of them no manifest names.
        hashed_bytes: How much was hashed; 0 unless it was a full run.
        missing: Digests that a manifest names and that are not there.
        problems: Everything that was wrong, one sentence each; bad manifests and objects are in quarantine.
    """

    manifests: int
    objects: int
    unnamed: int
    hashed_bytes: int
    missing: tuple[Digest, ...]
    problems: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing was wrong."""
        return not (self.missing or self.problems)


def verify(store: Store, *, full: bool) -> VerifyReport:
    """Read every manifest, look at every object, and bring the index in line.

    Damaged objects and manifests go to quarantine, and so does a manifest that lost an object: it can't be
    restored, and a source build would otherwise not replace it.

    Args:
        store: To look through; when it is read-only nothing is moved.
        full: Hash every object, not only those whose size or time does not fit.
    """
    before = len(store.problems)
    run = _Run(store, full)
    manifests = list(store.manifests.all())
    for manifest in manifests:
        run.look_at(manifest)
    unnamed = run.look_at_unnamed()
    if not store.staging.readonly:
        store.index.rebuild()
    return VerifyReport(
        manifests=len(manifests),
        objects=len(run.seen),
        unnamed=unnamed,
        hashed_bytes=run.hashed,
        missing=tuple(sorted(run.missing)),
        problems=tuple(store.problems[before:]),
    )


class _Run:
    """One pass: every object is looked at once, however many manifests name it."""

    def __init__(self, store: Store, full: bool) -> None:
        self.store = store
        self.full = full
        self.seen: dict[tuple[Digest, bool, int], str] = {}
        self.missing: set[Digest] = set()
        self.hashed = 0

    def look_at(self, manifest: Manifest) -> None:
        """Look at the objects of a manifest."""
        wrong = ""
        for digest, executable, size in manifest.objects:
            wrong = self._problem(digest, executable, size) or wrong
        if wrong:
            path = self.store.layout.manifest(manifest.key, manifest.output)
            self.store.manifests.quarantine(path, f"{path}: {manifest.package} can't be restored: {wrong}")

    def look_at_unnamed(self) -> int:
        """Look at objects that no manifest names, and return how many there are."""
        named = {(digest, executable) for digest, executable, _ in self.seen}
        unnamed = [it for it in self.store.objects.all() if (it.digest, it.executable) not in named]
        for found in unnamed:
            self._problem(found.digest, found.executable, found.size)
        return len(unnamed)

    def _problem(self, digest: Digest, executable: bool, size: int) -> str:
        """Say what is wrong with an object; empty when nothing is."""
        known = self.seen.get((digest, executable, size))
        if known is not None:
            return known
        problem = ""
        try:
            if self.full:
                self.hashed += self.store.objects.check(digest, executable=executable, size=size)
            else:
                self.store.objects.path(digest, executable=executable, size=size)
        except BadDataError as error:
            problem = str(error)
            if not self.store.layout.object(digest, executable=executable).exists():
                self.missing.add(digest)
        self.seen[digest, executable, size] = problem
        return problem
