"""``opam-bin keep``: name snapshots that gc leaves alone."""

from __future__ import annotations

import os
from dataclasses import asdict

import click

from opambin.cli.output import print_json


@click.command("keep")
@click.argument("packages", nargs=-1, metavar="[PACKAGE...]")
@click.option("--key", "keys", multiple=True, help="A cone key, or its first eight or more digits.")
@click.option("--switch", "switches", multiple=True, help="What is installed in a switch.")
@click.option("--remove", is_flag=True, help="No longer keep what is named.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    packages: tuple[str, ...], keys: tuple[str, ...], switches: tuple[str, ...], remove: bool, as_json: bool
) -> None:
    """Keep snapshots in the store whatever their age; without arguments, list what is kept.

    PACKAGE is NAME, NAME.VERSION, or a glob on either. Of a switch, what is on record as installed when gc
    runs is kept.
    """
    from opambin.config import load
    from opambin.store import keeping
    from opambin.store.permissions import Sharing
    from opambin.store.store import Store

    wishes = [keeping.Wish.of("package", glob) for glob in packages]
    wishes += [keeping.Wish.of("key", key) for key in keys]
    wishes += [keeping.Wish.of("switch", prefix_of(name)) for name in switches]
    config = load(os.environ)
    readonly = not wishes
    with Store.open(config.cache, create=False, readonly=readonly, sharing=Sharing(config.shared)) as store:
        if remove:
            kept = keeping.change(store, remove=wishes)
        else:
            kept = keeping.change(store, add=wishes) if wishes else keeping.read(store)
    if as_json:
        print_json({"store": str(config.cache), "keep": [asdict(wish) for wish in kept]})
        return
    for wish in kept:
        click.echo(str(wish))
    if not kept:
        click.echo("Nothing in particular is kept.")


def prefix_of(name: str) -> str:
    """Return the prefix of a switch, whether it is there or not."""
    from pathlib import Path

    from opambin.opam.root import Root
    from opambin.opam.switch import locate

    return str(locate(Root.find(os.environ).path, name, Path.cwd())[1])
