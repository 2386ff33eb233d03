"""What one restore has done so far, and the checks of ``conf`` packages that run in it."""

from __future__ import annotations

import threading
from dataclasses import field
from typing import TYPE_CHECKING

from opambin.errors import BadDataError
from opambin.frozen import dataclass
from opambin.machine import checks
from opambin.opam.changes import Change, Changes
from opambin.opam.register import Registration
from opambin.plan import Verdict
from opambin.provided import value_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opambin.context import Context
    from opambin.model import Manifest, OutputId, Package, PackageName, Symbol
    from opambin.opam.switchfiles import PackageConfig
    from opambin.placement import placing, removing
    from opambin.plan import Item, Provided, Site
    from opambin.universe import Node, Universe


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be restored.

    Attributes:
        items: The plan, in opam's order.
        roots: Packages that were asked for by name.
        fingerprint: Of the switch when it was planned.
        tell: Called with a line when something takes a while.
        removals: Installed packages that make room, with the version that takes their place or nothing.
    """

    items: Sequence[Item]
    roots: frozenset[str]
    fingerprint: str
    tell: Callable[[str], None]
    removals: Mapping[Package, str] = field(default_factory=dict)


@dataclass
class AfterCheck:
    """A ``conf`` package after its check: its variables are known now.

    Attributes:
        context: The switch.
        config: Its variables.
        output: None: nothing of it is stored.
    """

    context: Context
    config: PackageConfig
    output: OutputId | None = None

    def has(self, symbol: Symbol) -> bool:
        """Compare a variable with what the check found."""
        local = symbol.name.rpartition(":")[2]
        return (
            symbol.kind == "var"
            and value_text(self.context, self.config.variables.get(local)) == symbol.value
        )


@dataclass
class Run:
    """The state of one restore.

    Attributes:
        context: The switch and the store.
        universe: The final set.
        wanted: What is to be restored.
        site: Where.
        removal: What makes room.
        placements: What was put into the prefix, in order.
        registrations: What opam will be told.
        configs: ``NAME.config`` of packages that are in place but not registered yet.
        chosen: What is in the switch, or will be, by name.
        restored: The snapshots that are in place.
        checked: The packages whose checks passed.
        recognised: Snapshots of builds of these that gave what the checks gave.
        left: Package to reason, for those that are left to opam.
        reports: What the user must hear of.
        environment_stale: Whether opam's record of the environment must be written anew.
        checks: Checks that were begun.
        settled: Those of them whose outcome is noted.
    """

    context: Context
    universe: Universe
    wanted: Wanted
    site: Site
    removal: removing.Removal
    placements: list[placing.Placement] = field(default_factory=list)
    registrations: list[Registration] = field(default_factory=list)
    configs: dict[str, PackageConfig] = field(default_factory=dict)
    chosen: dict[PackageName, Provided] = field(default_factory=dict)
    restored: list[Manifest] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)
    recognised: list[Manifest] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    reports: list[str] = field(default_factory=list)
    environment_stale: bool = False
    checks: dict[PackageName, Check] = field(default_factory=dict)
    settled: set[PackageName] = field(default_factory=set)


class Check(threading.Thread):
    """A check, which runs while files are made and placed."""

    def __init__(
        self, item: Item, environment: checks.BuildEnvironment, node: Node, files: Mapping[str, bytes]
    ) -> None:
        super().__init__()
        self.item = item
        self.result = checks.CheckResult("its check did not come to an end")
        self._arguments = (environment, node, files)

    def run(self) -> None:
        """Run it."""
        self.result = checks.run_check(*self._arguments)


def begin_checks(run: Run) -> None:
    """Start the checks that call nothing but what is installed already."""
    for item in run.wanted.items:
        below = run.universe.needed(item.package.name)
        if item.verdict is Verdict.CHECK and all(name in run.chosen for name in below):
            begin_check(run, item, {})


def begin_check(run: Run, item: Item, configs: Mapping[str, PackageConfig]) -> None:
    """Start a check, where it was not started before; what it needs is in place."""
    name = item.package.name
    if name in run.checks:
        return
    files = _check_files(run, item)
    if files is not None:
        environment = checks.BuildEnvironment(run.context, run.universe, dict(configs))
        run.checks[name] = Check(item, environment, run.universe.node(name), files)
        run.checks[name].start()


def settle_all(run: Run) -> None:
    """Wait for every check."""
    for name in run.checks:
        settle(run, name)


def settle(run: Run, name: PackageName) -> None:
    """Wait for the check of a package, if there is one, and note what it gave; what fails is left to opam."""
    check = run.checks.get(name)
    if check is None or name in run.settled:
        return
    check.join()
    run.settled.add(name)
    context, item, result = run.context, check.item, check.result
    if result.problem:
        run.left[str(item.package)] = f"its check failed: {result.problem}"
        return
    config = checks.parse_config(result.config or 'opam-version: "2.0"\n', str(name))
    run.configs[name] = config
    entries = []
    if result.config is not None and run.universe.node(name).file.get("install") is None:
        entries.append(Change(str(context.switch.config_file(name).relative_to(context.prefix)), ""))
    run.registrations.append(
        Registration(
            item.package,
            item.text,
            Changes.of(entries),
            result.files,
            result.config,
            None,
            name in run.wanted.roots,
        )
    )
    run.chosen[name] = AfterCheck(context, config)
    run.checked.append(str(item.package))
    run.recognised += _as_built(run, name, config)


def _as_built(run: Run, name: PackageName, config: PackageConfig) -> list[Manifest]:
    """Return the snapshot of a build that gave what a check gave: that output is what is installed now."""
    key, context = run.universe.key(name).key, run.context
    if key is None or context.store is None:
        return []

    def gave(manifest: Manifest) -> PackageConfig:
        text = manifest.config or 'opam-version: "2.0"\n'
        return checks.parse_config(context.live_text(text), str(name))

    outputs = [it for it in context.store.outputs(key) if not (it.files or it.edits or it.install)]
    return [it for it in outputs if gave(it) == config][:1]


def extra_files(context: Context, manifest: Manifest) -> dict[str, bytes]:
    """Read the files that came with a package's definition from the store.

    Raises:
        BadDataError: One is damaged or missing.
    """
    objects = context.need_store().objects
    return {
        extra.name: objects.path(extra.digest, executable=False, size=extra.size).read_bytes()
        for extra in manifest.extra_files
    }


def _check_files(run: Run, item: Item) -> dict[str, bytes] | None:
    """Read the files of a check; None when they are damaged, which is reported."""
    if str(item.package) in run.left:
        return None
    try:
        return extra_files(run.context, item.manifest) if item.manifest is not None else {}
    except BadDataError as error:
        run.left[str(item.package)] = str(error)
        run.reports.append(f"{item.package}: {error}")
        return None
