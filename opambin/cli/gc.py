"""``opam-bin gc``: remove what no snapshot needs, and snapshots that are too old or too many."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from opambin.cli.amounts import Age, Size
from opambin.cli.output import counted, date, print_json, print_problems
from opambin.errors import UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    from opambin.store.eviction import Evicted
    from opambin.store.gc import GcReport

CACHE_SECONDS = 30 * 86_400
"""How long what is remembered of remotes and switches stays in the index."""


@click.command("gc")
@click.option(
    "--max-size", type=Size(), help="Drop the longest unused snapshots until no more than this is left."
)
@click.option("--older-than", type=Age(), help="Drop snapshots that were not used for so long (90d, 36h).")
@click.option("-n", "--dry-run", is_flag=True, help="Only count.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(max_size: int | None, older_than: float | None, dry_run: bool, as_json: bool) -> None:
    """Remove from the store what no snapshot needs and what interrupted writes have left.

    Without --max-size and --older-than no snapshot is removed. What 'opam-bin keep' names stays, and so does
    what was used within the last hour. Objects younger than an hour stay: their snapshot may be in the
    making.
    """
    from opambin.config import load
    from opambin.store import eviction, keeping
    from opambin.store.gc import collect
    from opambin.store.permissions import Sharing
    from opambin.store.store import Store

    config = load(os.environ)
    if not dry_run:
        _check_writable(config.cache)
    limits = eviction.Limits(max_size, older_than)
    with Store.open(config.cache, create=False, sharing=Sharing(config.shared)) as store:
        evicted = None
        if limits != eviction.Limits():
            keeps = keeping.keeper(store, keeping.read(store))
            evicted = eviction.evict(store, limits, keeps, now=time.time(), dry_run=dry_run)
        gone = {(record.key, record.output) for record in evicted.gone} if evicted else set()
        if not dry_run:
            store.index.trim_caches(int(time.time() - CACHE_SECONDS))
        report = collect(store, now=time.time(), dry_run=dry_run, without=gone)
        problems = list(store.problems)
    if as_json:
        print_json(
            {
                "store": str(config.cache),
                **asdict(report),
                "snapshots": [] if evicted is None else [asdict(record) for record in evicted.gone],
                "kept": 0 if evicted is None else evicted.kept,
                "problems": problems,
            }
        )
    else:
        _tell(report, evicted)
    print_problems(problems)


def _check_writable(place: Path) -> None:
    """See that something can be removed from a store.

    Raises:
        UnavailableError: It is another's, or on something that is mounted read-only.
    """
    if not place.is_dir() or os.access(place, os.W_OK):
        return
    try:
        owner = place.owner()
    except (KeyError, OSError):  # a user that this machine has no name for
        owner = "its owner"
    raise UnavailableError(
        f"nothing can be removed from the store at {place}, which you can't write: let {owner} run"
        " 'opam-bin gc', make it writable, or name another directory in OPAMBIN_CACHE (--dry-run only counts)"
    )


def _tell(report: GcReport, evicted: Evicted | None) -> None:
    from opambin.store.eviction import last_use
    from opambin.summary import data_size

    verb = "Would remove" if report.dry_run else "Removed"
    if evicted is not None:
        for record in evicted.gone:
            click.echo(
                f"{verb} {record.name}.{record.version} ({record.key[:12]}, used {date(last_use(record))})"
            )
        kept = f"; {counted(evicted.kept, 'snapshot')} stay because 'opam-bin keep' names them"
        click.echo(f"{verb} {counted(len(evicted.gone), 'snapshot')}{kept if evicted.kept else ''}.")
    removed = f"{counted(report.objects, 'object')} ({data_size(report.object_bytes)})"
    click.echo(f"{verb} {removed} and {counted(report.leftovers, 'leftover')} of interrupted writes.")
    if report.young:
        click.echo(f"{counted(report.young, 'object')} stay: they are less than an hour old.")
