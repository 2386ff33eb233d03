"""A last look into the store before a build, for what the session's start could not look up.

opam announces no recompilation, and the source of a pin is there only when opam has fetched it. Both are
known before the first build command runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opambin import gather, request
from opambin.context import open_context
from opambin.model import Package, PackageName, Version
from opambin.opam.buildfields import cares_for_tests, configured_variables
from opambin.plan import Verdict, make_plan
from opambin.session import hits
from opambin.session.folder import Planned
from opambin.session.start import site_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opambin.context import Context
    from opambin.universe import Universe


def before_build(named: tuple[str, str], environ: Mapping[str, str]) -> str | None:
    """Look a package up, and fill its build directory when it is a hit.

    Returns:
        None when it was placed; otherwise why it will be built, empty when the store just does not have it.

    Raises:
        OpambinError: The switch or the session can't be read.
    """
    context = open_context(environ, hook=True)
    package = Package(PackageName(named[0]), Version(named[1]))
    planned = context.session.load_planned(package)
    universe, planned = plan(context, package, planned)
    context.session.save_planned(package, planned)
    context.session.unmark("late", package)
    if planned.keyed.key is None or context.store is None or not context.config.restore:
        return ""
    node = universe.node(package.name)
    if context.session.load_request() is None and cares_for_tests(node.file):
        return ""
    installed = context.switch.state().installed
    below = [Package(name, version) for name, version in installed.items() if name != package.name]
    (item,) = make_plan(universe, [package], context.store, site_of(context, below, wait=False))
    if item.verdict is not Verdict.HIT or item.manifest is None:
        return ""
    context.session.mark("hit", package, f"{item.manifest.key} {item.manifest.output}")
    return hits.before_build(named, environ) or None


def plan(context: Context, package: Package, planned: Planned | None) -> tuple[Universe, Planned]:
    """Work out the key of a package whose source opam has in place.

    Args:
        context: The switch; a session is going on.
        package: The package.
        planned: What the session's start knew of it; None for nothing.
    """
    state = context.switch.state()
    selected = {**state.installed, package.name: package.version}
    args = context.session.load_request()
    asked = request.parse(args, context.environ) if args is not None else None
    definitions = gather.Definitions(context, [package], fetched=True)
    if planned is None:  # then the variables that it reads have not been asked for
        around = gather.surroundings(context, [definitions.file(package)])
    else:
        around = context.session.load_surroundings()
    universe = gather.universe(context, selected, definitions, asked, around)
    node = universe.node(package.name)
    found = Planned(
        universe.key(package.name),
        node.text,
        tuple(str(name) for name in universe.runtime_closure(package.name)),
        configured_variables(node.file, str(package.name)),
        planned.reason if planned is not None else "",
    )
    return universe, found
