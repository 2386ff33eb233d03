"""What opam means to do, as it writes it with ``--show-actions --json``."""

from __future__ import annotations

import json
from enum import StrEnum

from opambin.errors import BadDataError
from opambin.frozen import dataclass
from opambin.model import Package, PackageName, Version

DEPS_OF = "deps-of-"
"""What 2.3 and later call the stand-in for a local project under ``--deps-only``."""


class Verb(StrEnum):
    """What a plan does to a package."""

    INSTALL = "install"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Action:
    """One step of a plan."""

    verb: Verb
    package: Package


@dataclass(frozen=True, slots=True)
class Plan:
    """What opam would do, in its order: dependencies before what needs them.

    An upgrade or a reinstall is a ``remove`` and an ``install`` of the same name.

    Attributes:
        actions: The steps; empty when there is nothing to do.
        switch: The switch that opam planned for; empty when it had nothing to do.
        stdout: opam's words, for people.
        stderr: opam's warnings, for people.
        stand_ins: Packages of which only the dependencies get installed, under their own names.
    """

    actions: tuple[Action, ...]
    switch: str = ""
    stdout: str = ""
    stderr: str = ""
    stand_ins: tuple[Package, ...] = ()

    @property
    def installs(self) -> tuple[Package, ...]:
        """What gets installed, reinstalled packages included."""
        return tuple(action.package for action in self.actions if action.verb is Verb.INSTALL)

    @property
    def removes(self) -> tuple[Package, ...]:
        """What is removed, also when it comes back in the same plan."""
        return tuple(action.package for action in self.actions if action.verb is Verb.REMOVE)


@dataclass(frozen=True, slots=True)
class PlanFailed:
    """opam made no plan: no such package, a conflict, missing system packages.

    Attributes:
        code: opam's exit code (5 unknown package, 20 no solution, 10 aborted, ...).
        stdout: opam's words.
        stderr: opam's errors.
    """

    code: int
    stdout: str
    stderr: str


def parse_plan(text: str) -> tuple[str, tuple[Action, ...], tuple[Package, ...]]:
    """Read what ``--show-actions --json`` wrote: the switch, the steps without stand-ins, and these.

    Raises:
        BadDataError: Not JSON, or a step of another shape.
    """
    what = "opam --json"
    try:
        answer = json.loads(text)
    except ValueError as error:
        raise BadDataError(what, f"not JSON: {error}") from error
    if not isinstance(answer, dict) or not isinstance(steps := answer.get("solution", []), list):
        raise BadDataError(what, "not a plan", expected="an object with a list", observed=text[:200])
    actions = [_action(step, what) for step in steps]
    kept = tuple(action for action in actions if not action.package.name.startswith(DEPS_OF))
    stand_ins = tuple(
        Package(PackageName(action.package.name.removeprefix(DEPS_OF)), action.package.version)
        for action in actions
        if action not in kept
    )
    return str(answer.get("switch", "")), kept, stand_ins


def _action(step: object, what: str) -> Action:
    if isinstance(step, dict) and len(step) == 1:
        ((verb, package),) = step.items()
        match package:
            case {"name": str(name), "version": str(version)} if verb in {*Verb}:
                return Action(Verb(verb), Package(PackageName(name), Version(version)))
    raise BadDataError(what, "unknown step in the solution", expected="install or remove", observed=step)
