"""Asking opam for its plan, and not waiting for what does not change it.

Most of the time that opam takes goes into asking the system's package manager about every package of the
repository. The answer only takes packages away: those that want system packages which do not exist. So opam
is asked without it first. A plan whose system packages are all installed, as are those of what is in the
switch, is the one that opam would make; any other is asked for again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opambin import request
from opambin.door import warmup
from opambin.errors import OpambinError
from opambin.opam.client import PlanFailed
from opambin.opam.parser import parse

if TYPE_CHECKING:
    from opambin.context import Context
    from opambin.door.front import Command
    from opambin.opam.client import Plan

_WITHOUT = {"OPAMNODEPEXTS": "1"}
_ABOUT_SYSTEM = frozenset(("--no-depexts", "--assume-depexts"))
_VARIABLES = ("OPAMNODEPEXTS", "OPAMASSUMEDEPEXTS")
_FIELD = "depexts"


def ask_for_plan(context: Context, command: Command) -> tuple[Plan | PlanFailed, str]:
    """Ask opam for its plan; returns it with the fingerprint of the switch that it was made for.

    The fingerprint is taken before, since another opam may change the switch right after. opam itself may
    write the state of pins when it plans; then the second plan finds nothing to write.
    """
    meanwhile = warmup.begin(context)
    asked = request.parse(command.args, context.environ)
    named = any(context.environ.get(name) for name in _VARIABLES)
    quick = not named and not asked.options & _ABOUT_SYSTEM
    plan, fingerprint = _ask(context, command, _WITHOUT if quick else {})
    meanwhile.end()  # opam may take the place of this process next, and would get its children
    # what can't be planned without looking at the system can't be with it
    if not quick or isinstance(plan, PlanFailed) or _system_is_complete(context, plan):
        return plan, fingerprint
    return _ask(context, command, {})


def _ask(context: Context, command: Command, extra: dict[str, str]) -> tuple[Plan | PlanFailed, str]:
    words = [command.verb, *command.args]
    colors = {"OPAMCOLOR": "always"} if command.color else {}
    before = context.switch.fingerprint()
    plan = context.opam.plan(words, env_extra={**extra, **colors})
    after = context.switch.fingerprint()
    if before != after:
        plan = context.opam.plan(words, env_extra={**extra, **colors})
    return plan, after


def _system_is_complete(context: Context, plan: Plan) -> bool:
    """Tell whether all system packages are installed that the packages of a plan and of the switch want."""
    from opambin.machine import systempackages

    try:
        raw = context.raw(plan.installs)
        texts = [raw[package] for package in plan.installs]
        texts += [context.switch.installed_opam(package) for package in context.switch.state().packages]
        files = [parse(text, "opam") for text in texts if _FIELD in text]
        return systempackages.all_there(context, files)
    except (OpambinError, KeyError):
        return False
