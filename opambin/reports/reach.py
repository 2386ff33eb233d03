"""How far packages can be moved, each alone and with everything that it needs at run time."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opambin import gather, request
from opambin.errors import MisuseError, UnavailableError
from opambin.model import Bound, ConeKey, Package, PackageName
from opambin.move.survey import Owners
from opambin.opam import formula
from opambin.opam.parser import parse
from opambin.relocate import analysis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from opambin.context import Context
    from opambin.model import FileEntry, Manifest, Occurrence
    from opambin.opam.filters import Value
    from opambin.store.store import Store


@dataclass(frozen=True, slots=True)
class Limit:
    """A file that limits how far a package can be moved.

    Attributes:
        package: Whose file it is.
        path: Relative to the prefix.
        reason: What was found, in words.
        longest: The longest prefix it can be moved to, in bytes; 0 when it can't be moved at all.
    """

    package: str
    path: str
    reason: str
    longest: int


@dataclass(frozen=True, slots=True)
class Reach:
    """How far one package can be moved.

    Attributes:
        package: Name and version.
        source: What was looked at: ``snapshot`` or ``files``.
        own: What limits it alone, the tightest first.
        closure: The packages that it needs at run time, direct and indirect.
        all: What limits it together with these, the tightest first.
        unknown: Packages of the closure that could not be looked at.
    """

    package: Package
    source: str
    own: tuple[Limit, ...]
    closure: tuple[str, ...]
    all: tuple[Limit, ...]
    unknown: tuple[str, ...] = ()

    @property
    def alone(self) -> int | None:
        """The longest prefix for the package alone, in bytes; 0 when it is bound, None for any."""
        return _longest(self.own)

    @property
    def together(self) -> int | None:
        """The longest prefix for it and its closure; 0 when one is bound, None for any."""
        return _longest(self.all)


@dataclass(frozen=True, slots=True)
class _Seen:
    """A package that was looked at."""

    package: Package
    source: str
    limits: tuple[Limit, ...]


def of_switch(context: Context, names: Sequence[str]) -> list[Reach]:
    """Look at packages of a switch: at their snapshots, or at their files where none is on record.

    Args:
        context: The switch and the store.
        names: Packages; none means all.

    Raises:
        MisuseError: One of them is not installed.
        UnavailableError: A file can't be read.
    """
    installed = context.switch.state().installed
    unknown = [name for name in names if PackageName(name) not in installed]
    if unknown:
        raise MisuseError(f"not installed in switch {context.switch.name}: {', '.join(unknown)}")
    everything = [Package(name, version) for name, version in installed.items()]
    definitions = gather.Definitions(context, [])
    around = gather.surroundings(context, [definitions.file(package) for package in everything])
    universe = gather.universe(context, installed, definitions, request.parse([], {}), around)
    owners = Owners.of(context)
    seen: dict[PackageName, _Seen | None] = {}

    def look(name: PackageName) -> _Seen | None:
        if name not in seen:
            seen[name] = _installed(context, owners, Package(name, installed[name]))
        return seen[name]

    wanted = sorted(PackageName(name) for name in names) or sorted(installed)
    return [_reach(name, universe.runtime_closure(name), look) for name in wanted]


def of_store(store: Store, names: Iterable[str]) -> list[Reach]:
    """Look at the newest snapshot of packages, and at those of what it was built with.

    Args:
        store: Where they are.
        names: ``NAME`` or ``NAME.VERSION``.

    Raises:
        MisuseError: The store has no such package.
        BadDataError: It has, but it is bad.
    """
    from opambin.reports.holdings import snapshots

    return [_of_snapshot(store, snapshots(store, name)[0]) for name in names]


def limits_of(package: str, files: Iterable[FileEntry], bound: Iterable[Bound]) -> tuple[Limit, ...]:
    """Return what limits a snapshot, one limit for each file and reason, the tightest first."""
    found = [Limit(package, item.path, item.reason, item.max_prefix or 0) for item in bound]
    for entry in files:
        found += _capacities(package, entry.path, entry.occurrences)
    return _sorted(found)


def _capacities(package: str, path: str, occurrences: Iterable[Occurrence]) -> list[Limit]:
    rooms = [
        (found.capacity, str(found.kind), found.where)
        for found in occurrences
        if found.functional and found.capacity is not None
    ]
    if not rooms:
        return []
    capacity, kind, where = min(rooms)
    return [Limit(package, path, f"room in a {kind}{f' of {where}' if where else ''}", capacity)]


def _longest(limits: Iterable[Limit]) -> int | None:
    return min((limit.longest for limit in limits), default=None)


def _sorted(limits: Iterable[Limit]) -> tuple[Limit, ...]:
    return tuple(
        sorted(set(limits), key=lambda limit: (limit.longest, limit.package, limit.path, limit.reason))
    )


def _reach(
    name: PackageName, closure: Sequence[PackageName], look: Callable[[PackageName], _Seen | None]
) -> Reach:
    own = look(name)
    if own is None:
        raise UnavailableError(f"{name} can't be looked at: opam has no list of its files")
    below = {other: look(other) for other in closure}
    known = [found for found in below.values() if found is not None]
    return Reach(
        own.package,
        own.source,
        own.limits,
        tuple(str(found.package) for found in known),
        _sorted([*own.limits, *(limit for found in known for limit in found.limits)]),
        tuple(str(other) for other, found in below.items() if found is None),
    )


def _installed(context: Context, owners: Owners, package: Package) -> _Seen | None:
    """Look at an installed package; None when opam has no list of its files."""
    record = context.record(package.name, package.version)
    if record is not None and context.store is not None:
        manifest = context.store.manifests.get(record.key, record.output)
        if manifest is not None:
            return _Seen(package, "snapshot", limits_of(str(package), manifest.files, manifest.bound))
    changes = owners.changes.get(package.name)
    if changes is None:
        return None
    found: list[Limit] = []
    for path in changes.added():
        full = context.switch.prefix / path
        if full.is_symlink() or not full.is_file():
            continue
        try:
            data = full.read_bytes()
        except OSError as error:
            raise UnavailableError(f"{full} can't be read: {error.strerror}") from error
        kept = owners.keeps_length(path)
        seen = analysis.analyse(data, context.spelling, path, keep_length=kept)
        found += limits_of(str(package), (), seen.bound)
        found += _capacities(str(package), path, seen.occurrences)
    return _Seen(package, "files", _sorted(found))


def _of_snapshot(store: Store, manifest: Manifest) -> Reach:
    seen: dict[PackageName, _Seen | None] = {}
    todo = [manifest]
    seen[manifest.package.name] = _snapshot(manifest)
    while todo:
        for name, below in _needed(store, todo.pop()).items():
            if name not in seen:
                seen[name] = None if below is None else _snapshot(below)
                todo += [] if below is None else [below]
    own = manifest.package.name
    return _reach(own, sorted(seen.keys() - {own}), lambda name: seen[name])


def _snapshot(manifest: Manifest) -> _Seen:
    limits = limits_of(str(manifest.package), manifest.files, manifest.bound)
    return _Seen(manifest.package, "snapshot", limits)


def _needed(store: Store, manifest: Manifest) -> dict[PackageName, Manifest | None]:
    """Return the snapshots of the direct run-time dependencies; None for those that the store hasn't."""
    inputs = json.loads(manifest.inputs) if manifest.inputs else {}
    keys: Mapping[str, str] = inputs.get("dependencies", {})
    outputs = {needed.provider: needed.output for needed in manifest.imports}
    found: dict[str, Manifest | None] = {}
    for name, key in keys.items():
        offered = store.outputs(ConeKey(key))
        fitting = [one for one in offered if one.output == outputs.get(PackageName(name))]
        found[name] = next(iter(fitting or offered), None)
    versions = {name: str(one.package.version) for name, one in found.items() if one is not None}
    build_only = _build_only(manifest, inputs, versions)
    return {PackageName(name): one for name, one in found.items() if name not in build_only}


def _build_only(manifest: Manifest, inputs: Mapping[str, object], versions: Mapping[str, str]) -> set[str]:
    file = parse(manifest.opam, f"{manifest.package}/opam")
    values: dict[str, Value] = {}
    for member in ("variables", "flags"):
        content = inputs.get(member)
        values.update(content if isinstance(content, dict) else {})
    values.update(
        {name: str(inputs.get(name, "")) for name in ("arch", "os", "os-distribution", "os-version")}
    )
    resolved = [
        dependency
        for field in ("depends", "depopts")
        for dependency in formula.resolved(file.get(field), values.get, versions)
    ]
    needed = {dependency.name for dependency in resolved if not dependency.build_only}
    return {dependency.name for dependency in resolved} - needed
