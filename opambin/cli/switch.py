"""``opam-bin switch``: opam's switch; ``switch create NAME COMPILER`` restores the compiler."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from opambin.cli import door
from opambin.cli.helpwords import wants_help
from opambin.cli.jsonsummary import Summary
from opambin.cli.verbatim import Verbatim, show_help

if TYPE_CHECKING:
    from opambin.door.creation import Made


@click.command("switch", cls=Verbatim, ours=door.OURS)
def command(args: tuple[str, ...]) -> int:
    """Create a switch: 'switch create NAME COMPILER', with the compiler restored where the store has it.

    The switch is the one that 'opam switch create' makes. Other commands about switches, and other ways to
    create one, go to opam as they are.
    """
    from opambin.door import creation, front, wishes

    if not args or wants_help(args):
        return show_help("switch")
    if not wishes.is_asked_for(args):
        door.run_opam("switch", args)
    words = door.Words.of("switch", args)
    summary = Summary.open(wanted=words.json and not words.dry_run)
    wish = wishes.parse(words.args, os.environ)
    if words.dry_run:
        prepared = front.PlainOpam() if wish is None else creation.rehearse(wish, os.environ)
        return door.show_forecast(prepared, as_json=words.json)
    made = front.PlainOpam() if wish is None else creation.make(wish, os.environ)
    if isinstance(made, front.PlainOpam):
        return door.leave_to_opam(words, made, summary)
    try:
        code = _fill(made, words, summary)
    except BaseException:
        creation.remove(made.context.opam, made.context.switch)
        raise
    return _clean_up(made, code) if code else 0


def _fill(made: Made, words: door.Words, summary: Summary) -> int:
    """Restore the compiler and let opam install the rest; returns its exit code."""
    from opambin.cli import narration
    from opambin.cli.progress import meter
    from opambin.door import creation, fetching, front, outcome

    door.tell_problems(made.prepared, print)
    made = replace(made, prepared=fetching.fetch(made.prepared, print, meter(quiet=words.json)))
    console = narration.console_of(made.prepared, os.environ)
    heading = console.heading("Installing new switch packages")
    print(f"\n{heading}\nSwitch invariant: {made.invariant}", flush=True)
    done = front.carry_out(made.prepared, print)
    summary.of_restore(made.prepared, done)
    if done is None:
        creation.remove(made.context.opam, made.context.switch)
        door.run_opam("switch", words.args)
    narration.print_steps(made.prepared, done, console, print)
    left = outcome.left_to_opam(made.prepared, done)
    if not left:
        print("Done.")
    narration.print_messages(made.prepared, done, console, print)
    if made.hint and not left:
        print(made.hint)
    for line in outcome.summary_lines(made.prepared, done):
        print(line)
    sys.stdout.flush()
    code = creation.install_rest(made) if left else 0
    if made.hint and left:
        print(made.hint)
    if not code:
        creation.complete(made)
    return code


def _clean_up(made: Made, code: int) -> int:
    """Ask as opam does whether a switch that is not complete shall stay."""
    from opambin.door import creation

    question = "Switch initialisation failed: clean up? ('n' will leave the switch partially installed)"
    print(f"{question} [Y/n] ", end="", flush=True)
    answer = "y\n" if made.wish.yes else sys.stdin.readline()
    print("y" if made.wish.yes else "")
    if answer.strip().lower() in ("", "y", "yes") and answer.endswith("\n"):
        creation.remove(made.context.opam, made.context.switch)
    else:
        creation.complete(made)
    return code
