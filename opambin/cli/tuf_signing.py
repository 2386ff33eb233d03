"""``opam-bin tuf``: what is done with keys once a repository has them."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from opambin.cli.output import Column, counted, moment, print_json, print_table
from opambin.cli.trusting import now, partial_option, public_key, sign_option, signers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opambin.publish.tufmeta import Signing

WARNED_DAYS = 3  # before the end, status exits with 1


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Keep out whoever publishes to a folder, while it is signed."""
    from opambin.publish.places import Folder
    from opambin.publish.signed.metafolder import check_parent

    check_parent(folder)
    with Folder(folder.absolute()).lock():
        yield


folder_argument = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))


@click.command("sign")
@folder_argument
@click.option("--renew", is_flag=True, help="Sign anew although nothing has changed.")
@sign_option
def sign(folder: Path, renew: bool, keys: tuple[str, ...]) -> None:
    """Sign what has changed in a published repository."""
    from opambin.publish.tufmeta import Wishes, sign_repository

    with writing(folder):
        tell(folder, sign_repository(folder, signers(keys), now(), Wishes(renew=renew)))


@click.command("refresh")
@folder_argument
@sign_option
def refresh(folder: Path, keys: tuple[str, ...]) -> None:
    """Sign snapshot and timestamp anew, so that the repository does not expire; run this every day.

    The keys of snapshot and timestamp are enough.
    """
    from opambin.publish.tufmeta import Wishes, sign_repository

    with writing(folder):
        tell(folder, sign_repository(folder, signers(keys), now(), Wishes(renew=True)))


@click.command("delegate")
@folder_argument
@click.argument("publisher")
@click.argument("names", nargs=-1)
@click.option("--key", "theirs", multiple=True, metavar="KEY", help="A public key of the publisher.")
@click.option("--threshold", type=int, default=1, metavar="N", help="How many of its keys must sign (1).")
@sign_option
def delegate(
    *,
    folder: Path,
    publisher: str,
    names: tuple[str, ...],
    theirs: tuple[str, ...],
    threshold: int,
    keys: tuple[str, ...],
) -> None:
    """Let another publisher sign for the packages NAMES, and for no others.

    It signs them in its own published folder, with 'contribute'; 'accept' takes them over.
    """
    from opambin.publish.signed.delegating import Delegation
    from opambin.publish.tufmeta import Wishes, sign_repository

    wish = Delegation(publisher, names, tuple(map(public_key, theirs)), threshold)
    with writing(folder):
        tell(folder, sign_repository(folder, signers(keys), now(), Wishes(delegate=(wish,))))


@click.command("undelegate")
@folder_argument
@click.argument("publisher")
@sign_option
def undelegate(folder: Path, publisher: str, keys: tuple[str, ...]) -> None:
    """Take the packages back from another publisher; what it has published is removed."""
    from opambin.publish.signed.contributing import take_back

    with writing(folder):
        tell(folder, take_back(folder, publisher, signers(keys), now()))


@click.command("contribute")
@folder_argument
@click.argument("publisher")
@click.argument("names", nargs=-1, required=True)
@sign_option
def contribute(folder: Path, publisher: str, names: tuple[str, ...], keys: tuple[str, ...]) -> None:
    """Sign packages of your own published folder, for a repository that has delegated them to PUBLISHER."""
    from opambin.publish.signed.contributing import contribute as sign_for

    place = sign_for(folder, publisher, names, signers(keys), now())
    click.echo(
        f"{place} is signed. The owner takes it over with: opam-bin tuf accept DIR {publisher} {folder}"
    )


@click.command("accept")
@folder_argument
@click.argument("publisher")
@click.argument("theirs", type=click.Path(path_type=Path))
@sign_option
def accept(folder: Path, publisher: str, theirs: Path, keys: tuple[str, ...]) -> None:
    """Take over what PUBLISHER has signed in its published folder THEIRS."""
    from opambin.publish.signed.contributing import take_over

    with writing(folder):
        tell(folder, take_over(folder, publisher, theirs, signers(keys), now()))


@click.command("upload")
@folder_argument
@click.argument("target", metavar="URL")
@click.option("--drop-archives", is_flag=True, help="Remove archives from DIR once they are there.")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be copied.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def upload(folder: Path, target: str, *, drop_archives: bool, dry_run: bool, as_json: bool) -> None:
    """Copy a signed folder to where it is served: http(s)://…, s3://…, or rsync:HOST:PATH.

    Only what is not there yet; in an order in which whoever updates meanwhile has a whole repository.
    """
    import os
    from dataclasses import asdict

    from opambin.errors import MisuseError
    from opambin.publish.places import Folder
    from opambin.publish.publisher import place_of
    from opambin.publish.signed.uploading import upload as carry_over
    from opambin.summary import data_size

    place = place_of(target, os.environ)
    if isinstance(place, Folder):
        raise MisuseError(f"{target} is a folder of this machine: publish there, or give rsync:{target}")
    with writing(folder):
        done = carry_over(folder.absolute(), place, now(), dry_run=dry_run, drop=drop_archives)
    end = int(done.expires.timestamp())
    if as_json:
        print_json({"place": place.shown, **asdict(done), "expires": end})
        return
    if not done.changed:
        click.echo(
            f"{place.shown} is as it should be: timestamp {done.timestamp}, valid until {moment(end)}."
        )
        return
    removed = f", {done.removed} removed" if done.removed else ""
    click.echo(
        f"{'Would copy' if dry_run else 'Copied'} to {place.shown}: {counted(done.files, 'file')} "
        f"({data_size(done.size)}){removed}; timestamp {done.timestamp}, valid until {moment(end)}."
    )


@click.command("status")
@folder_argument
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(folder: Path, as_json: bool) -> int:
    """Show roles, keys, thresholds, and when what was signed ends to be valid.

    Exit code 1 when something has expired, or will within three days.
    """
    from opambin.publish.signed.standing import look

    found = look(folder, now())
    if as_json:
        print_json(found.told())
    else:
        columns = [
            Column("ROLE"),
            Column("VERSION", True),
            Column("NEEDS"),
            Column("VALID UNTIL"),
            Column("KEYS"),
        ]
        print_table(columns, [it.row(moment) for it in found.roles])
    return int(found.ends_within(WARNED_DAYS))


@click.command("trust")
@folder_argument
@click.option("--url", metavar="URL", help="Where the repository is served.")
@click.option("--name", default="binary", metavar="NAME", help="What users call it in opam.")
@partial_option
def trust(folder: Path, url: str | None, name: str, *, partial: bool) -> None:
    """Print what users have to do so that opam refuses updates that do not verify."""
    from opambin.publish.signed.standing import instructions

    click.echo(instructions(folder, url, name, partial=partial), nl=False)


def tell(folder: Path, signing: Signing) -> None:
    """Say what was signed."""
    end = moment(int(signing.expires.timestamp()))
    if not signing.written:
        click.echo(f"{folder}: nothing has changed; valid until {end}.")
        return
    click.echo(
        f"{folder}: {counted(signing.files, 'file')} under signature, timestamp {signing.timestamp}, "
        f"valid until {end}."
    )


COMMANDS = (sign, refresh, delegate, undelegate, contribute, accept, upload, status, trust)
