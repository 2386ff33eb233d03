"""``opam-bin remote``: the shared caches that are used."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from opambin.cli.groups import Group
from opambin.cli.output import Column, counted, print_json, print_table, printable
from opambin.cli.remote_gc import command as gc
from opambin.cli.remote_snapshot import command as snapshot
from opambin.cli.remotewords import rights, values

if TYPE_CHECKING:
    from opambin.remote.trial import Trial
    from opambin.remotes_config import Configured

COLUMNS = (
    Column("name"),
    Column("priority", right=True),
    Column("rights"),
    Column("trust"),
    Column("url"),
)


@click.group("remote", cls=Group)
def command() -> None:
    """Say which shared caches are used, and try them out.

    They are kept in remotes.yaml beside the configuration; docs/configuration.md describes it. Machines
    without files name them in OPAMBIN_REMOTE.
    """


@command.command("add")
@click.argument("name")
@click.argument("url")
@click.option("--priority", type=int, default=0, show_default=True, help="The highest is asked first.")
@click.option("--write", is_flag=True, help="It is pushed to.")
@click.option(
    "--signed/--unsigned",
    "wants_signed",
    default=None,
    help="Ask for a signature, or take what nobody has signed (the default for directories alone).",
)
@click.option("--key", "keys", multiple=True, metavar="KEY", help="A trusted key that counts (default: all).")
@click.option(
    "--threshold", type=click.IntRange(1, 100), metavar="K", help="So many keys have to sign (default: one)."
)
@click.option("--staging", is_flag=True, help="Keys for staging count, too.")
@click.option("--require-snapshot", is_flag=True, help="Refuse it without a fresh signed snapshot.")
@click.option("--plain-http", is_flag=True, help="Speak to a registry without TLS.")
def add(
    name: str,
    url: str,
    *,
    priority: int,
    write: bool,
    wants_signed: bool | None,
    keys: tuple[str, ...],
    threshold: int | None,
    staging: bool,
    require_snapshot: bool,
    plain_http: bool,
) -> None:
    """Add a remote: a directory, http(s)://, s3://BUCKET/PREFIX, oci://HOST/REPOSITORY or bundle:FILE."""
    from opambin import remotes_config
    from opambin.keyring import Keyring
    from opambin.trust.policy import Mode, Role

    default = remotes_config.default_trust(url)
    signed = bool(wants_signed or keys or threshold or staging or require_snapshot)
    unsigned = wants_signed is False
    if unsigned and signed:
        raise click.UsageError("--unsigned asks for no signatures; the other options ask for some")
    asked = Mode.THRESHOLD if threshold else Mode.ANY if signed else default.mode
    mode = Mode.UNSIGNED if unsigned else asked
    trust = remotes_config.Trust(
        mode, keys, Role.STAGING if staging else Role.RELEASE, threshold or 1, require_snapshot
    )
    entry = remotes_config.Configured(name, url, priority, write, trust, plain_http)
    remotes_config.add(os.environ, entry)
    click.echo(f"Added {printable(name)}: {printable(url)} ({rights(entry)}; {trust.describe()}).")
    trusted = Keyring(os.environ).trusted()
    for key in (key for key in keys if key not in trusted):
        click.echo(f"{printable(key)} is not among the trusted keys yet: opam-bin key trust adds it.")
    if mode is not Mode.UNSIGNED:
        click.echo("Which keys are trusted: opam-bin key list. Try it out: opam-bin remote check.")


@command.command("remove")
@click.argument("name")
def remove(name: str) -> None:
    """Remove a remote from the list. What it holds stays, and so does what came from there."""
    from opambin import remotes_config

    entry = remotes_config.remove(os.environ, name)
    click.echo(f"Removed {printable(entry.name)}: {printable(entry.url)}.")


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """List the remotes, the preferred one first."""
    from opambin.remote.urls import without_secrets
    from opambin.remotes_config import configured

    entries = configured(os.environ)
    if as_json:
        print_json([values(entry) for entry in entries])
    elif not entries:
        click.echo("No remote is configured.")
    else:
        rows = [
            (it.name, str(it.priority), rights(it), it.trust.describe(), without_secrets(it.url))
            for it in entries
        ]
        print_table(COLUMNS, rows)


@command.command("check")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(names: tuple[str, ...], as_json: bool) -> int:
    """Read from remotes, and write to those that are for writing: put, read back and remove a small name.

    NAME may also be a URL. Exit code 1 when one does not do what it is configured for.
    """
    trials = [(entry, _try_out(entry)) for entry in _chosen(names)]
    if as_json:
        print_json([{**values(entry), **asdict(trial)} for entry, trial in trials])
    else:
        for entry, trial in trials:
            for line in report(entry, trial):
                click.echo(printable(line))
        if not trials:
            click.echo("No remote is configured.")
    return 1 if any(trial.problems for _, trial in trials) else 0


def report(entry: Configured, trial: Trial) -> list[str]:
    """Return what a trial found, in lines."""
    from opambin.remote.urls import without_secrets

    lines = [f"{entry.name}: {without_secrets(entry.url)}", f"  trust: {entry.trust.describe()}"]
    if trial.first_ms is not None and trial.answer_ms is not None:
        lines.append(f"  first answer {trial.first_ms:.1f} ms, then {trial.answer_ms:.1f} ms")
    if trial.reads:
        held = "" if trial.entries is None else f", {counted(trial.entries, 'name')}"
        more = "" if trial.all_counted else " and more"
        lines.append(f"  reading works{held}{more}{' (nobody has written there yet)' if trial.empty else ''}")
    if trial.writes:
        lines.append("  writing works")
    lines += [f"  note: {note}" for note in trial.notes]
    lines += [f"  problem: {problem}" for problem in trial.problems]
    return lines


def _chosen(names: tuple[str, ...]) -> list[Configured]:
    from opambin.errors import MisuseError
    from opambin.remote.urls import check_url, without_secrets
    from opambin.remotes_config import Configured, configured, default_trust

    entries = configured(os.environ)
    if not names:
        return entries
    known = {entry.name: entry for entry in entries}
    chosen = []
    for name in names:
        if name in known:
            chosen.append(known[name])
        elif ":" in name or name.startswith("/"):
            chosen.append(Configured(without_secrets(name), check_url(name), trust=default_trust(name)))
        else:
            raise MisuseError(f"there is no remote {name!r:.80}: opam-bin remote list")
    return chosen


def _try_out(entry: Configured) -> Trial:
    from opambin.errors import OpambinError
    from opambin.remote.access import Access
    from opambin.remote.open import open_remote
    from opambin.remote.trial import Trial, try_out

    access = Access(write=entry.write, environ=os.environ, plain_http=entry.plain_http)
    try:
        remote = open_remote(entry.url, access)
    except OpambinError as error:
        return Trial(problems=[str(error)])
    try:
        return try_out(remote, write=entry.write)
    finally:
        remote.close()


command.add_command(gc)
command.add_command(snapshot)
