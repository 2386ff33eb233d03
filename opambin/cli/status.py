"""``opam-bin status``: what is set up, and what is broken."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from opambin import __version__
from opambin.cli.output import counted, print_json, printable

if TYPE_CHECKING:
    from opambin.reports.condition import Condition, RemoteCondition, StoreCondition, SwitchCondition

BROKEN = 1
"""Exit code when something is broken."""
LABEL = 18  # width of the names of settings


@click.command("status")
@click.option("--full", is_flag=True, help="Walk the whole store for its size on disk.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(full: bool, as_json: bool) -> int:
    """Show configuration, store, opam, hooks and switches, and what is broken with its remedy.

    Exit code 1 when something is broken. That there is no store yet, or no hook, or no switch, is not.
    """
    from opambin.config import config_file
    from opambin.reports.diagnosis import look

    found = look(os.environ, full=full)
    if as_json:
        print_json(values(found))
    else:
        path = None if found.config is None else config_file(os.environ)
        absent = "" if path is None or path.exists() else " (not there)"
        click.echo(f"opam-bin {__version__}, Python {sys.version.split()[0]} ({sys.executable})")
        click.echo(f"Configuration: {printable(str(path))}{absent}" if path else "Configuration: unusable")
        for line in lines(found):
            click.echo(printable(line))
    return BROKEN if found.problems else 0


def lines(found: Condition) -> list[str]:
    """Lay everything out for people."""
    said = []
    if found.config is not None:
        for name, value, origin in found.config.describe():
            said.append(f"  {name:{LABEL}}{value or '-'}{'' if origin == 'default' else f'  [{origin}]'}")
    said.append(f"Store: {_store(found.store)}")
    if found.store is not None and found.store.walked is not None:
        said.append(f"  {_walked(found.store)}")
    said.append(f"Opam: {_opam(found)}")
    said.append(f"Root: {_root(found)}")
    said += _hooks(found)
    if found.transparent is not None:
        here = "" if found.transparent.first else ", not on the PATH here"
        said.append(f"Transparent: {found.transparent.shim} for {found.transparent.real}{here}")
    said += [line for remote in found.remotes for line in _remote(remote)]
    said += [f"Switch: {_switch(switch)}" for switch in found.switches if _worth_telling(switch)]
    said += [f"Note: {note}" for note in found.notes]
    for problem in found.problems:
        said.append(f"Broken: {problem.what}")
        if problem.remedy:
            said.append(f"  Remedy: {problem.remedy}")
    if not found.problems:
        said.append("Nothing is broken.")
    return said


def _store(store: StoreCondition | None) -> str:
    from opambin.summary import data_size

    if store is None:
        return "not looked at"
    if store.state == "absent":
        return f"{store.path} (none yet; the first build that is captured makes it)"
    if store.state == "unusable":
        return f"{store.path} (unusable)"
    parts = [str(store.state)]
    if store.snapshots is None or store.bytes is None or store.packages is None:
        parts.append("without an index, which the next command makes")
    else:
        packages = counted(store.packages, "package")
        parts.append(
            f"{counted(store.snapshots, 'snapshot')} of {packages}, {data_size(store.bytes)} of files"
        )
    if store.free is not None:
        parts.append(f"{data_size(store.free)} free")
    return f"{store.path} ({'; '.join(parts)})"


def _walked(store: StoreCondition) -> str:
    from opambin.summary import data_size

    size = store.walked
    if size is None:
        return ""
    total = data_size(size.object_bytes + size.manifest_bytes)
    return (
        f"on disk: {counted(size.objects, 'object')}, {counted(size.snapshots, 'snapshot')}, {total};"
        f" {data_size(size.quarantine_bytes)} in quarantine"
    )


def _opam(found: Condition) -> str:
    opam = found.opam
    if opam.program is None:
        return "none"
    supported = "" if opam.supported else " (not supported)" if opam.version else " (does not answer)"
    return f"{opam.program} {opam.version}{supported}".rstrip()


def _root(found: Condition) -> str:
    if found.root is None:
        return "none"
    return f"{found.root.path} (format {'.'.join(map(str, found.root.format))})"


def _hooks(found: Condition) -> list[str]:
    hooks = found.hooks
    if hooks is None:
        return ["Hooks: none"]
    state = "complete" if hooks.complete else "incomplete" if hooks.installed else "none"
    said = [f"Hooks: {state}"]
    if hooks.installed:
        said += [f"  lacks {lack}" for lack in hooks.lacks]
    said += [f"  of OCaml's opam-bin: {hook}" for hook in hooks.peers]
    said += [f"  of others: {hook}" for hook in hooks.others]
    return [*said, f"  'opam bin': {hooks.link} ({hooks.link_state})"]


def _remote(remote: RemoteCondition) -> list[str]:
    from opambin.cli.remotewords import rights, standing
    from opambin.remote.urls import without_secrets

    entry = remote.entry
    what = f"{rights(entry)}; {entry.trust.describe()}"
    state = "can't be asked" if remote.problem else standing(remote.standing)
    return [f"Remote: {entry.name}: {without_secrets(entry.url)} ({what})", f"  {state}"]


def _worth_telling(switch: SwitchCondition) -> bool:
    return switch.current or bool(switch.excluded) or switch.session != "none" or bool(switch.interrupted)


def _switch(switch: SwitchCondition) -> str:
    parts = ["current"] if switch.current else []
    if switch.excluded:
        parts.append(f"excluded by {switch.excluded!r}")
    if switch.session == "running":
        parts.append("opam is at work in it")
    return f"{switch.name} ({'; '.join([switch.prefix, *parts])})"


def values(found: Condition) -> dict[str, object]:
    """Return everything as plain values."""
    settings = [] if found.config is None else found.config.describe()
    return {
        "version": __version__,
        "ok": not found.problems,
        "problems": [asdict(problem) for problem in found.problems],
        "notes": found.notes,
        "settings": [{"name": name, "value": value, "origin": origin} for name, value, origin in settings],
        "store": asdict(found.store) if found.store is not None else None,
        "opam": asdict(found.opam),
        "root": None
        if found.root is None
        else {"path": str(found.root.path), "format": ".".join(map(str, found.root.format))},
        "hooks": asdict(found.hooks) if found.hooks is not None else None,
        "transparent": asdict(found.transparent) if found.transparent is not None else None,
        "remotes": [_remote_values(remote) for remote in found.remotes],
        "switches": [asdict(switch) for switch in found.switches],
    }


def _remote_values(remote: RemoteCondition) -> dict[str, object]:
    from opambin.cli import remotewords

    found = remote.standing
    return {
        **remotewords.values(remote.entry),
        "problem": remote.problem or None,
        "answered": found.answered if found is not None else None,
        "silent": found.silent if found is not None else None,
        "silent_reason": found.reason or None if found is not None else None,
        "dead": found is not None and found.dead,
    }
