"""Bringing a switch to what a file lists, without a solver: everything follows from the listed versions."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from opambin import gather, request
from opambin.context import open_context, real_opam
from opambin.door import front, listing
from opambin.door.decision import decide
from opambin.errors import OpambinError, UnavailableError
from opambin.model import Package, PackageName
from opambin.opam import filters, formula
from opambin.opam.client import Action, Opam, Plan, Verb
from opambin.opam.root import Root
from opambin.opam.switch import Switch
from opambin.placement import leftovers
from opambin.universe import as_value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from opambin.context import Context
    from opambin.door.listing import Listing
    from opambin.model import Version
    from opambin.opam.interpolation import Env
    from opambin.universe import Universe


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for.

    Attributes:
        file: The listing.
        switch: Where; None for the current one.
        exact: Whether what is not listed is removed.
        yes: Whether questions are answered with yes.
    """

    file: Path
    switch: str | None = None
    exact: bool = False
    yes: bool = False


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is to be done.

    Attributes:
        prepared: A plan made without opam's solver; None when opam has to do it.
        reason: Why opam has to.
        words: What opam is asked to do, for all or for what is left.
        extra: Installed packages that are not listed, and stay.
        same: Whether the switch holds what is listed already.
    """

    prepared: front.Prepared | None
    reason: str
    words: tuple[str, ...]
    extra: tuple[Package, ...] = ()
    same: bool = False


def prepare(wish: Wish, environ: Mapping[str, str], tell: Callable[[str], None]) -> Outlook:
    """Work out what has to be done.

    Raises:
        OpambinError: The file or the switch can't be read.
    """
    root = Root.find(environ)
    switch = Switch.open(root, wish.switch, environ)
    opam = Opam(real_opam(environ), root=root.path, switch=switch.name, environ=environ)
    try:
        text = wish.file.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise UnavailableError(f"{wish.file} can't be read: {error.strerror}") from error
    names = ("arch", "os", "os-distribution", "os-family", "os-version")
    variables: Mapping[str, filters.Value] = {"build": True, "post": True, **opam.variables(names)}
    wanted = listing.read(text, str(wish.file), variables.get)
    words = _words(wish, wanted, switch.name)
    try:
        context = open_context(environ, wish.switch, program=opam.program)
        obstacle = front.obstacle_to_restoring(context) or wanted.beyond
    except OpambinError as error:
        return Outlook(None, str(error), words)
    if obstacle:
        return Outlook(None, obstacle, words)
    leftovers.clean_up(context, tell)
    if context.switch.state().pinned:
        return Outlook(None, "packages are pinned in this switch", words)
    begun = time.monotonic()
    fingerprint = context.switch.fingerprint()
    extra = _not_listed(context, wanted) if wanted.export and not wish.exact else ()
    try:
        prepared = _plan(context, wish, wanted, fingerprint)
    except OpambinError as error:
        return Outlook(None, str(error), words, extra)
    same = not prepared.plan.actions
    return Outlook(replace(prepared, seconds=time.monotonic() - begun), "", words, extra, same)


def _words(wish: Wish, wanted: Listing, name: str) -> tuple[str, ...]:
    switch = f"--switch={name}"
    yes = ("--yes",) if wish.yes else ()
    path = str(wish.file.absolute())
    if wanted.export:
        return ("switch", "import", path, switch, *yes)
    if path.endswith(".opam.locked"):
        return ("install", path, "--deps-only", switch, *yes)
    atoms = [f"{package.name}={package.version}" for package in listing.packages(wanted)]
    return ("install", *atoms, switch, *yes)


def _not_listed(context: Context, wanted: Listing) -> tuple[Package, ...]:
    packages = context.switch.state().packages
    return tuple(sorted(package for package in packages if package.name not in wanted.packages))


def _plan(context: Context, wish: Wish, wanted: Listing, fingerprint: str) -> front.Prepared:
    """Make the plan that opam's solver would have made: there is only one.

    Raises:
        UnavailableError: What is listed does not fit together, or not with what stays.
    """
    installed = context.switch.state().installed
    stays = {} if wish.exact and wanted.export else installed
    selected = {**stays, **wanted.packages}
    changed = {
        name for name in installed.keys() | selected.keys() if installed.get(name) != selected.get(name)
    }
    new = [Package(name, selected[name]) for name in sorted(changed & selected.keys())]
    definitions = gather.Definitions(context, new)
    around = gather.surroundings(context, [definitions.file(package) for package in new])
    asked = request.parse(["--yes"] if wish.yes else [], {})
    universe = gather.universe(context, selected, definitions, asked, around)
    read = {name for package in new for name in _available(universe, package.name)}
    machine = context.opam.variables(sorted(read)) if read else {}
    problem = misfit(universe, new, lambda name: as_value(machine.get(name)))
    if problem:
        raise UnavailableError(problem)
    before = gather.universe(context, installed, gather.Definitions(context, []), None, around)
    again = _standing_on(before, installed, changed) & selected.keys() - changed
    names = ordered(universe, (changed | again) & selected.keys())
    gone = ordered(before, (changed | again) & installed.keys())
    actions = [Action(Verb.REMOVE, Package(name, installed[name])) for name in reversed(gone)]
    actions += [Action(Verb.INSTALL, Package(name, selected[name])) for name in names]
    plan = Plan(tuple(actions), context.switch.name)
    decision = decide(context, asked, plan)
    if decision.for_good:
        name = min(decision.for_good)
        raise UnavailableError(f"opam has to remove {name}: {decision.kept[name]}")
    roots = frozenset(str(name) for name in wanted.roots)
    problems = (*context.need_store().problems, *decision.shelf.problems())
    return front.Prepared(context, asked, plan, decision, fingerprint, roots, (), problems)


def _standing_on(
    universe: Universe, installed: Mapping[PackageName, Version], changed: set[PackageName]
) -> set[PackageName]:
    """Return the installed packages that depend on what changes, directly or not."""
    below = {name: {PackageName(d.name) for d in universe.dependencies(name)} for name in installed}
    found = set(changed)
    while more := {name for name in installed if name not in found and below[name] & found}:
        found |= more
    return found - changed


def _available(universe: Universe, name: PackageName) -> frozenset[str]:
    """Return the variables that decide whether a package is there for this machine."""
    return filters.variables(universe.node(name).file.get("available"))


def misfit(universe: Universe, new: Sequence[Package], machine: Env) -> str:
    """Say what does not fit together in a final set; empty when all does.

    Args:
        universe: The final set.
        new: Packages that get installed.
        machine: The variables that say for which machines a package is there.

    Raises:
        BadDataError: A formula is of another shape.
    """
    selected = {str(name): str(version) for name, version in universe.selected.items()}
    for name in universe.selected:
        node = universe.node(name)
        env = universe.env(node)
        if not formula.satisfied(node.file.get("depends"), env, selected):
            return f"{node.package} depends on something that is not listed"
        conflicts = node.file.get("conflicts")
        others = {other: version for other, version in selected.items() if other != str(name)}
        if conflicts is not None and formula.satisfied(conflicts, env, others, alternatives=True):
            return f"{node.package} conflicts with something that is listed"
    for package in new:
        node = universe.node(package.name)
        available = node.file.get("available")
        if available is not None and filters.evaluate(available, machine) is not True:
            return f"{package} is not available on this machine"
    return ""


def ordered(universe: Universe, names: frozenset[PackageName] | set[PackageName]) -> list[PackageName]:
    """Sort packages of a set so that dependencies come first."""
    found: list[PackageName] = []
    seen: set[PackageName] = set()

    def visit(name: PackageName) -> None:
        if name in seen:
            return
        seen.add(name)
        for dependency in universe.dependencies(name):
            if not dependency.post:
                visit(PackageName(dependency.name))
        if name in names:
            found.append(name)

    for name in sorted(names):
        visit(name)
    return found
