"""``opam-bin init``: set opam-bin up in an opam root."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from opambin.setup.initialise import InitPlan

PEER_REPOSITORY_HINT = (
    "  Its repository and its files stay; 'opam repository list' shows what it added "
    "('opam repository remove NAME --all-switches' drops it)."
)


def opam_root(given: Path | None) -> Path:
    """Return the opam root that a command is about: the given one, or opam's own choice."""
    chosen = given or Path(os.environ.get("OPAMROOT") or "~/.opam")
    return chosen.expanduser().absolute()


def confirm(question: str, *, yes: bool) -> None:
    """Go on only when the user agreed.

    Raises:
        MisuseError: There is nobody to ask.
        Abort: The answer is no.
    """
    from opambin.errors import MisuseError

    if yes:
        return
    if not sys.stdin.isatty():
        raise MisuseError("there is no terminal to ask on: pass --yes to agree, or --dry-run to look only")
    click.confirm(question, default=False, abort=True)


@click.command("init")
@click.option(
    "--root", type=click.Path(path_type=Path), help="The opam root (default: $OPAMROOT or ~/.opam)."
)
@click.option("-y", "--yes", is_flag=True, help="Don't ask.")
@click.option("-n", "--dry-run", is_flag=True, help="Only show what would change.")
@click.option("--json", "as_json", is_flag=True, help="Show it as JSON.")
@click.option(
    "--replace-peer", is_flag=True, help="Take out the hooks of OCaml's opam-bin, and take over its link."
)
@click.option(
    "--transparent", is_flag=True, help="Also write a program that stands for opam; see 'opam-bin env'."
)
def command(
    *, root: Path | None, yes: bool, dry_run: bool, as_json: bool, replace_peer: bool, transparent: bool
) -> None:
    """Set opam-bin up in an opam root.

    Adds hooks to opam's configuration, so that plain 'opam install' uses the cache and fills it, and a link
    that makes 'opam bin' work. Sandboxing and the hooks of others stay. 'opam-bin uninstall' undoes it.
    """
    from opambin.context import real_opam
    from opambin.opam.client import Opam
    from opambin.setup.initialise import init, plan_init
    from opambin.setup.place import own_program

    place = opam_root(root)
    opam = Opam(real_opam(os.environ), root=place)
    opam.check_supported()
    stand_for = opam.program if transparent else ""
    plan = plan_init(place, own_program(), replace_peer=replace_peer, stand_for=stand_for)
    if plan.peers and not replace_peer:
        _agree_to_replace(plan, asks=not (yes or dry_run or as_json))
        plan = plan_init(place, own_program(), replace_peer=True, stand_for=stand_for)
    if as_json:
        click.echo(json.dumps({**plan.as_dict(), "dry_run": dry_run}, indent=1))
    else:
        show(plan)
    if not (dry_run or plan.empty):
        confirm(f"Change {place} like this?", yes=yes)
        init(plan, opam)
        if not as_json:
            click.echo("opam-bin is set up; the next 'opam install' uses it.")
    if plan.transparent and not (dry_run or as_json):
        tell_transparent(transparent=transparent)


def tell_transparent(*, transparent: bool) -> None:
    """Tell how a shell comes into transparent mode, or that the root is in it."""
    if transparent:
        click.echo(
            """For each shell, or its start-up file: eval "$(opam-bin env)\""""
            """  (fish: opam-bin env --shell fish | source)"""
        )
    else:
        click.echo("Transparent mode stays on ('opam-bin uninstall' ends it).")


def show(plan: InitPlan) -> None:
    """Tell what init finds and would do."""
    from opambin.opam.printer import print_value
    from opambin.setup.initialise import LinkState

    if plan.empty:
        click.echo(f"opam-bin is set up in {plan.place.root}; nothing to do.")
    for change in plan.changes:
        click.echo(f"{plan.place.config}: {change.field}")
        click.echo(
            "".join(f"  - {print_value(old)}\n" for old in change.before if old not in change.after), nl=False
        )
        click.echo(
            "".join(f"  + {print_value(new)}\n" for new in change.after if new not in change.before), nl=False
        )
    hooks = [file for file in plan.files if file.path != plan.place.shim]
    if hooks:
        click.echo(f"{plan.place.hooks}: {len(hooks)} files")
    if len(hooks) != len(plan.files):
        click.echo(f"{plan.place.shim}: stands for opam")
    if plan.writes_link:
        click.echo(f"{plan.place.link} -> {plan.program}")
    if plan.link is LinkState.FOREIGN:
        click.echo(
            f"{plan.place.link} is somebody else's and stays: 'opam bin' runs that, 'opam-bin' this program."
        )
    if plan.link is LinkState.NO_PROGRAM:
        click.echo("There is no opam-bin program in this environment: 'opam bin' will not work.")
    for hook in plan.foreign:
        click.echo(f"Stays as it is, not ours: {hook}")
    if plan.peers:
        click.echo("OCaml's opam-bin is configured here; its hooks are replaced.")
        click.echo(PEER_REPOSITORY_HINT)


def _agree_to_replace(plan: InitPlan, *, asks: bool) -> None:
    """Go on only when the user wants the hooks of OCaml's opam-bin replaced: both together can't work."""
    from opambin.errors import MisuseError

    for hook in plan.peers:
        click.echo(f"OCaml's opam-bin: {hook}", err=True)
    if not asks or not sys.stdin.isatty():
        raise MisuseError(
            "OCaml's opam-bin is configured in this root: pass --replace-peer to replace its hooks"
        )
    click.confirm("Both can't work together. Replace its hooks by ours?", default=False, abort=True)
