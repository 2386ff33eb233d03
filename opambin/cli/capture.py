"""``opam-bin capture``: take packages of a switch that was built before into the store."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict

import click


@click.command("capture")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--switch", help="The switch (default: the current one).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(names: tuple[str, ...], switch: str | None, as_json: bool) -> int:
    """Take installed packages into the store, where that is sound; all of the switch without names.

    opam's own list of the package's files must be there and still true. It is assumed that they were built
    without tests and documentation, in the environment of today. Programs and libraries that were not
    built with opam-bin's hooks hold the prefix at its true length, so their snapshots are often bound to
    it; 'opam-bin show' tells. Exit code 1 when one of the named packages was refused.
    """
    from opambin.adopt import adopt
    from opambin.context import open_context
    from opambin.summary import data_size

    context = open_context(os.environ, switch)
    done = adopt(context, names, lambda line: print(f"opam-bin: {line}", file=sys.stderr))
    if as_json:
        print(json.dumps([asdict(one) for one in done], indent=2))
    else:
        for one in done:
            size = f" ({data_size(one.bytes)})" if one.what == "captured" else ""
            print(f"{one.package}: {one.what}{size}{': ' + one.reason if one.reason else ''}")
    refused = any(one.what == "refused" for one in done)
    return 1 if names and refused else 0
