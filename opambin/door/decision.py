"""What becomes of every package of opam's plan: which we restore, and which we take out for that."""

from __future__ import annotations

from dataclasses import field, replace
from typing import TYPE_CHECKING

from opambin import gather
from opambin.exchange import planning
from opambin.exchange.opening import open_shelf
from opambin.frozen import dataclass
from opambin.model import Package
from opambin.opam.parser import parse
from opambin.placement import removing
from opambin.plan import Item, Verdict, conflicting
from opambin.session.start import site_of
from opambin.universe import Node

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opambin.context import Context
    from opambin.exchange.shelf import Shelf
    from opambin.model import PackageName
    from opambin.opam.client import Plan
    from opambin.request import Request
    from opambin.universe import Universe


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a plan.

    Attributes:
        universe: The final set.
        items: What happens to each package that is to be installed.
        shelf: Where the snapshots come from.
        removals: Installed packages that we take out, with the version that takes their place or nothing.
        kept: Packages that only opam can remove or replace, and why.
        for_good: Those of them that nothing replaces.
        dropped: Packages of the plan that are opam's in any case.
    """

    universe: Universe
    items: Sequence[Item]
    shelf: Shelf
    removals: Mapping[Package, str] = field(default_factory=dict)
    kept: Mapping[PackageName, str] = field(default_factory=dict)
    for_good: frozenset[PackageName] = frozenset()
    dropped: frozenset[PackageName] = frozenset()


def decide(
    context: Context,
    asked: Request,
    plan: Plan,
    dropped: frozenset[PackageName] = frozenset(),
    shelf: Shelf | None = None,
) -> Decision:
    """Decide on every package of a plan.

    Args:
        context: The switch and the store.
        asked: The command line.
        plan: What opam would do.
        dropped: Packages of the plan that are opam's in any case.
        shelf: Where the snapshots come from; None for the store and the configured remotes.

    Raises:
        OpambinError: A definition can't be had, or a record of the switch can't be read.
    """
    new = [package for package in plan.installs if package.name not in dropped]
    installed = context.switch.state().installed
    removed = {package.name for package in plan.removes}
    selected = {name: version for name, version in installed.items() if name not in removed}
    selected.update({package.name: package.version for package in new})
    definitions = gather.Definitions(context, new)
    old = gather.Definitions(context, [])
    files = [definitions.file(package) for package in new] + [old.file(package) for package in plan.removes]
    around = gather.surroundings(context, files)
    universe = gather.universe(context, selected, definitions, asked, around)
    before = gather.universe(context, installed, old, None, around)
    kept = removing.obstacles(context, plan.removes)
    kept.update(dict.fromkeys(dropped & removed, "it is defined in a folder"))
    question = _Question(universe, before, new, plan.removes, shelf or open_shelf(context))
    return replace(_settle(context, question, kept), dropped=dropped)


@dataclass(frozen=True, slots=True)
class _Question:
    """A plan, with the packages before and after it."""

    after: Universe
    before: Universe
    new: Sequence[Package]
    removes: Sequence[Package]
    shelf: Shelf

    @property
    def for_good(self) -> frozenset[PackageName]:
        """What is removed and not replaced."""
        return frozenset(p.name for p in self.removes) - {package.name for package in self.new}

    def stands_on(self, name: PackageName) -> frozenset[str]:
        """Return what a package depends on, before or after."""
        return frozenset(
            dependency.name
            for universe in (self.before, self.after)
            if name in universe.selected
            for dependency in universe.dependencies(name)
        )


def _settle(context: Context, question: _Question, kept: dict[PackageName, str]) -> Decision:
    """Find the largest part of a plan that can be carried out without opam and leaves a sound switch.

    An installed package is replaced only together with all that stand on it: opam would not build these
    again, once the new version is there.
    """
    removed = frozenset(package.name for package in question.removes)
    below = {name: question.stands_on(name) for name in removed}
    while True:
        items = _plan(context, question, frozenset(kept))
        good = {item.package.name for item in items if item.verdict in (Verdict.HIT, Verdict.CHECK)}
        more = {item.package.name: item.reason for item in items if item.package.name in removed - good}
        for name in sorted(removed):
            standing = next((low for low in sorted(kept | more) if low in below[name]), None)
            above = next((up for up in sorted(kept | more) if name in below[up]), None)
            if name not in kept and name not in more and (standing or above):
                more[name] = f"{standing or above} is left to opam, too"
        if question.for_good - kept.keys() and (kept or more or len(good) < len(items)):
            more.update(dict.fromkeys(question.for_good, "opam has work to do before"))
        if more.keys() <= kept.keys():
            break
        kept = {**more, **kept}
    items = [replace(item, reason=kept.get(item.package.name, item.reason)) for item in items]
    versions = {package.name: str(package.version) for package in question.new}
    removals = {p: versions.get(p.name, "") for p in question.removes if p.name not in kept}
    return Decision(question.after, items, question.shelf, removals, kept, question.for_good & kept.keys())


def _plan(context: Context, question: _Question, kept: frozenset[PackageName]) -> list[Item]:
    """Plan with some of the removals left to opam, on whom what stands in their way has to wait."""
    removed = frozenset(package.name for package in question.removes)
    installed = question.before.selected
    staying = {Package(name, version) for name, version in installed.items() if name not in removed}
    site = site_of(context, staying, wait=True, replaced=kept)
    in_the_way = {
        name
        for package in question.removes
        if package.name in kept
        for name in _conflicts_of_installed(context, package)
    }
    site = replace(site, in_the_way=frozenset(in_the_way & question.after.selected.keys()))
    return planning.plan(question.after, question.new, question.shelf, site)


def _conflicts_of_installed(context: Context, package: Package) -> frozenset[PackageName]:
    text = context.switch.installed_opam(package)
    return conflicting(Node(package, text, parse(text, f"{package}/opam")))
