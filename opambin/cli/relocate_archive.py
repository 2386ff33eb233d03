"""``opam-bin relocate-archive``: what published packages call that plain opam can't move."""

from __future__ import annotations

from pathlib import Path

import click

from opambin.cli.output import counted, print_json


@click.command("relocate-archive")
@click.argument("prefix")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(prefix: str, as_json: bool) -> None:
    """Give files of an unpacked published archive, in the current folder, the prefix of a switch.

    Packages that were published with --allow-helper call it at their installation; nobody else has to.
    """
    from opambin.publish import helped

    number = helped.relocate(Path.cwd(), prefix)
    if as_json:
        print_json({"files": number})
    else:
        click.echo(f"{counted(number, 'file')} moved to {prefix}")
