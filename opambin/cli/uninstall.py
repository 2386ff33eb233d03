"""``opam-bin uninstall``: take opam-bin out of an opam root."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from opambin.cli.init import confirm, opam_root

if TYPE_CHECKING:
    from opambin.opam.client import Opam
    from opambin.setup.uninstall import UninstallPlan


@click.command("uninstall")
@click.option(
    "--root", type=click.Path(path_type=Path), help="The opam root (default: $OPAMROOT or ~/.opam)."
)
@click.option("-y", "--yes", is_flag=True, help="Don't ask.")
@click.option("-n", "--dry-run", is_flag=True, help="Only show what would change.")
@click.option("--json", "as_json", is_flag=True, help="Show it as JSON.")
@click.option("--purge-store", is_flag=True, help="Remove the store, too; other opam roots may be using it.")
def command(root: Path | None, yes: bool, dry_run: bool, as_json: bool, purge_store: bool) -> None:
    """Take opam-bin out of an opam root.

    Removes our hooks from opam's configuration, then our files, then the link for 'opam bin'. Installed
    packages stay as they are; so does the store, unless --purge-store is given.
    """
    from opambin.config import load
    from opambin.setup.uninstall import plan_uninstall, uninstall

    plan = plan_uninstall(opam_root(root))
    store = load(os.environ).cache
    doomed = store if purge_store and store.is_dir() else None
    if as_json:
        purged = str(doomed) if doomed else None
        click.echo(json.dumps({**plan.as_dict(), "dry_run": dry_run, "purges": purged}, indent=1))
    else:
        _show(plan, doomed)
    if dry_run or (plan.empty and doomed is None):
        return
    confirm(f"Change {plan.place.root} like this?", yes=yes)
    was_transparent = plan.place.shim.exists()
    said = uninstall(plan, _opam(plan.place.root))
    if doomed is not None:
        _purge(doomed)
    for line in said:
        click.echo(line, err=as_json)
    if not as_json:
        if was_transparent:
            click.echo("In shells that run, 'hash -r' makes them look for opam again.")
        for kept in plan.keeps:
            click.echo(f"Left: {kept}")
        if doomed is None and store.is_dir():
            click.echo(f"Left: {store} (the store; 'opam-bin uninstall --purge-store' removes it)")


def _show(plan: UninstallPlan, doomed: Path | None) -> None:
    from opambin.opam.printer import print_value

    if plan.empty:
        click.echo(f"opam-bin is not set up in {plan.place.root}; nothing to do there.")
    for change in plan.changes:
        click.echo(f"{plan.place.config}: {change.field}")
        click.echo(
            "".join(f"  - {print_value(old)}\n" for old in change.before if old not in change.after), nl=False
        )
    if plan.original is not None:
        click.echo(f"{plan.place.config}: back to the bytes that it had before init")
    for path in (*plan.removes, *([doomed] if doomed else [])):
        click.echo(f"remove {path}")


def _opam(root: Path) -> Opam | None:
    """Return the opam to use; it is not needed when the original configuration is put back."""
    from opambin.context import real_opam
    from opambin.errors import UnavailableError
    from opambin.opam.client import Opam

    try:
        return Opam(real_opam(os.environ), root=root)
    except UnavailableError:
        return None


def _purge(store: Path) -> None:
    from opambin.errors import BadDataError, UnavailableError

    if not (store / "format").is_file():
        raise BadDataError(store, "not a store (it has no file 'format'), so it is not removed")
    try:
        shutil.rmtree(store)
    except OSError as error:
        raise UnavailableError(f"{error.filename or store}: {error.strerror}") from error
