"""``opam-bin clone``: copy a whole switch."""

from __future__ import annotations

import click

from opambin.cli import moving


@click.command("clone")
@click.argument("switch")
@click.argument("new")
@click.option("--leave", multiple=True, metavar="GLOB", help="Files that may go on to name the old place.")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would change, and what can't be moved.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(switch: str, new: str, leave: tuple[str, ...], dry_run: bool, as_json: bool) -> int:
    """Copy SWITCH with everything that is installed in it, as switch NEW.

    Both are names, or folders of local switches (with a '/' or a leading '.'). Nothing is built: every file
    is rewritten for its new place, and the copy is checked before opam gets to know it. When a file can't be
    moved, nothing is done, and exit code 5 tells; --leave names files that nothing needs.
    """
    return moving.run(switch, new, keep=True, leave=leave, dry_run=dry_run, as_json=as_json)
