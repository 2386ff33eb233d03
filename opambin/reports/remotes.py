"""The configured remotes for a report: can each be asked, did it answer last time. Nobody is asked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from opambin.errors import OpambinError
from opambin.reports.condition import RemoteCondition, StoreState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opambin.exchange.memory import Memory
    from opambin.remotes_config import Configured
    from opambin.reports.condition import Condition


def look(found: Condition, environ: Mapping[str, str]) -> None:
    """Add the remotes to what was found out, and what is wrong with them to its problems."""
    from opambin.exchange import opening

    if not opening.may_have_remotes(environ):
        return
    from opambin.remotes_config import configured

    try:
        entries = configured(environ)
    except OpambinError as error:
        found.blame(error, "'opam-bin remote' puts it right; until then no remote is asked")
        return
    if found.store is not None and found.store.state in (StoreState.WRITABLE, StoreState.READONLY):
        found.remotes = _with_store(Path(found.store.path), entries, environ)
    else:
        found.remotes = [_remote(entry, environ, None) for entry in entries]
    for remote in found.remotes:
        if remote.problem:
            found.blame(f"remote {remote.entry.name}: {remote.problem}")


def _with_store(place: Path, entries: list[Configured], environ: Mapping[str, str]) -> list[RemoteCondition]:
    from opambin.exchange.memory import Memory
    from opambin.store.store import Store

    with Store.open(place, create=False, readonly=True) as store:
        memory = Memory(store.index) if store.layout.index.exists() else None
        return [_remote(entry, environ, memory) for entry in entries]


def _remote(entry: Configured, environ: Mapping[str, str], memory: Memory | None) -> RemoteCondition:
    from opambin.exchange import opening
    from opambin.keyring import Keyring

    try:
        source = opening.open_source(entry, Keyring(environ), environ)
    except OpambinError as error:
        return RemoteCondition(entry, None, str(error))
    try:
        return RemoteCondition(entry, memory.standing(source.url) if memory is not None else None)
    finally:
        source.remote.close()
