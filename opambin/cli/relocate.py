"""``opam-bin relocate``: move a whole switch."""

from __future__ import annotations

import click

from opambin.cli import moving


@click.command("relocate")
@click.argument("switch")
@click.argument("new", metavar="NEWDIR")
@click.option("--leave", multiple=True, metavar="GLOB", help="Files that may go on to name the old place.")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would change, and what can't be moved.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(switch: str, new: str, leave: tuple[str, ...], dry_run: bool, as_json: bool) -> int:
    """Move SWITCH with everything that is installed in it to NEWDIR.

    Both are folders of local switches (with a '/' or a leading '.'), or names: then the switch is, or will
    be, in opam's root. Nothing is built: every file is rewritten for its new place. The old files are removed
    last, when opam has found everything in the new place. When a file can't be moved, nothing is done, and
    exit code 5 tells; --leave names files that nothing needs.
    """
    return moving.run(switch, new, keep=False, leave=leave, dry_run=dry_run, as_json=as_json)
