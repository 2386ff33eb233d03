"""``opam-bin sign``: add a signature to what others have signed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from opambin.cli.output import counted, print_json

if TYPE_CHECKING:
    from opambin.exchange.promotion import Promoted, Promoter


@click.command("sign")
@click.argument("packages", nargs=-1, metavar="[PACKAGE...]")
@click.option("--all", "everything", is_flag=True, help="All statements.")
@click.option("--remote", help="Name or URL (default: the first that is configured for writing).")
@click.option("--bundle", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A bundle.")
@click.option("--key", "key", default="", help="Name of the key that signs.")
@click.option("--unsigned", is_flag=True, help="Also sign what no trusted key has signed.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    packages: tuple[str, ...],
    *,
    everything: bool,
    remote: str | None,
    bundle: Path | None,
    key: str,
    unsigned: bool,
    as_json: bool,
) -> int:
    """Add a signature to statements on a remote or in a bundle: what a CI job has staged gets released.

    PACKAGE is NAME, NAME.VERSION, or a glob on either. Only what a trusted key has signed, be it for
    staging, gets another signature. Exit code 1 when something was refused.
    """
    from opambin.errors import MisuseError
    from opambin.exchange.promotion import Promoter
    from opambin.keyring import Keyring
    from opambin.trust.policy import Mode, Policy

    if bool(packages) == everything:
        raise MisuseError("name packages, or give --all")
    if remote is not None and bundle is not None:
        raise MisuseError("give --remote or --bundle, not both")
    keyring = Keyring(os.environ)
    policy = Policy(Mode.ANY, tuple(keyring.trusted().values()), revoked=keyring.revoked())
    promoter = Promoter(keyring.secret(key), policy, packages, unsigned)
    if bundle is not None:
        from opambin.exchange.promotion import in_bundle

        done = in_bundle(bundle.absolute(), promoter)
        where = str(bundle)
    else:
        done, where = _on_remote(remote, promoter)
    if as_json:
        print_json({"where": where, "signed": done.signed, "before": done.before, "refused": done.refused})
    else:
        for name, reason in done.refused.items():
            click.echo(f"opam-bin: {name} was not signed: {reason}")
        before = f", {len(done.before)} had it already" if done.before else ""
        click.echo(f"opam-bin: {counted(len(done.signed), 'statement')} signed in {where}{before}")
    if packages and not (done.signed or done.before or done.refused):
        raise MisuseError(f"{where} has no statement about {' or '.join(packages)}")
    return 1 if done.refused else 0


def _on_remote(remote: str | None, promoter: Promoter) -> tuple[Promoted, str]:
    """Sign on a remote; where it can't list, the keys are those of the store."""
    from opambin.cli.push import open_store
    from opambin.errors import UnavailableError
    from opambin.exchange import opening
    from opambin.exchange.promotion import on_remote

    source = opening.existing(os.environ, remote, (promoter.secret,))
    try:
        return on_remote(source.remote, promoter), source.name
    except UnavailableError as error:
        if "list" not in str(error):
            raise
        with open_store() as store:
            keys = list(dict.fromkeys(record.key for record in store.index.records()))
        return on_remote(source.remote, promoter, keys), source.name
