"""Taking packages of a switch into the store that were built before opam-bin was there.

Sound only where opam's own list of the package's files is complete and still true, nothing of others was
changed, and its key can be known. That it was built without tests and documentation, and with the
environment of today, is an assumption; such snapshots are marked as adopted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from opambin import gather, recipes, request
from opambin.capture import Build, build_record, capture
from opambin.errors import MisuseError, OpambinError
from opambin.filelist import FileList
from opambin.model import Package, PackageName
from opambin.opam import changes as opam_changes
from opambin.opam import fields
from opambin.opam.buildfields import configured_variables
from opambin.opam.lock import SwitchLock
from opambin.provided import InstalledPackage
from opambin.session.capture import source_bytes
from opambin.store.records import InstalledRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opambin.context import Context
    from opambin.universe import Universe


@dataclass(frozen=True, slots=True)
class Adopted:
    """What became of one package.

    Attributes:
        package: ``NAME.VERSION``.
        what: ``captured``, ``present`` (the store had it) or ``refused``.
        reason: Why it was refused, or how freely it can be moved.
        bytes: Of its files.
    """

    package: str
    what: str
    reason: str = ""
    bytes: int = 0


def adopt(context: Context, names: Sequence[str], tell: Callable[[str], None]) -> list[Adopted]:
    """Capture installed packages, dependencies first.

    Args:
        context: The switch and the store.
        names: Packages; none means all that are installed.
        tell: Called with a line when something takes a while.

    Raises:
        MisuseError: One of them is not installed.
        UnavailableError: The store or the switch can't be used.
    """
    context.need_store()
    installed = context.switch.state().installed
    unknown = [name for name in names if PackageName(name) not in installed]
    if unknown:
        raise MisuseError(f"not installed in switch {context.switch.name}: {', '.join(unknown)}")
    everything = [Package(name, version) for name, version in installed.items()]
    definitions = gather.Definitions(context, [])
    around = gather.surroundings(context, [definitions.file(package) for package in everything])
    universe = gather.universe(context, installed, definitions, request.parse([], {}), around)
    wanted = {PackageName(name) for name in names} or set(installed)
    with SwitchLock(context.switch.meta, context.root.path, on_wait=tell):
        return [_adopt_one(context, universe, name) for name in _ordered(universe) if name in wanted]


def _ordered(universe: Universe) -> list[PackageName]:
    """Sort packages so that dependencies come first."""
    ordered: list[PackageName] = []
    seen: set[PackageName] = set()

    def visit(name: PackageName) -> None:
        if name not in seen:
            seen.add(name)
            for dependency in universe.dependencies(name):
                if not dependency.post:
                    visit(PackageName(dependency.name))
            ordered.append(name)

    for name in sorted(universe.selected):
        visit(name)
    return ordered


def _adopt_one(context: Context, universe: Universe, name: PackageName) -> Adopted:
    package = universe.node(name).package
    if context.record(name, package.version) is not None:
        return Adopted(str(package), "present", "it is on record already")
    try:
        return _capture(context, universe, package)
    except OpambinError as error:
        return Adopted(str(package), "refused", str(error))


def _capture(context: Context, universe: Universe, package: Package) -> Adopted:
    name, node = package.name, universe.node(package.name)
    changes = context.switch.changes(name)
    keyed = universe.inputs(name)
    reason = _obstacle(context, package, changes) or keyed.reason
    if reason or changes is None:
        return Adopted(str(package), "refused", reason)
    recipe = recipes.load(str(name), str(package.version))
    files = [path for path in changes.added() if not path.startswith(".opam-switch/")]
    extra = context.switch.installed_files(package)
    stated = fields.extra_files(node.file)
    build = Build(
        package,
        keyed.key,
        keyed.inputs,
        node.text,
        build_record(
            context,
            started=None,
            source_bytes=source_bytes(context, node.file),
            opam_version=universe.surroundings.variables.get("opam-version", ""),
            adopted=True,
        ),
        frozenset(configured_variables(node.file, str(name))),
        keep_length=recipe is not None and recipe.keep_length,
        extra_files={path: extra[path] for path, _ in stated}
        if {p for p, _ in stated} <= extra.keys()
        else None,
    )
    installed = context.switch.state().installed
    neighbours = {
        other: InstalledPackage(context, other, installed[other])
        for other in universe.runtime_closure(name)
        if other in installed
    }
    captured = capture(context, build, FileList(tuple(sorted(files))), None, neighbours)
    if captured.manifest is None:
        return Adopted(str(package), "refused", captured.problem)
    manifest = captured.manifest
    record = InstalledRecord(
        name, package.version, manifest.key, manifest.output, context.changes_digest(name)
    )
    context.need_store().record_installed(context.prefix, [record])
    bound = next((f"bound: {bound.path}: {bound.reason}" for bound in manifest.bound), "")
    return Adopted(str(package), "captured", bound, manifest.size)


def _obstacle(context: Context, package: Package, changes: opam_changes.Changes | None) -> str:
    """Say why opam's list of a package can't be trusted; empty when it can."""
    if context.config.excludes_package(str(package.name)):
        return "the configuration excludes it"
    recipe = recipes.load(str(package.name), str(package.version))
    if recipe is not None and not recipe.cacheable:
        return recipe.reason
    if changes is None:
        return "opam has no list of its files"
    if not changes.entries and context.switch.install_file(package.name).exists():
        return "opam's list of its files is empty, though it installs some"
    odd = [entry for entry in changes.entries if entry.kind != "added"]
    if odd:
        return f"it changed {odd[0].path}, which was there before"
    differences = opam_changes.verify(context.switch.prefix, changes)
    if differences:
        return f"{differences[0].path} is not what opam installed any more"
    return ""
