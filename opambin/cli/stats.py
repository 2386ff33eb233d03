"""``opam-bin stats``: hits, misses and what was saved."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from opambin.cli.output import Column, counted, print_json, print_problems, print_table, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opambin.reports.stats import Statistics, Tally

ROWS = 20
"""How many packages or reasons a table for people has, before it counts the rest."""


@click.command("stats")
@click.option("--since", metavar="DATE", help="From this day on: 2026-03-01, yesterday, or 7d for a week.")
@click.option("--by", type=click.Choice(["day", "package", "reason"]), default="day", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with all three tables.")
@click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False), help="Write a page with plots to this file."
)
def command(since: str | None, by: str, as_json: bool, html: Path | None) -> None:
    """Show hits, misses by reason, and what was saved, by day or package.

    Time saved is what building took when the snapshot was made; bytes saved are sources that were not
    downloaded.
    """
    from opambin.config import load
    from opambin.context import open_store
    from opambin.errors import UnavailableError
    from opambin.reports.stats import Statistics, beginning, collect, day_of
    from opambin.store.layout import Layout, check_format

    now = datetime.now().astimezone()
    day = day_of(since, now.date()) if since else None
    cache = load(os.environ).cache
    found = Statistics(day)
    if check_format(Layout(cache)) or cache.exists():
        store, problem = open_store(load(os.environ), readonly=True)
        if store is None:
            raise UnavailableError(problem)
        with store:
            found = collect(store.index.events(beginning(day) if day else 0), day)
            print_problems(store.problems)
    if html is not None:
        from opambin.reports.statspage import write_page

        write_page(html, found, now)
    if as_json:
        print_json({"store": str(cache), **found.as_dict()})
    elif html is not None:
        click.echo(f"Written: {printable(str(html))}")
    else:
        _show(found, by)


def _show(found: Statistics, by: str) -> None:
    from opambin.summary import data_size, duration

    total = found.total
    when = f" since {found.since}" if found.since else ""
    if not total.total:
        click.echo(f"Nothing was installed with opam-bin{when}.")
        return
    click.echo(
        f"{counted(total.total, 'package')}{when}: {total.hits:,} restored, {total.misses:,} not"
        f" ({total.rate:.0%} hits)"
    )
    click.echo(
        f"Saved: {duration(total.saved_seconds)} of building, {data_size(total.saved_bytes)} of downloads"
    )
    if total.avoidable_bytes:
        click.echo(
            f"Plain 'opam install' downloaded {data_size(total.avoidable_bytes)} of sources for nothing;"
            " 'opam-bin install' would not have."
        )
    click.echo()
    if by == "reason":
        _reasons(found.reasons)
    else:
        title = by.upper()
        _tallies(title, {str(day): it for day, it in found.days.items()} if by == "day" else found.packages)


def _tallies(title: str, rows: Mapping[str, Tally]) -> None:
    from opambin.summary import data_size, duration

    shown = list(rows.items()) if title == "DAY" else list(rows.items())[:ROWS]
    columns = [
        Column(title),
        *(Column(name, right=True) for name in ("HITS", "MISSES", "SAVED", "DOWNLOADS", "BUILT")),
    ]
    print_table(
        columns,
        [
            (
                name,
                f"{it.hits:,}",
                f"{it.misses:,}",
                duration(it.saved_seconds),
                data_size(it.saved_bytes),
                duration(it.spent_seconds),
            )
            for name, it in shown
        ],
    )
    _rest(len(rows) - len(shown), "package")


def _reasons(rows: Mapping[str, Tally]) -> None:
    from opambin.summary import duration

    shown = list(rows.items())[:ROWS]
    print_table(
        [Column("MISSES", right=True), Column("BUILT", right=True), Column("REASON")],
        [(f"{it.misses:,}", duration(it.spent_seconds), reason) for reason, it in shown],
    )
    _rest(len(rows) - len(shown), "reason")


def _rest(number: int, noun: str) -> None:
    if number > 0:
        click.echo(f"and {counted(number, noun)} more; --json has all")
