"""What to do with each package of a plan: restore it, run its checks, or leave it to opam, and why.

No I/O of its own: the store is asked through :class:`Shelf`, installed packages through
:class:`Installed`. Packages are looked at in opam's order, dependencies first, so that the outputs which
are picked fit together: what is installed already comes first, then what was picked before.
"""

from __future__ import annotations

from dataclasses import field, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Protocol

from opambin.claims import Unclaimed, disputes
from opambin.fitting import refusal
from opambin.frozen import dataclass
from opambin.model import PackageName
from opambin.opam import fields as opam_file
from opambin.opam import formula
from opambin.opam.buildfields import cares_for_tests
from opambin.opam.interpolation import as_text
from opambin.opam.switchfiles import PackageConfig

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from opambin.model import ConeKey, Manifest, OutputId, Package, Symbol
    from opambin.surroundings import Keyed
    from opambin.universe import Node, Universe

NO_SNAPSHOT = "no snapshot has this key"
"""Why most misses are ones."""


class Verdict(StrEnum):
    """What happens to a package."""

    HIT = "hit"
    """It is restored."""
    CHECK = "check"
    """A ``conf`` package: nothing to restore, its own commands run again."""
    WAIT = "wait"
    """A snapshot is there, but something below it is built from source first."""
    MISS = "miss"
    """opam builds it."""


class Shelf(Protocol):
    """Where snapshots come from."""

    def outputs(self, key: ConeKey) -> Sequence[Manifest]:
        """Return the snapshots of a key, the best first; empty when there is none."""


class Provided(Protocol):
    """What one installed, or about to be installed, package offers to others."""

    @property
    def output(self) -> OutputId | None:
        """Its output, when that is known."""

    def has(self, symbol: Symbol) -> bool:
        """Tell whether it provides a unit, a soname or the value of a variable."""


class Checks(Protocol):
    """Facts about this machine."""

    def has(self, symbol: Symbol) -> bool:
        """Tell whether a symbol of :data:`opambin.fitting.MACHINE_SYMBOLS` is there."""


@dataclass(frozen=True, slots=True)
class FromManifest:
    """What a snapshot provides once it is restored."""

    manifest: Manifest

    @property
    def output(self) -> OutputId | None:
        """The output of the snapshot."""
        return self.manifest.output

    def has(self, symbol: Symbol) -> bool:
        """Tell whether the snapshot provides ``symbol``; a variable, by its ``.config``."""
        if symbol.kind != "var":
            return symbol in self.manifest.provides
        config = self.manifest.config
        local = symbol.name.rpartition(":")[2]
        found = PackageConfig.parse(config, symbol.name).variables.get(local) if config is not None else None
        return as_text(found) == symbol.value


@dataclass(frozen=True, slots=True)
class AfterCheck:
    """What a ``conf`` package will offer: unknown until its check has run, so nothing is refused yet."""

    output: OutputId | None = None

    def has(self, symbol: Symbol) -> bool:
        """Accept variables only; they are looked at again after the check."""
        return symbol.kind == "var"


@dataclass(frozen=True, slots=True)
class NotYetBuilt:
    """A package that this session builds: what it offers is looked at when it is there."""

    output: OutputId | None = None

    def has(self, symbol: Symbol) -> bool:
        """Accept everything for now."""
        return bool(symbol.kind)


@dataclass(frozen=True, slots=True)
class Item:
    """The decision on one package.

    Attributes:
        package: Name and version.
        verdict: What happens to it.
        reason: Why it is no hit, in words; empty for hits.
        keyed: Its cone key.
        manifest: The snapshot to restore, for hits and waits.
        text: Its opam file, as the user's repository has it.
    """

    package: Package
    verdict: Verdict
    reason: str = ""
    keyed: Keyed | None = None
    manifest: Manifest | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Site:
    """Where a plan is to be carried out.

    Attributes:
        prefix: Of the switch, without trailing slash.
        installed: What is in the switch already, by name.
        machine: Facts about this machine.
        exclude: Globs of package names to leave alone.
        wait: Whether a snapshot above a package that opam builds has to wait for it. Inside opam's session
            it need not: it is looked at again just before it would be built.
        replaced: Packages that are removed first, which only opam can do.
        in_the_way: Packages that conflict with what is installed now, until opam has removed that.
    """

    prefix: str
    installed: Mapping[PackageName, Provided]
    machine: Checks
    exclude: tuple[str, ...] = ()
    wait: bool = True
    replaced: frozenset[PackageName] = frozenset()
    in_the_way: frozenset[PackageName] = frozenset()


@dataclass(slots=True)
class _Progress:
    """What has been decided so far."""

    chosen: dict[PackageName, Provided]
    unsettled: set[PackageName] = field(default_factory=set)
    items: list[Item] = field(default_factory=list)


