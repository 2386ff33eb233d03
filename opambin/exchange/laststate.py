"""What was last seen of each remote, so that nobody can serve an older state later.

One small file for each remote, below ``$XDG_STATE_HOME/opam-bin/remotes/``. Losing one forgets the past, no
more; one that can't be read is an error, since otherwise damaging it would be a way to roll back.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING

from opambin.config import state_folder
from opambin.errors import BadDataError, UnavailableError
from opambin.trust.remotestate import Seen

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_BYTES = 1000
_LINE = re.compile(r"opam-bin last seen 1 ([0-9a-f]{32}) ([0-9]{1,15}) ([0-9a-f]{64})\n")


def default_folder(environ: Mapping[str, str]) -> Path:
    """Return where the files are."""
    return state_folder(environ) / "remotes"


class LastSeen:
    """The last seen states of all remotes of a user.

    Args:
        folder: Where the files are; made when something is to be remembered.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, url: str) -> Seen | None:
        """Return what was seen last of a remote; None when nothing was.

        Raises:
            BadDataError: The file is damaged.
            UnavailableError: It can't be read.
        """
        path = self._path(url)
        try:
            with path.open("rb") as stream:
                text = stream.read(MAX_BYTES).decode("ascii", "replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UnavailableError(f"{path} can't be read: {error.strerror}") from error
        found = _LINE.fullmatch(text)
        if not found:
            raise BadDataError(path, "damaged; remove it if it is known why")
        return Seen(found[1], int(found[2]), found[3])

    def put(self, url: str, seen: Seen) -> None:
        """Remember what was seen of a remote, unless something later was.

        Raises:
            BadDataError: The file is damaged.
            UnavailableError: It can't be written.
        """
        before = self.get(url)
        if before is not None and before.remote == seen.remote and before.serial >= seen.serial:
            return
        path = self._path(url)
        draft = path.with_name(f"{path.name}.{os.getpid()}-{os.urandom(4).hex()}")
        line = f"opam-bin last seen 1 {seen.remote} {seen.serial} {seen.digest}\n"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                draft.write_text(line, "ascii")
                draft.replace(path)
            finally:
                draft.unlink(missing_ok=True)
        except OSError as error:
            raise UnavailableError(f"{path} can't be written: {error.strerror}") from error

    def forget(self, url: str) -> None:
        """Forget a remote: for one that was set up anew under the same address."""
        self._path(url).unlink(missing_ok=True)

    def _path(self, url: str) -> Path:
        return self._folder / hashlib.sha256(url.encode("utf-8", "surrogateescape")).hexdigest()[:32]
