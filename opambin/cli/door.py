"""What ``install``, ``upgrade`` and ``reinstall`` share: plan, ask, restore, hand the rest to opam."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

from opambin.cli.helpwords import wants_help
from opambin.cli.jsonsummary import Summary
from opambin.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from opambin.cli.console import Console
    from opambin.door.front import PlainOpam, Prepared

OURS = {
    "--dry-run": "Only show what would be restored, and how long it takes; with --json as JSON.",
    "--json-summary": "Print what was done as JSON; what is for people goes to standard error.",
    "--refresh": "Forget what is known of remotes.",
    "--offline": "Ask no remote.",
}
"""Options that are ours, with their help; with ``--dry-run`` so is a ``--json`` without a value."""
TOLD = "OPAMBIN_TOLD"
"""In the environment: what the hooks of opam need not say, since the user was told."""


@dataclass(frozen=True, slots=True)
class Words:
    """A command line, with our options taken out of it.

    Attributes:
        verb: Of opam.
        args: For opam.
        json: Whether JSON is wanted on standard output.
        dry_run: Whether only a forecast is wanted.
    """

    verb: str
    args: tuple[str, ...]
    json: bool
    dry_run: bool

    @classmethod
    def of(cls, verb: str, args: Sequence[str]) -> Words:
        """Take our options out; what stands behind ``--`` is no option."""
        end = args.index("--") if "--" in args else len(args)
        options = args[:end]
        ours = set(OURS) & set(options)
        dry_run = "--dry-run" in ours
        taken = (*OURS, "--json") if dry_run else OURS
        rest = (*(word for word in options if word not in taken), *args[end:])
        obey(ours)
        as_json = "--json-summary" in ours or (dry_run and "--json" in options)
        return cls(verb, rest, as_json, dry_run)


def run(verb: str, args: tuple[str, ...]) -> int:
    """Carry out a command.

    Returns:
        The exit code: opam's own where opam was run.
    """
    from opambin import request
    from opambin.cli.console import Console
    from opambin.door import front

    if wants_help(args):
        from opambin.cli.verbatim import show_help

        return show_help(verb)
    words = Words.of(verb, args)
    summary = Summary.open(wanted=words.json and not words.dry_run)
    color = Console.of(request.parse(words.args, os.environ).values.get("--color", ""), os.environ).color
    prepared = front.prepare(front.Command(verb, words.args, color), os.environ, print)
    if words.dry_run:
        return show_forecast(prepared, as_json=words.json)
    if isinstance(prepared, front.PlainOpam):
        return leave_to_opam(words, prepared, summary)
    tell_problems(prepared, print)
    if prepared.idle:
        from opambin.door import outcome

        for line in outcome.idle_lines(prepared):
            print(line)
        summary.of_restore(prepared, None)
        run_opam(verb, words.args)
    return _restore(words, prepared, summary)


def show_forecast(prepared: Prepared | PlainOpam, *, as_json: bool) -> int:
    """Show what would be done; returns the exit code.

    Raises:
        OpambinError: Nothing could be looked at.
    """
    from opambin.cli import forecast
    from opambin.door import front

    if not isinstance(prepared, front.PlainOpam):
        tell_problems(prepared, lambda line: print(line, file=sys.stderr))
    return forecast.show(prepared, as_json=as_json)


def leave_to_opam(words: Words, plain: PlainOpam, summary: Summary) -> int:
    """Let opam do all of it; returns when there is nothing to do."""
    if plain.reason:
        go_on_alone(plain.reason)
    summary.of_nothing(plain)
    if plain.planned is None:
        run_opam(words.verb, words.args)
    print(plain.planned.stdout, end="", flush=True)
    print(plain.planned.stderr, end="", file=sys.stderr)
    return 0


def go_on_alone(reason: str) -> None:
    """Say why opam goes on alone, and see to it that the session that follows need not say it again."""
    print(f"opam-bin: {reason}; opam goes on alone", flush=True)
    os.environ[TOLD] = reason


def _restore(words: Words, prepared: Prepared, summary: Summary) -> int:
    from opambin.cli import narration
    from opambin.cli.progress import meter
    from opambin.cli.provision import note_promise, provide
    from opambin.cli.question import DECLINED
    from opambin.door import fetching, front, outcome
    from opambin.machine import systempackages

    console = narration.console_of(prepared, os.environ)
    if not agreed(prepared, console):
        return DECLINED
    missing = systempackages.missing(prepared)
    code = provide(prepared, missing, print)
    if code:
        return code
    prepared = fetching.fetch(prepared, print, meter(quiet=words.json))
    done = front.carry_out(prepared, print)
    left = outcome.left_to_opam(prepared, done)
    if done is not None:
        note_promise(prepared, missing, {*(str(m.package) for m in done.restored), *done.checked})
        narration.print_steps(prepared, done, console, print)
        if left:
            narration.print_messages(prepared, done, console, print)
        else:
            narration.print_end(prepared, done, console, print)
        for line in outcome.summary_lines(prepared, done):
            print(line)
    summary.of_restore(prepared, done)
    if left:
        yes = () if prepared.request.yes else ("--yes",)
        run_opam(words.verb, [*yes, *rest_of(words, left)])
    return 0


def obey(options: Collection[str]) -> None:
    """Take options about remotes over into the environment, from where opam's hooks see them, too."""
    if "--refresh" in options:
        os.environ["OPAMBIN_REFRESH"] = "1"
    if "--offline" in options:
        os.environ["OPAMBIN_OFFLINE"] = "true"


def rest_of(words: Words, left: dict[str, str]) -> Sequence[str]:
    """Return what opam is asked to do after a restore: the same, but nothing is reinstalled twice."""
    if words.verb != "reinstall":
        return words.args
    from opambin import request

    names = {package.partition(".")[0] for package in left}
    done = request.parse(words.args, os.environ).names - names
    return [word for word in words.args if request.parse([word], {}).names.isdisjoint(done)]


def tell_problems(prepared: Prepared, tell: Callable[[str], None]) -> None:
    """Report bad data that planning met, and what remotes could not be asked or trusted for."""
    for problem in prepared.problems:
        tell(f"opam-bin: {problem}")
    for line in prepared.decision.shelf.lines():
        tell(line)
        os.environ[TOLD] = "1"  # so that the session that may follow need not say it again


def agreed(prepared: Prepared, console: Console) -> bool:
    """Show opam's plan and ask, where opam would ask: when other packages are concerned than were named."""
    from opambin.cli import question

    # opam words a plan that is only asked for as one that nobody carries out
    plan = prepared.plan.stdout.rstrip().replace("would be performed", "will be performed")
    print(prepared.plan.stderr, end="", file=sys.stderr, flush=True)
    print(plan, flush=True)
    asked = prepared.request
    if asked.yes or {action.package.name for action in prepared.plan.actions} == asked.names:
        return True
    return question.agreed(plan, prepared.context.opam_version, console, sys.stdout)


def run_opam(*words: str | Sequence[str]) -> NoReturn:
    """Become opam with some words; a sequence counts as several."""
    from opambin.context import real_opam

    program = real_opam(os.environ)
    sys.stdout.flush()  # what is buffered is lost when the program is replaced
    line = [part for word in words for part in ([word] if isinstance(word, str) else word)]
    os.execv(program, [program, *line])  # noqa: S606 - no shell is wanted
