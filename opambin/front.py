"""The front door: ask opam for its plan, restore what is known, hand the rest to opam."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from opambin import gather, request, summary
from opambin.context import open_context
from opambin.errors import OpambinError, UnavailableError
from opambin.model import Package
from opambin.opam.client import PlanFailed
from opambin.opam.environment import refresh
from opambin.opam.parser import parse
from opambin.plan import Item, Verdict, conflicting, make_plan
from opambin.restore import Wanted, restore
from opambin.session import Result
from opambin.session_start import site_of
from opambin.store.records import Event
from opambin.store.records import Result as EventResult
from opambin.universe import Node

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opambin.context import Context
    from opambin.model import PackageName
    from opambin.opam.client import Plan
    from opambin.request import Request
    from opambin.restore import Restored
    from opambin.universe import Universe


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan of opam's, with our decision on every package of it.

    Attributes:
        context: The switch and the store.
        request: What was asked for.
        plan: What opam would do.
        items: What we would do.
        universe: The final set.
        fingerprint: Of the switch as it was planned for.
        seconds: What planning took, opam's own part left out.
        opam_seconds: opam's part.
        problems: Bad data that was met in the store.
    """

    context: Context
    request: Request
    plan: Plan
    items: Sequence[Item]
    universe: Universe
    fingerprint: str
    seconds: float
    opam_seconds: float
    problems: tuple[str, ...] = ()

    @property
    def hits(self) -> list[Item]:
        """What would be restored, checks included."""
        return [item for item in self.items if item.verdict in (Verdict.HIT, Verdict.CHECK)]


@dataclass(frozen=True, slots=True)
class PlainOpam:
    """We have nothing to do with this command: opam runs it.

    Attributes:
        reason: Why, in words; empty when there is nothing to say.
        planned: opam's words when it said that there is nothing to do, so that it need not run again.
    """

    reason: str = ""
    planned: str | None = None


def prepare(args: Sequence[str], environ: Mapping[str, str]) -> Prepared | PlainOpam:
    """Plan ``opam install ARGS``.

    Raises:
        OpambinError: opam is missing or too old, the configuration is bad, no such switch.
    """
    asked = request.parse(args, environ)
    context = open_context(environ, asked.switch)
    if not asked.for_real:
        return PlainOpam()
    obstacle = _obstacle(context)
    if obstacle:
        return PlainOpam(obstacle)
    context.root.check_opam(context.opam.check_supported())
    begun = time.monotonic()
    plan, fingerprint = _plan(context, args)
    solved = time.monotonic()
    if isinstance(plan, PlanFailed):
        return PlainOpam()
    if not plan.actions:
        return PlainOpam("", plan.stdout + plan.stderr)
    gone = {package.name for package in plan.removes} - {package.name for package in plan.installs}
    if gone:
        # What is installed in their place must not be there before they have gone.
        return PlainOpam(f"opam has to remove {', '.join(sorted(gone))}")
    try:
        universe, items = decide(context, asked, plan)
    except OpambinError as error:
        return PlainOpam(str(error))
    seconds = time.monotonic() - solved
    problems = tuple(context.need_store().problems)
    return Prepared(context, asked, plan, items, universe, fingerprint, seconds, solved - begun, problems)


def _obstacle(context: Context) -> str:
    """Say why nothing may or can be restored into the switch; empty when something can."""
    if not context.config.enabled or not context.config.restore:
        return "restoring is switched off by the configuration"
    if context.excluded:
        return f"this switch is excluded by the configuration ({context.excluded})"
    return context.store_problem if context.store is None else ""


def _plan(context: Context, args: Sequence[str]) -> tuple[Plan | PlanFailed, str]:
    """Ask opam for its plan; returns it with the fingerprint of the switch that it was made for.

    The fingerprint is taken before, since another opam may change the switch right after. opam itself may
    write the state of pins when it plans; then the second plan finds nothing to write.
    """
    before = context.switch.fingerprint()
    plan = context.opam.plan(["install", *args])
    after = context.switch.fingerprint()
    if before != after:
        plan = context.opam.plan(["install", *args])
    return plan, after


