"""Snapshots that wait to be pushed: one small file for each in the store's ``outbox/``.

A session's end puts in what it has built and starts ``opam-bin push --queued``, detached; its words go into
the store's
``logs/push.log``. One process at a time empties the box. What could not be pushed stays for the next one,
but for a week at most; what must not be pushed is taken out.
"""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from opambin.errors import UnavailableError
from opambin.model import ConeKey, OutputId
from opambin.store.faults import store_faults
from opambin.store.layout import is_hex64
from opambin.store.locks import exclusive_file
from opambin.store.permissions import make_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from opambin.store.store import Store

FOLDER = "outbox"
LOCK = "push.lock"
LOG = "push.log"
MAX_LOG_BYTES = 1_000_000
KEPT_SECONDS = 7 * 86_400
_RUN = "import sys; sys.path[:] = {path!r}; from opambin.cli.main import main; main()"


def put(store: Store, snapshots: Iterable[tuple[ConeKey, OutputId]]) -> int:
    """Note snapshots for the next push; returns how many.

    Raises:
        UnavailableError: The store can't be written.
    """
    store.staging.refuse_if_readonly()
    folder = _folder(store)
    count = 0
    with store_faults(store.layout.root):
        make_folder(folder)
        for key, output in snapshots:
            (folder / f"{key}-{output}").touch()
            count += 1
    return count


def waiting(store: Store) -> list[tuple[ConeKey, OutputId]]:
    """Return what waits; what has waited too long is dropped."""
    found = []
    with suppress(FileNotFoundError):
        for path in sorted(_folder(store).iterdir()):
            key, _, output = path.name.partition("-")
            if not (is_hex64(key) and is_hex64(output)):
                continue
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > KEPT_SECONDS:
                    path.unlink()
                    continue
            found.append((ConeKey(key), OutputId(output)))
    return found


def take(store: Store, snapshots: Iterable[tuple[ConeKey, OutputId]]) -> None:
    """Take out what was pushed, or must not be."""
    for key, output in snapshots:
        with suppress(OSError):
            (_folder(store) / f"{key}-{output}").unlink()


@contextmanager
def emptying(store: Store) -> Iterator[None]:
    """Be the one that empties the box; waits for another one that does."""
    with store_faults(store.layout.root):
        make_folder(store.layout.locks)
    with exclusive_file(store.layout.locks / LOCK):
        yield


def start(store: Store, environ: Mapping[str, str]) -> Path:
    """Push what waits, in a process of its own that outlives this one; returns where its words go.

    Raises:
        UnavailableError: It can't be started.
    """
    log = store.layout.logs / LOG
    try:
        make_folder(log.parent)
        if log.exists() and log.stat().st_size > MAX_LOG_BYTES:
            log.replace(log.with_name(f"{LOG}.old"))
        with log.open("ab") as stream:
            subprocess.Popen(
                [*_program(), "push", "--queued"],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                env=dict(environ),
                cwd="/",
                start_new_session=True,
            )
    except OSError as error:
        raise UnavailableError(f"the push can't be started: {error.strerror or error}") from error
    return log


def _program() -> list[str]:
    """Return the command of this program, for an interpreter that finds it as this one did.

    A hook's interpreter is not that of the environment where we are installed, and runs without ``site``:
    ``-m opambin`` finds nothing there.
    """
    site = ["-S"] if sys.flags.no_site else []
    return [sys.executable, "-I", *site, "-c", _RUN.format(path=[path for path in sys.path if path])]


def _folder(store: Store) -> Path:
    return store.layout.root / FOLDER
