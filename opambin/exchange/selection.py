"""Which snapshots of the store are meant, what they need, and which had better stay here."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from opambin import foreign
from opambin.errors import MisuseError
from opambin.model import ConeKey, OutputId, PackageName

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from opambin.model import Manifest
    from opambin.store.store import Store

MIN_KEY_DIGITS = 8


class Doubt(StrEnum):
    """Why a snapshot is not given to others unless asked for."""

    PINNED = "pinned"
    DEV = "dev"
    ADOPTED = "adopted"
    DIRTY = "dirty"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user asks for.

    Attributes:
        names: ``NAME``, ``NAME.VERSION``, or the first digits of a key.
        prefixes: Of switches.
        everything: Whether all of the store is meant.
        closure: Whether what was only needed to build is meant as well.
        include: Doubts that do not count.
    """

    names: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    everything: bool = False
    closure: bool = False
    include: frozenset[Doubt] = frozenset()


@dataclass(slots=True)
class Selection:
    """What is meant.

    Attributes:
        manifests: The snapshots, dependencies first.
        left: ``NAME.VERSION`` to why it stays here.
        missing: What is needed and can't be had here, in words.
    """

    manifests: list[Manifest] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


def select(store: Store, wanted: Wanted) -> Selection:
    """Find the snapshots that are meant and those that they need.

    Raises:
        MisuseError: A name has no snapshot, or nothing was named.
    """
    return with_dependencies(store, named(store, wanted), wanted)


def named(store: Store, wanted: Wanted) -> list[Manifest]:
    """Find the snapshots that are meant, without what they need; raises as :func:`select` does."""
    if not (wanted.names or wanted.prefixes or wanted.everything):
        raise MisuseError("name packages, or give --switch or --all")
    found = list(store.manifests.all()) if wanted.everything else []
    for name in wanted.names:
        found += _by_name(store, name)
    for prefix in wanted.prefixes:
        found += _by_prefix(store, prefix)
    return found


def with_dependencies(store: Store, manifests: Iterable[Manifest], wanted: Wanted) -> Selection:
    """Add what snapshots need to run, or with ``closure`` all that they were built with."""
    walk = _Walk(store, wanted)
    for manifest in manifests:
        walk.visit(manifest)
    return walk.selection


def _by_name(store: Store, name: str) -> list[Manifest]:
    package, _, version = name.partition(".")
    records = store.by_name(PackageName(package))
    if not records and len(name) >= MIN_KEY_DIGITS and set(name) <= set("0123456789abcdef"):
        records = [record for record in store.index.records() if record.key.startswith(name)]
        found = [store.manifests.get(record.key, record.output) for record in records]
    else:
        records = [record for record in records if version in ("", record.version)]
        found = [store.manifests.get(record.key, record.output) for record in records[:1]]
    manifests = [manifest for manifest in found if manifest is not None]
    if not manifests:
        raise MisuseError(f"no snapshot of {name} is in the store")
    return manifests


def _by_prefix(store: Store, prefix: str) -> Iterator[Manifest]:
    records = store.installed(prefix)
    if not records:
        raise MisuseError(f"nothing is on record as installed in {prefix}")
    for record in records.values():
        manifest = store.manifests.get(record.key, record.output)
        if manifest is not None:
            yield manifest


def doubts(manifest: Manifest) -> Mapping[Doubt, str]:
    """Say why others may not want a snapshot; empty when nothing speaks against it."""
    inputs = json.loads(manifest.inputs) if manifest.inputs else {}
    flags, source = inputs.get("flags", {}), inputs.get("source", "")
    found: dict[Doubt, str] = {}
    if flags.get("pinned") or source.startswith("tree="):
        found[Doubt.PINNED] = "it was built from a pin"
    elif flags.get("dev") or source.startswith("git="):
        found[Doubt.DEV] = "it was built from a version under development"
    if manifest.build.adopted:
        found[Doubt.ADOPTED] = "it was taken from a switch that was built without opam-bin"
    elif not manifest.build.padded:
        found[Doubt.DIRTY] = "it was built without padding"
    environment = inputs.get("environment", {})
    if environment:
        found[Doubt.DIRTY] = f"{', '.join(sorted(environment))} was set when it was built"
    return found