def make_plan(universe: Universe, packages: Iterable[Package], shelf: Shelf, site: Site) -> list[Item]:
    """Decide on every package of a plan.

    Args:
        universe: The final set.
        packages: What opam would install, dependencies first.
        shelf: The snapshots.
        site: Where they would go.
    """
    packages, known = list(packages), Unclaimed(shelf)
    while True:
        items = _plan(universe, packages, known, site)
        hits = [
            (item.keyed.key, item.manifest)
            for item in items
            if item.verdict is Verdict.HIT and item.manifest is not None and item.keyed and item.keyed.key
        ]
        disputed = disputes(hits)
        if disputed.keys() <= known.disputed.keys():
            return [_disputed(item, known) for item in items] if known.disputed else items
        known.disputed.update(disputed)


def _disputed(item: Item, known: Unclaimed) -> Item:
    """Say why a package is a miss whose snapshot another one disputes."""
    key = item.keyed.key if item.keyed is not None and item.verdict is Verdict.MISS else None
    reason = known.reason(key) if key is not None else ""
    return replace(item, reason=reason) if reason else item


def _plan(universe: Universe, packages: Iterable[Package], shelf: Shelf, site: Site) -> list[Item]:
    progress = _Progress(dict(site.installed))
    for package in packages:
        item = _decide(universe, universe.node(package.name), shelf, site, progress)
        progress.items.append(item)
        match item.verdict:
            case Verdict.HIT if item.manifest is not None:
                progress.chosen[package.name] = FromManifest(item.manifest)
            case Verdict.CHECK:
                progress.chosen[package.name] = AfterCheck()
            case _ if site.wait:
                progress.chosen.pop(package.name, None)
                progress.unsettled.add(package.name)
            case _:
                progress.chosen[package.name] = NotYetBuilt()
    return progress.items


def _decide(universe: Universe, node: Node, shelf: Shelf, site: Site, progress: _Progress) -> Item:
    package, text = node.package, node.text
    if any(fnmatchcase(package.name, glob) for glob in site.exclude):
        return Item(package, Verdict.MISS, "the configuration excludes it", text=text)
    if node.flags.get("with-test") and cares_for_tests(node.file):
        return Item(package, Verdict.MISS, "its tests are to run", text=text)
    if package.name in site.replaced:
        return Item(package, Verdict.MISS, "an installed version of it has to be removed first", text=text)
    clash = conflicting(node) & site.replaced
    if clash or package.name in site.in_the_way:
        other = min(clash, default="what is installed now")
        return Item(package, Verdict.WAIT, f"it conflicts with {other}, which opam removes first", text=text)
    waits = [name for name in universe.needed(package.name) if name in progress.unsettled]
    blocked = waits[0] if waits and site.wait else None
    if not is_check(node):
        return _choose(universe, node, shelf, site, (progress, blocked))
    if blocked:
        return Item(package, Verdict.WAIT, f"its check needs {blocked}, which opam installs", text=text)
    return _check(universe, node, shelf)


def _choose(
    universe: Universe, node: Node, shelf: Shelf, site: Site, state: tuple[_Progress, PackageName | None]
) -> Item:
    """Pick the first snapshot of the package's key that fits to what has been picked before."""
    (progress, blocked), package, text = state, node.package, node.text
    keyed = universe.key(package.name)
    if keyed.key is None:
        return Item(package, Verdict.MISS, keyed.reason, keyed, text=text)
    outputs = shelf.outputs(keyed.key)
    if not outputs:
        return Item(package, Verdict.MISS, NO_SNAPSHOT, keyed, text=text)
    if blocked:
        reason = f"{blocked} below it is built from source"
        return Item(package, Verdict.WAIT, reason, keyed, outputs[0], text)
    reasons = []
    for manifest in outputs:
        reason = refusal(manifest, progress.chosen, site)
        if manifest.package != package:
            reason = f"the snapshot of its key is of {manifest.package}"
        if not reason:
            return Item(package, Verdict.HIT, "", keyed, manifest, text)
        reasons.append(reason)
    return Item(package, Verdict.MISS, reasons[0], keyed, text=text)


def _check(universe: Universe, node: Node, shelf: Shelf) -> Item:
    """Plan the check of a ``conf`` package; the files that came with its definition are in its snapshot."""
    if not opam_file.extra_files(node.file):
        return Item(node.package, Verdict.CHECK, text=node.text)
    keyed = universe.key(node.package.name)
    outputs = shelf.outputs(keyed.key) if keyed.key is not None else ()
    if not outputs:
        return Item(
            node.package, Verdict.MISS, "the files of its check are not in the store", keyed, text=node.text
        )
    return Item(node.package, Verdict.CHECK, "", keyed, outputs[0], node.text)


def conflicting(node: Node) -> frozenset[PackageName]:
    """Return the names of the packages that a package conflicts with, in whatever version."""
    return frozenset(PackageName(name) for name, _ in formula.atoms(node.file.get("conflicts")))


def is_check(node: Node) -> bool:
    """Tell whether a package is a ``conf`` package whose check we can run: no source, no install commands."""
    file = node.file
    return (
        "conf" in node.package_flags
        and opam_file.url(file) is None
        and not any(file.get(name) is not None for name in ("install", "patches"))
        and not opam_file.extra_sources(file)
    )
