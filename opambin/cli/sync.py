"""``opam-bin sync FILE``: bring a switch to exactly what a lock file or an export says."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from opambin.cli import door
from opambin.cli.question import DECLINED

if TYPE_CHECKING:
    from opambin.door.sync import Outlook


@click.command("sync")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--switch", help="The switch to bring there; otherwise the current one.")
@click.option("--remove", is_flag=True, help="With an export: also remove what it does not list.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def command(file: Path, switch: str | None, remove: bool, yes: bool) -> int:
    """Install what FILE lists, at these versions.

    FILE is a lock file (opam lock) or what opam switch export wrote. Where all of it is in the store no
    solver runs; the rest is left to opam install or opam switch import.
    """
    from opambin import request
    from opambin.door import sync

    wish = sync.Wish(file, switch, remove, yes or request.parse([], os.environ).yes)
    outlook = sync.prepare(wish, os.environ, print)
    if outlook.same:
        print(f"opam-bin: the switch holds what {file} lists")
        return _tell_extra(outlook)
    if outlook.prepared is None or outlook.prepared.idle:
        door.go_on_alone(outlook.reason or "nothing of this is in the store")
        door.run_opam(outlook.words)
    if not wish.yes and not _agreed(outlook):
        return DECLINED
    return _carry_out(outlook)


def _agreed(outlook: Outlook) -> bool:
    if outlook.prepared is not None:
        for action in outlook.prepared.plan.actions:
            print(f"  {action.verb} {action.package}")
    print("Do you want to continue? [Y/n] ", end="", flush=True)
    answer = sys.stdin.readline()
    return answer.endswith("\n") and answer.strip().lower() in ("", "y", "yes")


def _carry_out(outlook: Outlook) -> int:
    from opambin.cli import narration
    from opambin.cli.progress import meter
    from opambin.cli.provision import provide
    from opambin.door import fetching, front, outcome
    from opambin.machine import systempackages

    prepared = outlook.prepared
    if prepared is None:
        return 1
    door.tell_problems(prepared, print)
    code = provide(prepared, systempackages.missing(prepared), print)
    if code:
        return code
    prepared = fetching.fetch(prepared, print, meter())
    done = front.carry_out(prepared, print)
    if done is not None:
        for line in outcome.summary_lines(prepared, done):
            print(line)
        narration.print_messages(prepared, done, narration.console_of(prepared, os.environ), print)
    if outcome.left_to_opam(prepared, done):
        door.run_opam(outlook.words)
    return _tell_extra(outlook)


def _tell_extra(outlook: Outlook) -> int:
    if outlook.extra:
        names = ", ".join(map(str, outlook.extra))
        print(f"opam-bin: not listed, and still installed: {names} (--remove removes them)")
    return 0
