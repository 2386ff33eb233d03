"""``opam-bin pull``: fetch snapshots into the store, and install nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from opambin.cli.output import counted, print_json, print_problems

if TYPE_CHECKING:
    from opambin.door.pulling import Answer


@click.command("pull")
@click.argument("packages", nargs=-1, metavar="[PACKAGE...]")
@click.option("--switch", help="The switch that they are for (default: the current one).")
@click.option("--refresh", is_flag=True, help="Forget what is known of remotes.")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be fetched.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    packages: tuple[str, ...], *, switch: str | None, refresh: bool, dry_run: bool, as_json: bool
) -> int:
    """Fetch what 'opam-bin install PACKAGE...' would fetch; without PACKAGE, what the switch holds.

    Exit code 1 when something could not be fetched.
    """
    from opambin.cli.door import obey
    from opambin.cli.progress import meter
    from opambin.door import pulling

    obey({"--refresh"} if refresh else ())
    answer = pulling.pull(packages, switch, os.environ, meter(quiet=as_json), dry_run=dry_run)
    if as_json:
        print_json({**_values(answer), "dry_run": dry_run})
    else:
        _tell(answer, dry_run=dry_run)
    print_problems([*answer.shelf.problems(), *answer.shelf.store.problems])
    return 1 if answer.pulled.failed else 0


def _tell(answer: Answer, *, dry_run: bool) -> None:
    from opambin.summary import data_size

    for line in answer.shelf.lines():
        click.echo(line)
    for package, reason in answer.nowhere.items():
        click.echo(f"opam-bin: {package}: {reason}")
    pulled = answer.pulled
    if dry_run:
        count = counted(len(pulled.manifests), "snapshot")
        click.echo(f"opam-bin: {count} would be fetched ({data_size(pulled.bytes)})")
    for line in pulled.lines() if not dry_run else ():
        click.echo(line)
    if answer.here:
        click.echo(f"opam-bin: {counted(len(answer.here), 'snapshot')} in the store already")


def _values(answer: Answer) -> dict[str, object]:
    pulled = answer.pulled
    return {
        "fetched": [
            {"package": str(it.package), "key": it.key, "output": it.output} for it in pulled.manifests
        ],
        "failed": {str(offer.manifest.package): reason for offer, reason in pulled.failed},
        "here": list(answer.here),
        "nowhere": dict(answer.nowhere),
        "bytes": pulled.bytes,
        "seconds": round(pulled.seconds, 3),
        "problems": [*pulled.problems, *answer.shelf.problems()],
    }
