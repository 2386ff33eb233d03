"""``opam-bin remote gc``: remove from a remote what nothing names, and what is too old or too much."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import click

from opambin.cli.amounts import Age, Size
from opambin.cli.output import counted, date, print_json

if TYPE_CHECKING:
    from opambin.exchange.pruning import Doomed


@click.command("gc")
@click.argument("remote", required=False)
@click.option("--max-size", type=Size(), help="Drop the oldest snapshots until no more than this is left.")
@click.option("--older-than", type=Age(), help="Drop snapshots that were pushed longer ago (90d, 36h).")
@click.option("--keep", multiple=True, metavar="WHAT", help="Keep NAME, NAME.VERSION, a glob, or a key.")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would go.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    remote: str | None,
    *,
    max_size: int | None,
    older_than: float | None,
    keep: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Remove archives that no statement names for a day, and snapshots beyond a size or an age.

    REMOTE is a name or a URL; it has to be of a kind that can list. It may run while others pull and push.
    """
    from opambin.exchange import opening, pruning

    source = opening.existing(os.environ, remote)
    holdings = pruning.survey(source.remote)
    wanted = pruning.Wanted(max_size, older_than, keep)
    doomed = pruning.choose(holdings, wanted, time.time())
    if not dry_run:
        pruning.carry_out(source.remote, holdings, doomed)
    if as_json:
        rows = [{"package": it.package, "key": it.key, "pushed_at": int(it.modified)} for it in doomed.slots]
        print_json(
            {
                "remote": source.name,
                "snapshots": rows,
                "archives": len(doomed.archives),
                "orphans": len(doomed.orphans),
                "bytes": doomed.bytes,
                "left_bytes": doomed.left,
                "dry_run": dry_run,
            }
        )
    else:
        _tell(source.name, doomed, dry_run=dry_run)


def _tell(name: str, doomed: Doomed, *, dry_run: bool) -> None:
    from opambin.summary import data_size

    verb = "Would remove" if dry_run else "Removed"
    for slot in doomed.slots:
        click.echo(f"{verb} {slot.package or slot.key[:12]} (pushed {date(int(slot.modified))})")
    orphans = f" and {counted(len(doomed.orphans), 'orphan')}" if doomed.orphans else ""
    snapshots = counted(len(doomed.slots), "snapshot")
    left = f"{data_size(doomed.left)} stay"
    click.echo(f"{verb} {snapshots}{orphans} from {name} ({data_size(doomed.bytes)}); {left}.")
