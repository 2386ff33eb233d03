"""``opam-bin remote snapshot``: vouch for the present state of a remote."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from opambin.cli.amounts import Age
from opambin.cli.output import date, print_json

if TYPE_CHECKING:
    from opambin.model import ConeKey, OutputId


@click.command("snapshot")
@click.argument("remote", required=False)
@click.option("--expires", type=Age(), default="30d", show_default=True, help="How long it is valid.")
@click.option("--withdraw", multiple=True, metavar="KEY:OUTPUT", help="An output that is taken back.")
@click.option("--minimum-age", type=Age(), help="Take back all statements that are older.")
@click.option("--countersign", is_flag=True, help="Only add a signature to what is there.")
@click.option("--anew", is_flag=True, help="Begin again where the remote has lost the old one.")
@click.option("--key", "key", default="", help="Name of the key that signs.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    remote: str | None,
    *,
    expires: float,
    withdraw: tuple[str, ...],
    minimum_age: float | None,
    countersign: bool,
    anew: bool,
    key: str,
    as_json: bool,
) -> None:
    """Put a new signed statement about the whole remote there; clients compare it with the last one.

    What was withdrawn before stays withdrawn. REMOTE is a name or a URL.
    """
    import time
    from dataclasses import asdict

    from opambin.exchange import opening, vouching
    from opambin.keyring import Keyring

    secrets = (Keyring(os.environ).secret(key),)
    source = opening.writable(os.environ, remote, secrets)
    voucher = vouching.Voucher(source, secrets, os.environ)
    minimum = None if minimum_age is None else int(time.time() - minimum_age)
    change = vouching.Change(expires, frozenset(_pair(text) for text in withdraw), minimum, anew)
    state = vouching.countersign(voucher) if countersign else vouching.vouch(voucher, change)
    if as_json:
        print_json({**asdict(state), "withdrawn": sorted(state.withdrawn)})
        return
    taken = f", {len(state.withdrawn)} withdrawn" if state.withdrawn else ""
    click.echo(f"opam-bin: state {state.serial} of {source.name}, valid until {date(state.expires)}{taken}")


def _pair(text: str) -> tuple[ConeKey, OutputId]:
    from opambin.errors import MisuseError
    from opambin.model import ConeKey, OutputId
    from opambin.store.layout import is_hex64

    key, _, output = text.partition(":")
    if not (is_hex64(key) and is_hex64(output)):
        raise MisuseError(f"not KEY:OUTPUT, 64 digits each: {text!r:.150}")
    return ConeKey(key), OutputId(output)
