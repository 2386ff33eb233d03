"""``opam-bin publish``: an opam repository of binary packages."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from opambin.cli.output import counted, print_json, printable
from opambin.cli.trusting import now, sign_option, signers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opambin.config import Config
    from opambin.model import Manifest
    from opambin.publish.licences import Policy
    from opambin.publish.options import Options, Signed
    from opambin.publish.places import Place
    from opambin.publish.workflow import Report

_SHOWN = 10  # packages that are named before the rest is counted


@click.command("publish")
@click.argument("target", metavar="DIR|URL")
@click.argument("packages", nargs=-1, metavar="[PKG]...")
@click.option("--switch", default="", help="Publish what is installed in this switch.")
@click.option("--closure-of", multiple=True, metavar="PKG", help="PKG, also with what only its build needed.")
@click.option("--only", multiple=True, metavar="GLOB", help="What fits GLOB (ocaml.4.14.*) or stands on it.")
@click.option("--base-url", default="", help="Where it will be served; as before if not given.")
@click.option("--rebase", is_flag=True, help="It is served at another URL than before.")
@click.option("--mode", type=click.Choice(["alone", "mixed"]), help="Used alone, or beside sources.")
@click.option("--merge", is_flag=True, help="Keep what was published before.")
@click.option("--keep", type=click.IntRange(0), default=0, help="Versions kept of a package; 0: all.")
@click.option("--licence-policy", metavar="FILE", help="Adds to the built-in policy.")
@click.option("--allow-licence", multiple=True, metavar="SPDX", help="Allow a licence (glob).")
@click.option("--deny-licence", multiple=True, metavar="SPDX", help="Leave out what has this licence (glob).")
@click.option(
    "--licence", multiple=True, metavar="PKG=SPDX", help="The licence of a package that names none."
)
@click.option("--unknown-licences", type=click.Choice(["leave-out", "allow"]), help="What becomes of them.")
@click.option("--private", multiple=True, metavar="TEXT", help="A further text that must not be published.")
@click.option("--accept", multiple=True, metavar="PKG:PATH", help="Publish a file (glob) whatever it holds.")
@click.option("--allow-helper", is_flag=True, help="Publish what needs opam-bin at its installation, too.")
@click.option("--accept-older", is_flag=True, help="Go on although the place holds less than we put there.")
@sign_option
@click.option(
    "-n", "--dry-run", is_flag=True, help="Only say what would be published, left out, or in the way."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(target: str, packages: tuple[str, ...], as_json: bool, **given: Any) -> None:  # noqa: ANN401 - click's
    """Publish snapshots as an opam repository that plain opam installs from.

    DIR is a folder that is, or will be, served over http; a URL is a place to write to: http(s), s3, or
    rsync:HOST:PATH. Without PKG, --switch and --only the whole store is published. What a package needs at
    run time comes with it.
    """
    from opambin.config import load
    from opambin.publish import publisher, workflow
    from opambin.publish.options import Asked

    config = load(os.environ)
    place = publisher.place_of(target, os.environ)
    closure = given["closure_of"]
    asked = Asked(names=(*packages, *closure), closure=bool(closure), only=given["only"])
    if given["switch"]:
        asked = publisher.asked_of_switch(os.environ, given["switch"], asked)
    options = replace(
        _options(config, given, quiet=as_json),
        signed=_signed(target, place, given["keys"], dry_run=given["dry_run"]),
    )
    state = publisher.state_file(os.environ)
    with publisher.open_store(config) as store:
        report = workflow.publish(store, place, asked, options, publisher.last_serial(state, place.shown))
    if not options.dry_run:
        _renew(options)
        publisher.remember(state, place.shown, report.catalogue.serial)
    if as_json:
        print_json(values(report, place.shown))
    else:
        for line in lines(report, place.shown, dry_run=options.dry_run, signed=options.signed is not None):
            click.echo(printable(line))
    if report.findings:
        from opambin.publish.archiving import stopped

        raise stopped(report.findings)


def _options(config: Config, given: Mapping[str, Any], *, quiet: bool) -> Options:
    from opambin.errors import MisuseError
    from opambin.publish import publisher
    from opambin.publish.catalogue import Mode
    from opambin.publish.options import Options

    if bad := [glob for glob in given["accept"] if ":" not in glob]:
        raise MisuseError(f"--accept {bad[0]}: not PACKAGE:PATH; *:{bad[0]} is that file in any package")
    return Options(
        mode=Mode(given["mode"]) if given["mode"] else None,
        base_url=given["base_url"],
        rebase=given["rebase"],
        merge=given["merge"],
        keep=given["keep"],
        policy=_policy(given),
        identity=publisher.identity(os.environ, config, given["private"]),
        accepted=given["accept"],
        older=given["accept_older"],
        allow_helper=given["allow_helper"],
        dry_run=given["dry_run"],
        jobs=config.jobs,
        now=_now(),
        licence_files=_licence_files,
        tell=(lambda _: None) if quiet else _tell,
    )


def _signed(target: str, place: Place, keys: Sequence[str], *, dry_run: bool) -> Signed | None:
    """Return what signs, where the place has keys.

    Raises:
        MisuseError: Keys are missing, or nothing there can be signed; nothing was written.
    """
    from opambin.errors import MisuseError
    from opambin.publish.places import Folder
    from opambin.publish.signed.profile import FOLDER
    from opambin.publish.tufmeta import RepositorySigner, check_signers, is_signed

    if not isinstance(place, Folder):
        if keys or place.read(f"{FOLDER}/1.root.json") is not None:
            raise MisuseError(
                f"{place.shown}: what is signed is made in a folder of this machine: publish to one, "
                f"then opam-bin tuf upload DIR {target}"
            )
        return None
    if not is_signed(place.path):
        if keys:
            raise MisuseError(
                f"{place.shown} has no keys yet: publish without --sign-with, "
                f"then opam-bin tuf init {place.shown}"
            )
        return None
    found = RepositorySigner(place.path, signers(keys), now())
    if not dry_run:
        check_signers(place.path, found.signers, found.now)
    return found


def _renew(options: Options) -> None:
    """Sign what is as it was, when the signatures run out."""
    from opambin.publish.tufmeta import RepositorySigner, sign_repository

    if isinstance(options.signed, RepositorySigner):
        sign_repository(options.signed.repository, options.signed.signers, options.signed.now)


def _tell(line: str) -> None:
    click.echo(f"opam-bin: {line}", err=True)


def _policy(given: Mapping[str, Any]) -> Policy:
    from opambin.errors import MisuseError
    from opambin.publish import licences

    pairs = dict(text.partition("=")[::2] for text in given["licence"])
    if bad := [name for name, value in pairs.items() if not (name and value)]:
        raise MisuseError(f"--licence {bad[0]}: not PACKAGE=EXPRESSION")
    for name, value in pairs.items():
        if problem := licences.unreadable(value):
            raise MisuseError(f"--licence {name}={value}: {problem}")
        if words := licences.in_words(value):
            raise MisuseError(f"--licence {name}={value}: {words!r} is no SPDX identifier")
    path, unknown = given["licence_policy"], given["unknown_licences"]
    policy = licences.load(Path(path) if path else None)
    policy = policy.with_options(
        given["allow_licence"],
        given["deny_licence"],
        unknown=None if unknown is None else unknown == "allow",
    )
    return replace(policy, packages={**policy.packages, **pairs})


def _licence_files(manifest: Manifest) -> Mapping[str, bytes]:
    """Look for licence files in what opam has downloaded."""
    from opambin.publish import licence_files

    home = os.environ.get("HOME", "")
    return licence_files.from_downloads(Path(os.environ.get("OPAMROOT") or f"{home}/.opam"), manifest)


def _now() -> int:
    """Return the time of the publication; who wants the same bytes twice sets it."""
    from opambin.errors import MisuseError

    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if text and not (text.isascii() and text.isdigit()):
        raise MisuseError(f"SOURCE_DATE_EPOCH is no number of seconds: {text!r}")
    return int(text) if text else int(time.time())


def lines(report: Report, place: str, *, dry_run: bool, signed: bool = False) -> list[str]:
    """Sum a publication up for people."""
    from opambin.summary import data_size

    found = report.catalogue
    archives = {row.archive.path: row.archive.size for row in found.builds if row.archive is not None}
    content = f"{counted(len(found.builds), 'package')}, archives of {data_size(sum(archives.values()))}"
    if dry_run:
        told = [f"Would publish to {place}: {counted(len(found.builds), 'package')}."]
        if report.findings:
            told = [f"Would publish nothing to {place}: something in the files must not leave your machine."]
    elif report.changed:
        told = [f"Published to {place}: {content}; publication {found.serial}."]
    else:
        told = [f"{place} is as it should be: {content}; publication {found.serial}."]
    told += _named("new", [f"{row.name}.{row.published}" for row in report.added])
    told += _named("removed", [f"{row.name}.{row.published}" for row in report.removed])
    told += [f"  left out: {row.name}.{row.version}: {row.reason}" for row in found.left_out]
    told += [f"  missing: {text}" for text in report.missing]
    if report.changed and not dry_run:
        how = f"what opam-bin tuf trust {place} --url {found.base_url} prints"
        told.append(f"  for users: {how if signed else f'opam repository add NAME {found.base_url}'}")
    return told


def _named(what: str, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return [f"  {what}: {', '.join(names[:_SHOWN])}{rest}"]


def values(report: Report, place: str) -> dict[str, object]:
    """Return a publication as plain values."""
    found = report.catalogue
    return {
        "place": place,
        "base_url": found.base_url,
        "mode": str(found.mode),
        "serial": found.serial,
        "changed": report.changed,
        "packages": len(found.builds),
        "archive_bytes": sum(row.archive.size for row in found.builds if row.archive is not None),
        "added": [f"{row.name}.{row.published}" for row in report.added],
        "removed": [f"{row.name}.{row.published}" for row in report.removed],
        "left_out": [
            {"package": f"{row.name}.{row.version}", "reason": row.reason} for row in found.left_out
        ],
        "missing": list(report.missing),
        "findings": [asdict(finding) for finding in report.findings],
    }
