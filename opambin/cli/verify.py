"""``opam-bin verify``: look through the whole store for damage."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from opambin.cli.output import counted, print_json, print_problems

if TYPE_CHECKING:
    from opambin.store.verify import VerifyReport


@click.command("verify")
@click.option("--full", is_flag=True, help="Hash every object, not only those that look wrong.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(full: bool, as_json: bool) -> int:
    """Check every snapshot and object of the store, and bring its index in line.

    What is damaged goes to the store's quarantine and is built again when it is next needed; a store that
    can't be written is only looked at. Exit code 3 when bad data was found.
    """
    from opambin.config import load
    from opambin.errors import BadDataError
    from opambin.store.store import Store
    from opambin.store.verify import verify

    cache = load(os.environ).cache
    readonly = not os.access(cache, os.W_OK)
    with Store.open(cache, create=False, readonly=readonly) as store:
        report = verify(store, full=full)
    if as_json:
        print_json(
            {"store": str(cache), "full": full, "readonly": readonly, "sound": report.sound, **asdict(report)}
        )
    else:
        _show(report, full=full, readonly=readonly)
    return 0 if report.sound else BadDataError.exit_code


def _show(report: VerifyReport, *, full: bool, readonly: bool) -> None:
    from opambin.summary import data_size

    print_problems(report.problems)
    hashed = f", {data_size(report.hashed_bytes)} hashed" if full else ""
    click.echo(f"{counted(report.manifests, 'snapshot')}, {counted(report.objects, 'object')}{hashed}")
    if report.unnamed:
        click.echo(f"{counted(report.unnamed, 'object')} belong to no snapshot ('opam-bin gc' removes them)")
    if report.sound:
        click.echo("Nothing is wrong.")
        return
    where = "stays where it is: the store can't be written" if readonly else "is in the store's quarantine"
    click.echo(f"{counted(len(report.problems), 'problem')}; what is bad {where}")
