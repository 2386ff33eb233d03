"""What was last seen of remotes' statements about themselves: what makes a rollback visible.

One small file for each remote in ``$XDG_STATE_HOME/opam-bin/remotes/``, named by a digest of its URL. It is
no cache: who loses it believes an old state again, so it is not kept in the store. One that can't be read is
an error, since otherwise damaging it would be a way to roll back.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from opambin.config import state_folder
from opambin.errors import BadDataError, UnavailableError
from opambin.replacing import replace_file
from opambin.trust.remotestate import Seen

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_BYTES = 10_000


def path_of(environ: Mapping[str, str], url: str) -> Path:
    """Return where it is kept for a remote."""
    name = hashlib.sha256(url.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return state_folder(environ) / "remotes" / f"{name}.json"


def load(environ: Mapping[str, str], url: str) -> Seen | None:
    """Return what was last seen of a remote; None when nothing was.

    Raises:
        BadDataError: The file is damaged.
        UnavailableError: It can't be read.
    """
    path = path_of(environ, url)
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UnavailableError(f"{path} can't be read: {error.strerror}") from error
    try:
        match json.loads(data):
            case {"remote": str(remote), "serial": int(serial), "digest": str(digest)}:
                return Seen(remote, serial, digest)
    except ValueError:
        pass
    raise BadDataError(path, "damaged; remove it only when you know why the remote has an older state")


def save(environ: Mapping[str, str], url: str, seen: Seen) -> None:
    """Keep what was seen, unless another session has seen something later.

    Raises:
        BadDataError: What was kept before is damaged.
        UnavailableError: It can't be written.
    """
    before = load(environ, url)
    if before is not None and before.remote == seen.remote and before.serial >= seen.serial:
        return
    path = path_of(environ, url)
    content = {"url": url, "remote": seen.remote, "serial": seen.serial, "digest": seen.digest}
    replace_file(path, (json.dumps(content) + "\n").encode(), mode=0o600)