def decide(context: Context, asked: Request, plan: Plan) -> tuple[Universe, list[Item]]:
    """Decide on every package that a plan installs.

    What is removed or replaced is opam's: only it knows how to remove, and what stands on it waits.
    """
    new = plan.installs
    installed = context.switch.state().installed
    removed = {package.name for package in plan.removes}
    selected = {name: version for name, version in installed.items() if name not in removed}
    selected.update({package.name: package.version for package in new})
    kept = {Package(name, version) for name, version in installed.items() if name not in removed}
    definitions = gather.Definitions(context, new)
    around = gather.surroundings(context, [definitions.file(package) for package in new])
    universe = gather.universe(context, selected, definitions, asked, around)
    site = site_of(context, kept, wait=True, replaced=removed)
    in_the_way = {name for package in plan.removes for name in _conflicts_of_installed(context, package)}
    site = replace(site, in_the_way=frozenset(in_the_way & selected.keys()))
    return universe, make_plan(universe, new, context.need_store(), site)


def _conflicts_of_installed(context: Context, package: Package) -> frozenset[PackageName]:
    text = context.switch.installed_opam(package)
    return conflicting(Node(package, text, parse(text, f"{package}/opam")))


def carry_out(prepared: Prepared, tell: object = print) -> Restored | None:
    """Restore what hits; None when there was nothing, or when it failed before the prefix was touched.

    Args:
        prepared: The plan.
        tell: Called with lines for the user.
    """
    say = tell if callable(tell) else print
    if not prepared.hits:
        return None
    context = prepared.context
    names = {package.name for package in prepared.plan.installs}
    roots = frozenset(str(name) for name in names if name in prepared.request.names)
    if "--deps-only" in prepared.request.options:
        roots = frozenset()
    wanted = Wanted(prepared.items, roots, prepared.fingerprint, say)
    try:
        done = restore(context, prepared.universe, wanted)
    except OpambinError as error:
        say(f"opam-bin: nothing was restored: {error}")
        return None
    if done.environment_stale:
        refresh(context.opam, context.switch)
    try:
        _keep_statistics(context, prepared, done)
    except UnavailableError as error:
        say(f"opam-bin: {error}")
    return done


def _keep_statistics(context: Context, prepared: Prepared, done: Restored) -> None:
    store = context.need_store()
    if store.staging.readonly:
        return
    now = int(time.time())
    events = [
        Event(
            now,
            context.prefix,
            str(manifest.package),
            manifest.key,
            EventResult.HIT,
            "",
            manifest.build.seconds,
            manifest.size,
            manifest.build.source_bytes,
        )
        for manifest in done.restored
    ]
    for item in prepared.items:
        reason = done.left.get(str(item.package), item.reason)
        if reason:
            key = item.keyed.key or "" if item.keyed is not None else ""
            events.append(Event(now, context.prefix, str(item.package), key, EventResult.MISS, reason))
    store.record_events(events)


def results(done: Restored) -> list[Result]:
    """Return what a restore did in the form of a session's results."""
    return [
        Result(
            str(manifest.package),
            "restored",
            seconds=manifest.build.seconds,
            bytes=manifest.size,
            source_bytes=manifest.build.source_bytes,
            key=manifest.key,
            output=manifest.output,
        )
        for manifest in done.restored
    ]


def summary_lines(prepared: Prepared, done: Restored) -> list[str]:
    """Say what was restored, what it saved, and what is left to opam and why."""
    found = results(done)
    count = len(done.restored)
    checked = f", {len(done.checked)} checked" if done.checked else ""
    seconds = sum(result.seconds for result in found)
    source = sum(result.source_bytes for result in found)
    saved = [f"{summary.duration(seconds)} of building"] if seconds >= 0.5 else []
    saved += [f"{summary.data_size(source)} of sources"] if source else []
    line = f"opam-bin: {count} restored{checked} in {summary.duration(prepared.seconds + done.seconds)}"
    lines = [line + (f" (saved {' and '.join(saved)})" if saved else "")]
    left = left_to_opam(prepared, done)
    lines += [f"opam-bin: {package} is left to opam: {reason}" for package, reason in left.items()]
    return [*lines, *(f"opam-bin: {report}" for report in done.reports)]


def left_to_opam(prepared: Prepared, done: Restored | None) -> dict[str, str]:
    """Return the packages of the plan that opam still has to install, with the reasons."""
    placed = set() if done is None else {str(m.package) for m in done.restored} | set(done.checked)
    later = {} if done is None else done.left
    return {
        str(item.package): later.get(str(item.package)) or item.reason or "nothing was restored"
        for item in prepared.items
        if str(item.package) not in placed
    }
