"""What is remembered of a repository from one time to the next: the metadata last seen, and its roots.

It is what makes a rollback visible. One folder for each repository, below ``$XDG_STATE_HOME/opam-bin``; one
process at a time.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Self

from opambin.errors import UnavailableError
from opambin.replacing import replace_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from filelock import FileLock

WAIT_SECONDS = 60
DIGITS = 32  # of the digest that names a folder


class Memory:
    """The memory of one repository, while a block lasts.

    Args:
        states: Holds the memories of all repositories.
        name: What it is, for people; kept in the file ``about``.
        identity: What makes it this repository and no other.
    """

    def __init__(self, states: Path, name: str, identity: str) -> None:
        self.name = name
        self.folder = states / hashlib.sha256(identity.encode()).hexdigest()[:DIGITS]
        self._lock: FileLock | None = None

    def __enter__(self) -> Self:
        """Take it.

        Raises:
            UnavailableError: It can't be written, or someone else has it for long.
        """
        from filelock import FileLock, Timeout

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self.folder / "lock", timeout=WAIT_SECONDS)
            self._lock.acquire()
        except Timeout as error:
            raise UnavailableError(f"{self.name} is being verified by another program") from error
        except OSError as error:
            raise UnavailableError(f"{self.folder} can't be used: {error.strerror}") from error
        replace_file(self.folder / "about", (self.name + "\n").encode("utf-8", "backslashreplace"))
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of it."""
        if self._lock is not None:
            self._lock.release()

    def remembers(self) -> bool:
        """Say whether it was seen before."""
        return (self.folder / "timestamp.json").is_file()

    def has_root(self) -> bool:
        """Say whether trust has begun."""
        return (self.folder / "root.json").is_file()

    def seed(self, files: Mapping[str, bytes]) -> None:
        """Begin with metadata that was accepted elsewhere; its signatures are looked at again."""
        for name, data in files.items():
            place = f"root_history/{name}" if name.endswith(".root.json") else name
            replace_file(self.folder / place, data)
