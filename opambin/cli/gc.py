"""``opam-bin gc``: remove what no snapshot needs."""

from __future__ import annotations

import os
import time
from dataclasses import asdict

import click

from opambin.cli.output import counted, print_json, print_problems


@click.command("gc")
@click.option("-n", "--dry-run", is_flag=True, help="Only count.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(dry_run: bool, as_json: bool) -> None:
    """Remove from the store what no snapshot needs and what interrupted writes have left.

    No snapshot is removed. Objects younger than an hour stay: their snapshot may be in the making.
    """
    from opambin.config import load
    from opambin.store.gc import collect
    from opambin.store.store import Store
    from opambin.summary import data_size

    cache = load(os.environ).cache
    with Store.open(cache, create=False) as store:
        report = collect(store, now=time.time(), dry_run=dry_run)
        problems = list(store.problems)
    if as_json:
        print_json({"store": str(cache), **asdict(report), "problems": problems})
    else:
        verb = "Would remove" if dry_run else "Removed"
        removed = f"{counted(report.objects, 'object')} ({data_size(report.object_bytes)})"
        click.echo(f"{verb} {removed} and {counted(report.leftovers, 'leftover')} of interrupted writes.")
        if report.young:
            click.echo(f"{counted(report.young, 'object')} stay: they are less than an hour old.")
    print_problems(problems)
