"""``opam-bin key``: the keys that sign snapshots, and whom to trust."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from opambin.cli.groups import Group
from opambin.cli.output import Column, print_json, print_table

if TYPE_CHECKING:
    from opambin.keyring import Keyring

SHOWN_DIGITS = 16  # of an id


@click.group("key", cls=Group)
def command() -> None:
    """Make, list, trust and revoke the keys that sign snapshots.

    Cone keys, which say what a build is made of, are printed by opam-bin cone.
    """


@command.command("generate")
@click.argument("name")
@click.option("--stdout", is_flag=True, help="Print the secret key and keep nothing (for a CI's secrets).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def generate(name: str, stdout: bool, as_json: bool) -> int:
    """Make a key; the secret stays here, the public key is printed."""
    from opambin.trust.keys import SecretKey

    secret = SecretKey.generate(name)
    file = None if stdout else _keyring().add_secret(secret)
    public = secret.public
    if as_json:
        shown = {"name": name, "id": public.id, "public": str(public), "file": str(file) if file else None}
        print_json({**shown, "secret": secret.reveal()} if stdout else shown)
        return 0
    if file is None:
        click.echo(f"the public key: {public}", err=True)
        click.echo(secret.reveal())
    else:
        click.echo(f"the secret key is in {file}; who is to trust it needs this:", err=True)
        click.echo(str(public))
    return 0


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_keys(as_json: bool) -> int:
    """List the keys that are trusted, the ones that were revoked, and the secret ones."""
    keyring = _keyring()
    trusted, revoked = keyring.trusted(), keyring.revoked()
    secrets = {name: keyring.secret(name).public for name in keyring.secrets()}
    found = {key.public.id: (name, str(key.public), str(key.role)) for name, key in trusted.items()}
    for name, public in secrets.items():
        found.setdefault(public.id, (name, str(public), ""))
    for key in revoked:
        found.setdefault(key, ("", "", ""))
    own = {public.id for public in secrets.values()}
    rows = sorted((name, key, public, role) for key, (name, public, role) in found.items())
    if as_json:
        print_json(
            [
                {
                    "name": name or None,
                    "id": key,
                    "public": public or None,
                    "role": role or None,
                    "revoked": key in revoked,
                    "secret": key in own,
                }
                for name, key, public, role in rows
            ]
        )
        return 0
    if not rows:
        click.echo("there are no keys", err=True)
        return 0
    print_table(
        [Column("name"), Column("id"), Column("trusted for"), Column("secret")],
        [
            (
                name or "-",
                key[:SHOWN_DIGITS],
                "revoked" if key in revoked else role or "-",
                "here" if key in own else "-",
            )
            for name, key, _, role in rows
        ],
    )
    return 0


@command.command("trust")
@click.argument("key")
@click.option("--role", type=click.Choice(["release", "staging"]), default="release", show_default=True)
@click.option("--name", help="Another name for it than its own.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def trust(key: str, role: str, name: str | None, as_json: bool) -> int:
    """Let the signatures of a public key count; KEY is its text, or a file that holds it."""
    from opambin.trust.keys import SECRET_TAG, PublicKey, check_name
    from opambin.trust.policy import Role, TrustedKey

    text = key if ":" in key and "/" not in key.partition(":")[0] else _read(key)
    if text.startswith(f"{SECRET_TAG}:"):
        raise click.UsageError(
            "that is a secret key; its public half, as 'key generate' printed it, is trusted"
        )
    public = PublicKey.parse(text)
    if name:
        public = PublicKey(check_name(name), public.raw)
    file = _keyring().add_trusted(TrustedKey(public, Role(role)))
    if as_json:
        shown = {"name": public.name, "id": public.id, "public": str(public), "role": role, "file": str(file)}
        print_json(shown)
    else:
        what = "releases" if role == "release" else "staging"
        click.echo(f"{public.name} ({public.id[:SHOWN_DIGITS]}) is trusted for {what}")
    return 0


@command.command("revoke")
@click.argument("key")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def revoke(key: str, as_json: bool) -> int:
    """Never let the signatures of a key count again; KEY is its name, its id, or its text."""
    from datetime import UTC, datetime

    keyring = _keyring()
    found, name = keyring.identify(key)
    new = keyring.revoke(found, f"{name} {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
    shown = f"{name} ({found[:SHOWN_DIGITS]})" if name else found[:SHOWN_DIGITS]
    if as_json:
        print_json({"id": found, "name": name or None, "new": new})
    else:
        click.echo(f"{shown} is revoked" if new else f"{shown} was revoked already")
    return 0 if new else 1


def _keyring() -> Keyring:
    from opambin.keyring import Keyring

    return Keyring(os.environ)


def _read(path: str) -> str:
    """Read a file that is named on the command line.

    Raises:
        MisuseError: It is not there, or can't be read, or is no text.
    """
    from opambin.errors import MisuseError

    try:
        with open(path, encoding="ascii") as stream:  # noqa: PTH123 - a text on the command line
            return stream.read(1000)
    except (OSError, ValueError) as error:
        raise MisuseError(f"{path!r:.100} is neither a public key nor a file that holds one") from error
