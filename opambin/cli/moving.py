"""What ``opam-bin clone`` and ``opam-bin relocate`` have in common."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from opambin.cli.output import counted, print_json, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opambin.move.survey import Progress
    from opambin.move.workflow import Moved, Wanted

SHOWN = 10  # changed files in words; --json has them all


def run(switch: str, new: str, *, keep: bool, leave: tuple[str, ...], dry_run: bool, as_json: bool) -> int:
    """Do what was asked for and tell about it; returns the exit code."""
    from opambin.move.survey import CannotMoveError
    from opambin.move.workflow import Wanted, move

    with _bar() as progress:
        wanted = Wanted(switch, new, keep, leave, dry_run, _tell, progress)
        try:
            moved = move(os.environ, wanted)
        except CannotMoveError as error:
            if as_json:
                print_json({"refusals": [asdict(refusal) for refusal in error.refusals]})
            raise
    if as_json:
        print_json(_values(moved, wanted))
    else:
        for line in _lines(moved, wanted):
            click.echo(printable(line))
    return CannotMoveError.exit_code if moved.refusals else 0


def _values(moved: Moved, wanted: Wanted) -> dict[str, object]:
    return {
        "switch": moved.old,
        "prefix": moved.old_prefix,
        "new_switch": moved.new,
        "new_prefix": moved.new_prefix,
        "kept": wanted.keep,
        "dry_run": wanted.dry_run,
        "packages": moved.packages,
        "files": moved.files,
        "bytes": moved.bytes,
        "changed": list(moved.changed),
        "stale": moved.stale,
        "refusals": [asdict(refusal) for refusal in moved.refusals],
        "links": list(moved.links),
        "seconds": moved.seconds,
    }


def _lines(moved: Moved, wanted: Wanted) -> list[str]:
    from opambin.summary import data_size

    size = f"{counted(moved.packages, 'package')}, {counted(moved.files, 'file')}, {data_size(moved.bytes)}"
    changed = f"{counted(len(moved.changed), 'file')} rewritten"
    if wanted.dry_run:
        verb = "would be copied" if wanted.keep else "would be moved"
        lines = [f"{moved.old} ({moved.old_prefix}) {verb} to {moved.new} ({moved.new_prefix}): {size}"]
        lines.append(f"{changed}:" if moved.changed else changed)
        lines += [f"  {path}" for path in moved.changed[:SHOWN]]
        if len(moved.changed) > SHOWN:
            lines.append(f"  and {len(moved.changed) - SHOWN} more")
        if moved.refusals:
            lines.append(f"{counted(len(moved.refusals), 'reason')} why it can't be:")
            lines += [f"  {refusal}" for refusal in moved.refusals]
        return lines
    verb = "copied" if wanted.keep else "moved"
    lines = [f"{moved.old} was {verb} to {moved.new} ({moved.new_prefix}): {size}, {changed}"]
    lines += [f"{link} leads there now" for link in moved.links]
    return [*lines, f"# Run eval $(opam env --switch={moved.new} --set-switch) to use it in this shell"]


def _tell(line: str) -> None:
    click.echo(f"opam-bin: {printable(line)}", err=True)


@contextmanager
def _bar() -> Iterator[Progress]:
    """Show a bar on a terminal, and nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _stage, _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn
    from rich.progress import Progress as RichProgress

    columns = (TextColumn("{task.description:10}"), BarColumn(), DownloadColumn())
    with RichProgress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done)

        yield show
