"""The start of an opam session: what will be restored, what will be built, and what the scripts must know."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from opambin import gather, recipes, request
from opambin.context import open_context
from opambin.exchange import planning
from opambin.exchange.opening import open_shelf
from opambin.model import Package, PackageName, Version
from opambin.opam import fields
from opambin.opam.buildfields import cares_for_tests, configured_variables
from opambin.opam.prefixindex import PrefixIndex
from opambin.plan import Item, Site, Verdict
from opambin.provided import InstalledPackage, Machine
from opambin.session import replaced
from opambin.session.folder import Planned

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opambin.context import Context
    from opambin.exchange.shelf import Shelf
    from opambin.request import Request
    from opambin.universe import Universe

ROUNDS = 3
"""How often a plan is made again because something could not be fetched."""


def start(facts: Mapping[str, str], environ: Mapping[str, str]) -> list[str]:
    """Open a session folder, when the cache is to be used; returns lines for the user.

    Args:
        facts: What opam told the hook: ``new``, ``installed``, ``opam-pid``, ….
        environ: The environment of the hook.

    Raises:
        OpambinError: No plan could be made; opam goes on without us.
    """
    context = open_context(environ, program=running_opam(facts), hook=True)
    context.session.remove()
    if not context.config.enabled or context.excluded:
        return []
    if context.store is None:
        return [f"opam-bin: {context.store_problem}; everything is built from source"]
    new = parse_packages(facts.get("new", ""))
    asked = request.of_process(int(facts["opam-pid"]), environ) if facts.get("opam-pid") else None
    definitions = gather.Definitions(context, new)
    surroundings = gather.surroundings(context, [definitions.file(package) for package in new])
    selected = {package.name: package.version for package in parse_packages(facts.get("installed", ""))}
    installed = context.switch.state().installed
    kept = {
        Package(name, version)
        for name, version in installed.items()
        if selected.get(name) == version and Package(name, version) not in new
    }
    universe = gather.universe(context, selected, definitions, asked, surroundings)
    shelf = open_shelf(context)
    items, told = _decide(context, universe, new, (kept, shelf))
    context.session.create()
    context.session.save_surroundings(surroundings)
    context.session.save_request(asked.args if asked is not None else None)
    _write_markers(context, universe, items, asked)
    _write_recipes(context, universe, selected)
    if not context.config.restore:
        context.session.mark("", "norestore")
    if context.config.capture and not context.store.staging.readonly:
        PrefixIndex.walk(context.switch.prefix).save(context.session.index_path)
        replaced.keep(context)
    else:
        context.session.mark("", "nocapture")
    problems = [*context.store.problems, *shelf.problems()]
    if not environ.get("OPAMBIN_TOLD"):
        told += shelf.lines()
    return [*told, *(f"opam-bin: {problem}" for problem in problems)]


def running_opam(facts: Mapping[str, str]) -> str | None:
    """Return the opam that runs the hook, so that no other one works on its root; None when unknown."""
    pid = facts.get("opam-pid")
    if not pid:
        return None
    try:
        program = Path(f"/proc/{pid}/exe").readlink()
    except OSError:
        return None
    return str(program) if os.access(program, os.X_OK) else None


def parse_packages(text: str) -> list[Package]:
    """Read ``name.version`` words."""
    return [Package.parse(word) for word in text.split()]


def site_of(
    context: Context, kept: Iterable[Package], *, wait: bool, replaced: Iterable[PackageName] = ()
) -> Site:
    """Describe where a plan is carried out."""
    return Site(
        context.prefix,
        {package.name: InstalledPackage(context, package.name, package.version) for package in kept},
        Machine(),
        context.config.exclude_packages,
        wait,
        frozenset(replaced),
    )


def _decide(
    context: Context, universe: Universe, new: Iterable[Package], around: tuple[Iterable[Package], Shelf]
) -> tuple[list[Item], list[str]]:
    """Plan, and fetch the hits that remotes have; returns the plan and lines for the user."""
    kept, shelf = around
    ordered = _ordered(universe, new)
    site = site_of(context, kept, wait=False)
    items = planning.plan(universe, ordered, shelf, site)
    told: list[str] = []
    if not shelf.catalogues:
        return items, told
    from opambin.exchange import downloads
    from opambin.exchange.meter import Silent

    for _ in range(ROUNDS):
        wanted = planning.offers(items, shelf) if context.config.restore else []
        if not wanted:
            break
        got = downloads.pull(shelf.store, wanted, Silent())
        shelf.arrived(got.manifests)
        told += got.lines()
        if not got.failed:
            break
        for offer, reason in got.failed:
            shelf.reject(offer.manifest, reason)
        items = planning.plan(universe, ordered, shelf, site)
    away = {offer.manifest.package for offer in planning.offers(items, shelf)}
    return [_left(item) if item.package in away else item for item in items], told


def _left(item: Item) -> Item:
    return replace(item, verdict=Verdict.MISS, reason="its snapshot could not be fetched", manifest=None)


def _ordered(universe: Universe, new: Iterable[Package]) -> list[Package]:
    """Put packages in the order of their dependencies: the hook is told them in no order at all."""
    ordered: list[Package] = []
    seen: set[PackageName] = set()
    wanted = {package.name: package for package in new}

    def visit(name: PackageName) -> None:
        if name in seen or name not in wanted:
            return
        seen.add(name)
        for dependency in universe.dependencies(name):
            if not dependency.post:
                visit(PackageName(dependency.name))
        ordered.append(wanted[name])

    for name in sorted(wanted):
        visit(name)
    return ordered


def _write_markers(
    context: Context, universe: Universe, items: Iterable[Item], asked: Request | None
) -> None:
    for item in items:
        name = item.package.name
        node = universe.node(name)
        keyed = item.keyed or universe.key(name)
        planned = Planned(
            keyed,
            item.text,
            tuple(str(found) for found in universe.runtime_closure(name)),
            configured_variables(node.file, str(name)),
            item.reason,
        )
        context.session.save_planned(item.package, planned)
        if keyed.key is None and context.config.restore:
            context.session.mark(
                "late", item.package
            )  # a pin, or on a pin: its key is known when that is there
        if item.verdict is Verdict.HIT and item.manifest is not None and context.config.restore:
            if asked is None and cares_for_tests(node.file):
                continue
            context.session.mark("hit", item.package, f"{item.manifest.key} {item.manifest.output}")


def _write_recipes(context: Context, universe: Universe, selected: Mapping[PackageName, Version]) -> None:
    """Write shell fragments for packages that are built in another way than most."""
    padded = context.spelling.padded.decode("utf-8", "surrogateescape")
    for name, version in selected.items():
        recipe = recipes.load(str(name), str(version))
        fragment = recipe.sh_fragment(context.prefix, padded) if recipe is not None else ""
        if (recipe is not None and not recipe.cacheable) or context.config.excludes_package(str(name)):
            fragment += "OPAMBIN_PAD=no\n"
        if context.session.marked("package", f"{name}.{version}"):
            node = universe.node(name)
            if "compiler" in fields.flags(node.file) and "OCAMLLIB" not in fragment:
                fragment += "OPAMBIN_OCAMLLIB=no\n"
        if fragment:
            context.session.mark("recipe", name, fragment)
        if recipe is not None and recipe.patch:
            (context.session.folder / "patch" / name).write_bytes(recipe.patch)
