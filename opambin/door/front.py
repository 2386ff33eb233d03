"""The front door: ask opam for its plan, restore what is known, hand the rest to opam.

What is needed only when the plan is there is imported late, and loaded by another thread while opam solves.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from opambin import request
from opambin.context import open_context, real_opam
from opambin.door.asking import ask_for_plan
from opambin.errors import OpambinError, UnavailableError
from opambin.frozen import dataclass
from opambin.model import PackageName
from opambin.opam import hooklist
from opambin.opam.client import PlanFailed
from opambin.placement import traces

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opambin.context import Context
    from opambin.door.decision import Decision
    from opambin.model import Package
    from opambin.opam.client import Plan
    from opambin.plan import Item
    from opambin.request import Request
    from opambin.restore import Restored


_HOOKS_TO_HONOUR = ("pre-session-commands", "pre-install-commands", "post-install-commands")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan of opam's, with our decision on every package of it.

    Attributes:
        context: The switch and the store.
        request: What was asked for.
        plan: What opam would do.
        decision: What we would do.
        fingerprint: Of the switch as it was planned for.
        roots: Packages that count as asked for.
        later: Packages of the plan that are opam's in any case.
        problems: Bad data that was met in the store.
        seconds: What planning took, opam's own part left out.
        opam_seconds: opam's part.
    """

    context: Context
    request: Request
    plan: Plan
    decision: Decision
    fingerprint: str
    roots: frozenset[str] = frozenset()
    later: tuple[Package, ...] = ()
    problems: tuple[str, ...] = ()
    seconds: float = 0.0
    opam_seconds: float = 0.0

    @property
    def items(self) -> Sequence[Item]:
        """The decision on each package that we may restore."""
        return self.decision.items

    @property
    def hits(self) -> list[Item]:
        """What would be restored, checks included."""
        from opambin.plan import Verdict

        return [item for item in self.items if item.verdict in (Verdict.HIT, Verdict.CHECK)]

    @property
    def idle(self) -> bool:
        """Whether there is nothing that we would do: nothing to restore and nothing to remove."""
        return not self.hits and not self.decision.removals


@dataclass(frozen=True, slots=True)
class PlainOpam:
    """We have nothing to do with this command: opam runs it.

    Attributes:
        reason: Why, in words; empty when there is nothing to say.
        planned: opam's plan when there is nothing to do, so that it need not say so again.
        failed: opam's answer when it could make no plan; that of the command itself may be another one.
        error: What kept us from looking: a question of ours, ``--dry-run``, has no other answer.
        context: The switch, when it could be opened.
    """

    reason: str = ""
    planned: Plan | None = None
    failed: PlanFailed | None = None
    error: OpambinError | None = None
    context: Context | None = None

    @property
    def why(self) -> str:
        """The reason in words, also where the user need not be told."""
        if self.failed is not None:
            return "opam can't do this"
        if self.reason or self.error is not None:
            return self.reason or str(self.error)
        return "nothing to do" if self.planned is not None else "opam does this alone"


@dataclass(frozen=True, slots=True)
class Command:
    """A command of opam that installs packages.

    Attributes:
        verb: ``install``, ``upgrade`` or ``reinstall``.
        args: Its arguments.
        color: Whether opam may colour its words, as on a terminal.
    """

    verb: str
    args: tuple[str, ...]
    color: bool = False


def prepare(
    command: Command, environ: Mapping[str, str], tell: Callable[[str], None]
) -> Prepared | PlainOpam:
    """Plan ``opam VERB ARGS``.

    Args:
        command: What opam would be asked to do.
        environ: The environment.
        tell: Called with lines for the user.

    Raises:
        UnavailableError: There is no opam.
        OpambinError: What a killed restore has left can't be undone.
    """
    asked = request.parse(command.args, environ)
    if not asked.for_real:
        return PlainOpam()
    program = real_opam(environ)
    try:
        context = open_context(environ, asked.switch, program=program)
    except UnavailableError as error:
        return PlainOpam(error=error)  # no root, no switch: opam says that itself
    except OpambinError as error:
        return PlainOpam(str(error), error=error)
    plain = _obstacle(context)
    if plain is not None:
        return replace(plain, context=context)
    _clean_up(context, tell)
    try:
        found = _look(context, command, asked)
    except OpambinError as error:
        found = PlainOpam(str(error), error=error)
    return replace(found, context=context)


def _obstacle(context: Context) -> PlainOpam | None:
    try:
        reason = obstacle_to_restoring(context)
    except OpambinError as error:
        return PlainOpam(str(error), error=error)
    return PlainOpam(reason) if reason else None


