"""``opam-bin push``: give snapshots of the store to others."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import click

from opambin.cli.output import counted, print_json, print_problems

if TYPE_CHECKING:
    from opambin.exchange.selection import Selection, Wanted
    from opambin.exchange.signing import Signer
    from opambin.exchange.sources import Source
    from opambin.exchange.uploads import Pushed
    from opambin.store.store import Store


@click.command("push")
@click.argument("packages", nargs=-1, metavar="[PACKAGE...]")
@click.option("--switch", "switches", multiple=True, help="What is installed in a switch.")
@click.option("--all", "everything", is_flag=True, help="All of the store.")
@click.option("--closure", is_flag=True, help="Also what was only needed to build them.")
@click.option("--remote", "remote", help="Name or URL (default: the first that is configured for writing).")
@click.option("--wait", is_flag=True, help="Push what waits, and wait for a push in the background.")
@click.option("--queued", is_flag=True, hidden=True)
@click.option("--key", "key", default="", help="Name of the key that signs.")
@click.option("--unsigned", is_flag=True, help="Do not sign; by default only directories may do without.")
@click.option(
    "--channel", type=click.Choice(["staging", "release"]), help="What it was built for, as signed."
)
@click.option("--include-pinned", is_flag=True, help="Also what was built from pins.")
@click.option("--include-dev", is_flag=True, help="Also versions under development.")
@click.option(
    "--include-adopted", is_flag=True, help="Also what was captured from switches built without us."
)
@click.option(
    "--include-dirty", is_flag=True, help="Also what was built with flags of the environment, or unpadded."
)
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be pushed.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    packages: tuple[str, ...],
    *,
    switches: tuple[str, ...],
    everything: bool,
    remote: str | None,
    wait: bool,
    queued: bool,
    key: str,
    unsigned: bool,
    channel: str | None,
    dry_run: bool,
    as_json: bool,
    **options: bool,
) -> int:
    """Put snapshots on a remote, with everything that they need to run.

    PACKAGE is NAME, NAME.VERSION or the first digits of a key. What the remote has already is left alone.
    What was built from pins, versions under development and the like stays here unless asked for. Exit code
    1 when something could not be pushed.
    """
    from dataclasses import replace

    from opambin.cli.keep import prefix_of
    from opambin.errors import MisuseError
    from opambin.exchange import opening, selection
    from opambin.trust.statement import Channel

    if wait and any((packages, switches, everything, key, unsigned, channel, dry_run, as_json)):
        raise MisuseError("--wait pushes what waits: with it go --remote, --closure and --include-…")
    include = frozenset(doubt for doubt in selection.Doubt if options.get(f"include_{doubt}"))
    prefixes = tuple(prefix_of(name) for name in switches)
    wanted = selection.Wanted(packages, prefixes, everything, options["closure"], include)
    with open_store() as store:
        if wait or queued:
            return _queued(store, wanted, remote, quiet=queued)
        chosen = selection.select(store, wanted)
        signer = opening.signer(os.environ, _url(remote), key, unsigned=unsigned)
        signer = replace(signer, channel=Channel(channel) if channel else None)
        source = opening.writable(os.environ, remote, signer.secrets)
        done = _carry_out(store, chosen, source, signer, dry_run=dry_run)
        problems = list(store.problems)
    _report(source, chosen, done, as_json=as_json, dry_run=dry_run)
    print_problems(problems)
    return 1 if done.failed else 0


def open_store() -> Store:
    """Open the configured store; it has to be there."""
    from opambin.config import load
    from opambin.store.permissions import Sharing
    from opambin.store.store import Store

    config = load(os.environ)
    return Store.open(config.cache, create=False, sharing=Sharing(config.shared))


def _url(remote: str | None) -> str:
    from opambin.exchange import opening

    return opening.choose(os.environ, remote, write=True).url


def _carry_out(store: Store, chosen: Selection, source: Source, signer: Signer, *, dry_run: bool) -> Pushed:
    from opambin.cli.progress import meter
    from opambin.exchange import uploads

    if dry_run:
        return uploads.compare(store, chosen.manifests, source, signer)
    return uploads.push(store, chosen.manifests, source, signer, meter())


def _queued(store: Store, wanted: Wanted, remote: str | None, *, quiet: bool) -> int:
    """Push what sessions have left to be pushed; returns the exit code."""
    from opambin.cli.progress import meter
    from opambin.exchange import autopush

    stamp = time.strftime("%Y-%m-%d %H:%M:%S ") if quiet else "opam-bin: "
    found = autopush.push_waiting(store, wanted, (os.environ, remote), meter(quiet=quiet))
    for line in found.lines:
        click.echo(f"{stamp}{line}")
    return 1 if found.failed else 0


def _report(source: Source, chosen: Selection, done: Pushed, *, as_json: bool, dry_run: bool) -> None:
    from opambin.summary import data_size, duration

    if as_json:
        print_json(
            {
                "remote": source.name,
                "url": source.url,
                "pushed": [_row(manifest) for manifest in done.pushed],
                "there": [_row(manifest) for manifest in done.there],
                "failed": done.failed,
                "left": chosen.left,
                "missing": chosen.missing,
                "bytes": done.bytes,
                "seconds": round(done.seconds, 3),
                "dry_run": dry_run,
            }
        )
        return
    for package, reason in chosen.left.items():
        click.echo(f"opam-bin: {package} stays here: {reason}")
    for line in chosen.missing:
        click.echo(f"opam-bin: {line}")
    for package, reason in done.failed.items():
        click.echo(f"opam-bin: {package} was not pushed: {reason}")
    there = f", {len(done.there)} were there already" if done.there else ""
    count = counted(len(done.pushed), "snapshot")
    if dry_run:
        click.echo(f"opam-bin: {count} would be pushed to {source.name}{there}")
    else:
        took = f" ({data_size(done.bytes)} in {duration(done.seconds)})" if done.pushed else ""
        click.echo(f"opam-bin: {count} pushed to {source.name}{took}{there}")


def _row(manifest: object) -> dict[str, object]:
    return {name: str(getattr(manifest, name)) for name in ("package", "key", "output")}
