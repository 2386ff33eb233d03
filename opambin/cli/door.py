"""What ``install``, ``upgrade`` and ``reinstall`` share: plan, ask, restore, hand the rest to opam."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from opambin.cli.verbatim import show_help, wants_help

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from opambin.cli.console import Console
    from opambin.door.front import Prepared
    from opambin.restore import Restored

OURS = {
    "--dry-run": "Only show what would be restored, and how long it takes; with --json as JSON.",
    "--json-summary": "Print what was done as JSON; what is for people goes to standard error.",
    "--refresh": "Forget what is known of remotes.",
    "--offline": "Ask no remote.",
}
"""Options that are ours, with their help; with ``--dry-run`` so is a ``--json`` without a value."""


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
        return show_help(verb)
    words = Words.of(verb, args)
    tell = tell_in(json_wanted=words.json)
    color = Console.of(request.parse(words.args, os.environ).values.get("--color", ""), os.environ).color
    prepared = front.prepare(front.Command(verb, words.args, color), os.environ, tell)
    if words.dry_run:
        from opambin.cli import forecast

        if not isinstance(prepared, front.PlainOpam):
            tell_problems(prepared, tell_in(json_wanted=True))
        return forecast.show(prepared, as_json=words.json)
    if isinstance(prepared, front.PlainOpam):
        if prepared.reason:
            tell(f"opam-bin: {prepared.reason}; opam goes on alone")
        if prepared.planned is not None:
            print(prepared.planned.stdout, end="", file=sys.stderr if words.json else sys.stdout, flush=True)
            print(prepared.planned.stderr, end="", file=sys.stderr)
            return 0
        run_opam(verb, words.args)
    tell_problems(prepared, tell)
    if prepared.idle:
        where = "the store or on a remote" if prepared.decision.shelf.catalogues else "the store"
        tell(f"opam-bin: nothing of this is in {where}")
        run_opam(verb, words.args)
    return _restore(words, prepared, tell)


def _restore(words: Words, prepared: Prepared, tell: Callable[[str], None]) -> int:
    from opambin.cli import narration
    from opambin.cli.progress import meter
    from opambin.cli.provision import note_promise, provide
    from opambin.cli.question import DECLINED
    from opambin.door import fetching, front, outcome
    from opambin.machine import systempackages

    console = narration.console_of(prepared, os.environ)
    if not agreed(prepared, console, json_wanted=words.json):
        return DECLINED
    missing = systempackages.missing(prepared)
    code = provide(prepared, missing, tell)
    if code:
        return code
    prepared = fetching.fetch(prepared, tell, meter(quiet=words.json))
    done = front.carry_out(prepared, tell)
    left = outcome.left_to_opam(prepared, done)
    if done is not None:
        note_promise(prepared, missing, {*(str(m.package) for m in done.restored), *done.checked})
        narration.print_steps(prepared, done, console, tell)
        if left:
            narration.print_messages(prepared, done, console, tell)
        else:
            narration.print_end(prepared, done, console, tell)
        for line in outcome.summary_lines(prepared, done):
            tell(line)
    if words.json:
        print(json.dumps(report(prepared, done, left), indent=2))
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


def tell_in(*, json_wanted: bool) -> Callable[[str], None]:
    """Return what prints lines for people: on standard error where standard output is for JSON."""
    return lambda line: print(line, file=sys.stderr if json_wanted else sys.stdout)


def tell_problems(prepared: Prepared, tell: Callable[[str], None]) -> None:
    """Report bad data that planning met, and what remotes could not be asked or trusted for."""
    for problem in prepared.problems:
        tell(f"opam-bin: {problem}")
    for line in prepared.decision.shelf.lines():
        tell(line)
        os.environ["OPAMBIN_TOLD"] = "1"  # so that the session that may follow need not say it again


def agreed(prepared: Prepared, console: Console, *, json_wanted: bool) -> bool:
    """Show opam's plan and ask, where opam would ask: when other packages are concerned than were named."""
    from opambin.cli import question

    stream = sys.stderr if json_wanted else sys.stdout
    # opam words a plan that is only asked for as one that nobody carries out
    plan = prepared.plan.stdout.rstrip().replace("would be performed", "will be performed")
    print(prepared.plan.stderr, end="", file=sys.stderr, flush=True)
    print(plan, file=stream, flush=True)
    asked = prepared.request
    if asked.yes or {action.package.name for action in prepared.plan.actions} == asked.names:
        return True
    return question.agreed(plan, prepared.context.opam_version, console, stream)


def run_opam(*words: str | Sequence[str]) -> NoReturn:
    """Become opam with some words; a sequence counts as several."""
    from opambin.context import real_opam

    program = real_opam(os.environ)
    sys.stdout.flush()  # what is buffered is lost when the program is replaced
    line = [part for word in words for part in ([word] if isinstance(word, str) else word)]
    os.execv(program, [program, *line])  # noqa: S606 - no shell is wanted


def report(prepared: Prepared, done: Restored | None, left: dict[str, str]) -> dict[str, object]:
    """Return what was done as plain values."""
    return {
        "switch": prepared.context.switch.name,
        "prefix": prepared.context.prefix,
        "restored": []
        if done is None
        else [
            {
                "package": str(manifest.package),
                "key": manifest.key,
                "output": manifest.output,
                "bytes": manifest.size,
                "saved_seconds": manifest.build.seconds,
                "saved_source_bytes": manifest.build.source_bytes,
            }
            for manifest in done.restored
        ],
        "checked": [] if done is None else list(done.checked),
        "left_to_opam": left,
        "reports": [*prepared.problems, *(() if done is None else done.reports)],
        "seconds": {
            "opam_plan": round(prepared.opam_seconds, 3),
            "plan": round(prepared.seconds, 3),
            "restore": round(0.0 if done is None else done.seconds, 3),
        },
    }