def _look(context: Context, command: Command, asked: Request) -> Prepared | PlainOpam:
    """Ask opam for its plan and decide on it.

    Raises:
        OpambinError: A definition can't be had, or a record of the switch can't be read.
    """
    if command.verb != "install" and not _all_installed(context, asked):
        return PlainOpam()  # opam asks first
    begun = time.monotonic()
    plan, fingerprint = ask_for_plan(context, command)
    solved = time.monotonic()
    if isinstance(plan, PlanFailed):
        return PlainOpam(failed=plan)
    prepared = prepare_plan(context, command, plan, fingerprint)
    if isinstance(prepared, PlainOpam):
        return prepared
    return replace(prepared, seconds=time.monotonic() - solved, opam_seconds=solved - begun)


def _clean_up(context: Context, tell: Callable[[str], None]) -> None:
    """Undo what an earlier restore left that was killed; mostly there is nothing."""
    if traces.there(context):
        from opambin.placement import leftovers

        leftovers.clean_up(context, tell)


def prepare_plan(context: Context, command: Command, plan: Plan, fingerprint: str) -> Prepared | PlainOpam:
    """Decide on a plan.

    Args:
        context: The switch and the store.
        command: What opam would be asked to do.
        plan: opam's plan for it.
        fingerprint: Of the switch that it was made for.

    Raises:
        OpambinError: A definition can't be had, or a record of the switch can't be read.
    """
    from opambin.door import projects, roots
    from opambin.door.decision import decide

    asked = request.parse(command.args, context.environ)
    folders = projects.find(asked, context.environ)
    dropped = frozenset(project.name for project in folders)
    deps_only = "--deps-only" in asked.options
    if deps_only:
        dropped |= {PackageName(name) for name in asked.names}
    if all(package.name in dropped for package in plan.installs) and not plan.removes:
        nothing = not plan.actions or deps_only
        return PlainOpam("", plan if nothing else None)
    decision = decide(context, asked, plan, dropped)
    if decision.for_good:
        # What is installed in their place must not be there before they have gone.
        name = min(decision.for_good)
        return PlainOpam(f"opam has to remove {name}: {decision.kept[name]}")
    later = () if deps_only else tuple(p for p in plan.installs if p.name in dropped)
    names = command.verb == "install"
    wanted = roots.asked_for(context, asked, plan, decision, folders) if names else frozenset()
    problems = (*context.need_store().problems, *decision.shelf.problems())
    return Prepared(context, asked, plan, decision, fingerprint, wanted, later, problems)


def _all_installed(context: Context, asked: Request) -> bool:
    installed = context.switch.state().installed
    return all(PackageName(name) in installed for name in asked.names)


def obstacle_to_restoring(context: Context) -> str:
    """Say why nothing may or can be restored into the switch; empty when something can.

    Raises:
        OpambinError: opam is missing or too old, or its configuration can't be read.
    """
    if not context.config.enabled or not context.config.restore:
        return "restoring is switched off by the configuration"
    if context.excluded:
        return f"this switch is excluded by the configuration ({context.excluded})"
    if context.store is None:
        return context.store_problem
    context.root.check_opam(context.opam_version)
    hook = others_hook(context)
    return f"{hook} of others are configured, which have to see each package" if hook else ""


def others_hook(context: Context) -> str:
    """Return a field of opam's configuration with hooks of others that run around each installation."""
    config = context.root.config
    return next(
        (
            field
            for field in _HOOKS_TO_HONOUR
            if any(not hooklist.is_ours(command) for command in hooklist.commands(config, field))
        ),
        "",
    )


def carry_out(prepared: Prepared, tell: Callable[[str], None]) -> Restored | None:
    """Restore what hits; None when there was nothing, or when it failed before the prefix was touched.

    Args:
        prepared: The plan.
        tell: Called with lines for the user.
    """
    from opambin.door import outcome
    from opambin.opam.environment import refresh
    from opambin.restore import Wanted, restore

    if prepared.idle:
        return None
    context = prepared.context
    decision = prepared.decision
    wanted = Wanted(decision.items, prepared.roots, prepared.fingerprint, tell, decision.removals)
    store = context.need_store()
    try:
        # gc waits: what the plan has chosen must not go while it is being placed
        with nullcontext() if store.staging.readonly else store.writing():
            done = restore(context, decision.universe, wanted)
    except OpambinError as error:
        tell(f"opam-bin: nothing was restored: {error}")
        return None
    if done.environment_stale:
        refresh(context.opam, context.switch)
    try:
        outcome.keep_statistics(prepared, done)
    except UnavailableError as error:
        tell(f"opam-bin: {error}")
    return done
