"""``opam-bin install``: opam's install, with what is in the store restored first."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opambin.front import Prepared
    from opambin.restore import Restored

YES = frozenset(("-y", "--yes", "--confirm-level=unsafe-yes"))
DECLINED = 10
"""opam's exit code when a question is answered with no."""


@click.command(
    "install",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    add_help_option=False,
)
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def command(args: tuple[str, ...]) -> int:
    """Install packages: takes every option of ``opam install``.

    What the store has is restored before opam downloads anything; opam builds the rest. Options of our own:
    ``--json-summary`` prints what was done as JSON, ``--help`` this text.
    """
    if "--help" in args or "-h" in args:
        print(click.get_current_context().get_help())
        print("\nEverything else goes to opam; see 'opam install --help'.")
        return 0
    as_json = "--json-summary" in args
    rest = tuple(arg for arg in args if arg != "--json-summary")
    return install(rest, as_json=as_json)


def install(args: Sequence[str], *, as_json: bool) -> int:
    """Carry out the command.

    Returns:
        The exit code: opam's own where opam was run.
    """
    from opambin import front

    tell = (lambda line: print(line, file=sys.stderr)) if as_json else print
    prepared = front.prepare(args, os.environ)
    if isinstance(prepared, front.PlainOpam):
        if prepared.reason:
            tell(f"opam-bin: {prepared.reason}; opam goes on alone")
        if prepared.planned is not None:
            print(prepared.planned, end="", file=sys.stderr if as_json else sys.stdout)
            return 0
        run_opam(args)
    tell_problems(prepared, tell)
    if not prepared.hits:
        tell("opam-bin: nothing of this is in the store")
        run_opam(args)
    if not agreed(prepared, args, as_json=as_json):
        return DECLINED
    done = front.carry_out(prepared, tell)
    if done is not None:
        for line in front.summary_lines(prepared, done):
            tell(line)
    left = front.left_to_opam(prepared, done)
    if as_json:
        print(json.dumps(report(prepared, done, left), indent=2))
    if left:
        run_opam([*args, *(() if YES & set(args) else ("--yes",))])
    return 0


def tell_problems(prepared: Prepared, tell: Callable[[str], None]) -> None:
    """Report the bad data that planning met in the store."""
    for problem in prepared.problems:
        tell(f"opam-bin: {problem}")


def agreed(prepared: Prepared, args: Sequence[str], *, as_json: bool) -> bool:
    """Show opam's plan and ask, where opam would ask: when more is to be done than was named."""
    stream = sys.stderr if as_json else sys.stdout
    print(prepared.plan.stdout.rstrip(), file=stream, flush=True)
    named = prepared.request.names
    if YES & set(args) or os.environ.get("OPAMYES", "") not in ("", "0", "false", "no"):
        return True
    if all(package.name in named for package in prepared.plan.installs) and not prepared.plan.removes:
        return True
    print("Do you want to continue? [Y/n] ", end="", file=stream, flush=True)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        print(file=stream)
        return False
    return answer.strip().lower() in ("", "y", "yes")


def run_opam(args: Sequence[str]) -> NoReturn:
    """Become ``opam install ARGS``."""
    from opambin.context import real_opam

    program = real_opam(os.environ)
    sys.stdout.flush()  # what is buffered is lost when the program is replaced
    os.execv(program, [program, "install", *args])  # noqa: S606 - no shell is wanted


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
