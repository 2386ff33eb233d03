"""Who publishes, where to, and what was published before: the environment's part of a publication."""

from __future__ import annotations

import getpass
import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from opambin.config import state_folder
from opambin.errors import MisuseError
from opambin.publish.places import Folder, OnRemote
from opambin.publish.privacy import Identity
from opambin.publish.rsync import Rsync
from opambin.replacing import replace_file
from opambin.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opambin.config import Config
    from opambin.publish.options import Asked
    from opambin.publish.places import Place

STATE = "published.json"
_MAX_STATE_BYTES = 1_000_000
_RSYNC = "rsync:"
_REMOTE = ("http://", "https://", "s3://")


def identity(environ: Mapping[str, str], config: Config, others: Sequence[str] = ()) -> Identity:
    """Gather what tells who publishes.

    Args:
        environ: The environment.
        config: For where the store is.
        others: Further texts that are to stay private.
    """
    home = environ.get("HOME", "")
    folders = {home, environ.get("OPAMROOT") or (f"{home}/.opam" if home else ""), str(config.cache)}
    users = {environ.get("USER", ""), environ.get("LOGNAME", "")}
    users.add(_user())
    full = socket.gethostname()
    return Identity(
        tuple(sorted(os.fsencode(folder.rstrip("/")) for folder in folders if folder.startswith("/"))),
        tuple(sorted(users - {""})),
        tuple(sorted({full, full.partition(".")[0]} - {""})),
        tuple(text.encode() for text in others),
    )


def _user() -> str:
    """Return the name of the user; empty where there is none, as in a container with just a number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def place_of(target: str, environ: Mapping[str, str]) -> Place:
    """Return the place that a target names.

    Raises:
        MisuseError: Nothing can be published there.
    """
    if not target:
        raise MisuseError("name a folder or a URL to publish to")
    owner = f"{_user() or f'user {os.geteuid()}'}@{socket.gethostname()}, process {os.getpid()}"
    if target.startswith(_RSYNC):
        address = target if target.startswith("rsync://") else target.removeprefix(_RSYNC)
        return Rsync(address, owner)
    if target.startswith("oci:"):
        raise MisuseError(
            f"{target}: opam can't fetch from a registry; publish to a folder, http, s3 or rsync. "
            "For caches between opam-bins registries are fine: see 'opam-bin push'"
        )
    if target.startswith(_REMOTE):
        from opambin.remote.access import Access
        from opambin.remote.open import open_remote

        return OnRemote(open_remote(target, Access(write=True, environ=environ)), owner)
    path = target.removeprefix("file://")
    if "://" in path:
        raise MisuseError(
            f"{target}: not a place to publish to: a folder, http(s)://…, s3://… or rsync:HOST:PATH"
        )
    return Folder(Path(path).absolute())


def open_store(config: Config) -> Store:
    """Open the store that is published from.

    Raises:
        UnavailableError: There is none.
    """
    return Store.open(config.cache, create=False, readonly=not os.access(config.cache, os.W_OK))


def asked_of_switch(environ: Mapping[str, str], switch: str, asked: Asked) -> Asked:
    """Restrict what is asked for to the packages of a switch.

    Raises:
        UnavailableError: There is no such switch, or no store.
    """
    import dataclasses

    from opambin.context import open_context

    context = open_context(environ, switch, readonly=True)
    found, missing = set(), []
    store = context.need_store()
    for name, version in sorted(context.switch.state().installed.items()):
        record = context.record(name, version)
        if record is None or not any(it.output == record.output for it in store.outputs(record.key)):
            missing.append(
                f"{name}.{version}: no snapshot of what is installed; 'opam-bin capture' makes one"
            )
        else:
            found.add((record.key, record.output))
    return dataclasses.replace(asked, snapshots=frozenset(found), missing=tuple(missing))


def state_file(environ: Mapping[str, str]) -> Path:
    """Return where we remember what we have published."""
    return state_folder(environ) / STATE


def last_serial(path: Path, place: str) -> int:
    """Return the serial of our last publication to a place; 0 when we know of none."""
    found = _state(path).get(place, 0)
    return found if isinstance(found, int) else 0


def remember(path: Path, place: str, serial: int) -> None:
    """Note the serial of a publication.

    Raises:
        UnavailableError: It can't be written.
    """
    content = _state(path)
    if content.get(place) == serial:
        return
    text = json.dumps(content | {place: serial}, indent=1, sort_keys=True) + "\n"
    replace_file(path, text.encode())


def _state(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as stream:
            content = json.loads(stream.read(_MAX_STATE_BYTES))
    except (OSError, ValueError):
        return {}  # it only ever makes us more careful
    return content if isinstance(content, dict) else {}