def needs(manifest: Manifest) -> list[tuple[PackageName, OutputId]]:
    """Return the outputs of other packages that a snapshot was built against."""
    own = manifest.package.name
    return [
        (wanted.provider, wanted.output)
        for wanted in manifest.imports
        if wanted.provider != own and wanted.output is not None
    ]


def dependency_keys(manifest: Manifest) -> dict[PackageName, ConeKey]:
    """Return the keys of what a snapshot was built with, directly."""
    inputs = json.loads(manifest.inputs) if manifest.inputs else {}
    return {PackageName(name): ConeKey(key) for name, key in inputs.get("dependencies", {}).items()}


class _Walk:
    """From snapshots to those below them, each once."""

    def __init__(self, store: Store, wanted: Wanted) -> None:
        self._store = store
        self._wanted = wanted
        self._seen: dict[tuple[ConeKey, OutputId], str] = {}
        self._cache: dict[ConeKey, Sequence[Manifest]] = {}
        self.selection = Selection()

    def visit(self, manifest: Manifest) -> str:
        """Take a snapshot with what it needs; returns why it is not taken."""
        at = (manifest.key, manifest.output)
        if at in self._seen:
            return self._seen[at]
        self._seen[at] = ""  # cones have no cycles
        reason = self._reason(manifest)
        self._seen[at] = reason
        if reason:
            self.selection.left[str(manifest.package)] = reason
        else:
            self.selection.manifests.append(manifest)
        return reason

    def _reason(self, manifest: Manifest) -> str:
        for doubt, words in doubts(manifest).items():
            if doubt not in self._wanted.include:
                return f"{words} (--include-{doubt} takes it)"
        refused = foreign.problems(manifest)
        if refused:
            return f"others would refuse it: {refused[0]}"
        cone = self._cone(manifest)
        for name, output in needs(manifest):
            below = self._output(name, output, cone)
            if below is None:
                self._miss(manifest, f"{name} (output {output[:12]})")
                continue
            reason = self.visit(below)
            if reason:
                return f"it needs {below.package}: {reason}"
        if self._wanted.closure:
            self._visit_all(manifest, cone)
        return ""

    def _visit_all(self, manifest: Manifest, cone: Mapping[PackageName, ConeKey]) -> None:
        imported = dict(needs(manifest))
        for name, key in cone.items():
            if name in imported:
                continue
            outputs = self._outputs(key)
            if outputs:
                self.visit(max(outputs, key=lambda found: found.build.built_at))
            else:
                self._miss(manifest, str(name))

    def _cone(self, manifest: Manifest) -> dict[PackageName, ConeKey]:
        """Return the keys of everything below a snapshot, as far as the store knows it."""
        found: dict[PackageName, ConeKey] = {}
        waiting: list[Manifest] = [manifest]
        while waiting:
            for name, key in dependency_keys(waiting.pop()).items():
                if name not in found:
                    found[name] = key
                    waiting += self._outputs(key)[:1]
        return found

    def _outputs(self, key: ConeKey) -> Sequence[Manifest]:
        found = self._cache.get(key)
        if found is None:
            found = self._cache[key] = self._store.outputs(key)
        return found

    def _output(
        self, name: PackageName, output: OutputId, cone: Mapping[PackageName, ConeKey]
    ) -> Manifest | None:
        key = cone.get(name)
        found = self._outputs(key) if key is not None else ()
        return next((manifest for manifest in found if manifest.output == output), None)

    def _miss(self, manifest: Manifest, what: str) -> None:
        line = f"{manifest.package} needs {what}, which is not in the store"
        if line not in self.selection.missing:
            self.selection.missing.append(line)
