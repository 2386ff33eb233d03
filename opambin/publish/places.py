"""Where a repository is published to: a folder, a remote of ours, or a place that rsync reaches.

Each writes in the order that it is given, every file whole or not at all, and only what it was given: what
was published before stays usable until the last file is there.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from opambin.errors import MisuseError, UnavailableError
from opambin.publish import catalogue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from opambin.remote.protocol import Remote

    Step = Mapping[str, bytes | Path]

WORK = ".opam-bin-work"
LOCK = "opam-bin-publish.lock"
CONNECTIONS = 8  # to a remote
_LOCK_BYTES = 1000
_TELLING = ("repo", "index.tar.gz", "opam-bin-remote")
"""What a remote that holds something else is known by."""


class Place(Protocol):
    """Where a repository is published to."""

    @property
    def shown(self) -> str:
        """It, for people and for our own records."""

    @property
    def has_tree(self) -> bool:
        """Whether ``packages/`` is written, for opam without http; a remote's names could not hold it."""

    @property
    def default_url(self) -> str:
        """The base URL when none is given; empty when there is no telling."""

    def read(self, name: str) -> bytes | None:
        """Return what a name holds; None when it is not there."""

    def foreign(self) -> str:
        """Return the name of something that is there, where no catalogue is; empty when nothing is."""

    def holds(self, name: str, size: int) -> bool:
        """Tell whether a file of this size is there."""

    def lock(self) -> AbstractContextManager[Path]:
        """Keep other publishers out for a block, which gets a folder to work in."""

    def write(self, steps: Sequence[Step], gone: Sequence[str]) -> None:
        """Write files, step by step, then remove others.

        Raises:
            UnavailableError: It can't be written.
        """


@dataclass(frozen=True, slots=True)
class Folder:
    """A directory of this machine.

    Attributes:
        path: Absolute.
    """

    path: Path

    @property
    def shown(self) -> str:
        """It, for people."""
        return str(self.path)

    @property
    def has_tree(self) -> bool:
        """It has all."""
        return True

    @property
    def default_url(self) -> str:
        """Opam reads it where it is."""
        return f"file://{self.path}"

    def read(self, name: str) -> bytes | None:
        """Return what a name holds; None when it is not there."""
        try:
            return (self.path / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise UnavailableError(f"{self.path / name} can't be read: {error.strerror}") from error

    def foreign(self) -> str:
        """Return the name of something that is there."""
        ours = {WORK, LOCK}
        try:
            return min((name for name in os.listdir(self.path) if name not in ours), default="")  # noqa: PTH208
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise UnavailableError(f"{self.path} can't be published to: {error.strerror}") from error

    def holds(self, name: str, size: int) -> bool:
        """Tell whether a file of this size is there."""
        try:
            return (self.path / name).stat().st_size == size
        except OSError:
            return False

    @contextmanager
    def lock(self) -> Iterator[Path]:
        """Keep other publishers out for a block, which gets a folder to work in."""
        import filelock

        lock = filelock.FileLock(self.path / LOCK, timeout=0)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except filelock.Timeout as error:
            raise UnavailableError(f"somebody else is publishing to {self.path}: try again later") from error
        except OSError as error:
            raise UnavailableError(f"{self.path} can't be written: {error.strerror}") from error
        work = self.path / WORK
        try:
            shutil.rmtree(work, ignore_errors=True)  # of a publisher that was killed
            work.mkdir()
            yield work
        except OSError as error:
            raise _unwritable(self.path, error) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)
            lock.release()
            (self.path / LOCK).unlink(missing_ok=True)

    def write(self, steps: Sequence[Step], gone: Sequence[str]) -> None:
        """Make all files beside their places, then rename them, step by step; then remove others."""
        try:
            staged = [self._stage(step, number) for number, step in enumerate(steps)]
            for moves in staged:
                for source, name in moves:
                    target = self.path / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    source.replace(target)
            for name in gone:
                self._remove(name)
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def _stage(self, step: Step, number: int) -> list[tuple[Path, str]]:
        moves = []
        folder = self.path / WORK / f"step{number}"
        folder.mkdir()
        for count, (name, content) in enumerate(step.items()):
            source = content if isinstance(content, Path) else folder / str(count)
            if isinstance(content, bytes):
                with source.open("xb") as stream:
                    stream.write(content)
                    stream.flush()
                    os.fsync(stream.fileno())
            source.chmod(0o644)
            moves.append((source, name))
        return moves

    def _remove(self, name: str) -> None:
        """Remove a file, and the folders that are empty without it."""
        path = self.path / name
        path.unlink(missing_ok=True)
        with suppress(OSError):
            for folder in path.relative_to(self.path).parents:
                if folder.name:
                    (self.path / folder).rmdir()


def _unwritable(path: Path, error: OSError) -> UnavailableError:
    return UnavailableError(
        f"{path} can't be written: {error.strerror or error}; what was published before is as it was"
    )


@dataclass(frozen=True, slots=True)
class OnRemote:
    """A remote of ours: s3, http, a directory.

    Attributes:
        remote: The remote.
        owner: Who publishes, for the lock.
    """

    remote: Remote
    owner: str

    @property
    def shown(self) -> str:
        """It, for people."""
        return self.remote.url

    @property
    def has_tree(self) -> bool:
        """Names of packages have characters that names of remotes have not."""
        return False

    @property
    def default_url(self) -> str:
        """Where it is written is where it is read, if it is http."""
        return self.remote.url if self.remote.url.startswith(("http://", "https://")) else ""

    def read(self, name: str) -> bytes | None:
        """Return what a name holds; None when it is not there."""
        return self.remote.get(name, limit=catalogue.MAX_BYTES)

    def foreign(self) -> str:
        """Return the name of something that is there."""
        found = self.remote.get_many(_TELLING, limit=catalogue.MAX_BYTES)
        return next((name for name in _TELLING if found.get(name) is not None), "")

    def holds(self, name: str, size: int) -> bool:  # noqa: ARG002 - of a Place
        """Leave it to :meth:`write`, which overwrites no archive."""
        return False

    @contextmanager
    def lock(self) -> Iterator[Path]:
        """Keep other publishers out for a block, which gets a folder to work in."""
        if not self.remote.put(LOCK, self.owner.encode(), replace=False):
            holder = (self.remote.get(LOCK, limit=_LOCK_BYTES) or b"somebody").decode("utf-8", "replace")
            raise UnavailableError(
                f"{holder} is publishing to {self.shown}; if that is not so any more, remove {LOCK} there"
            )
        try:
            with tempfile.TemporaryDirectory(prefix="opam-bin-publish-") as work:
                yield Path(work)
        finally:
            self.remote.remove(LOCK)

    def write(self, steps: Sequence[Step], gone: Sequence[str]) -> None:
        """Write files, step by step, several of a step at once; then remove others."""
        from opambin.remote.protocol import check_name

        for name in (name for step in steps for name in step):
            check_name(name)  # before the first one is written
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            for step in steps:
                self._all(pool, [partial(self._put, name, content) for name, content in step.items()])
            self._all(pool, [partial(self.remote.remove, name) for name in gone])

    def _put(self, name: str, content: bytes | Path) -> None:
        self.remote.put(name, content, replace=not name.startswith("archives/"))

    @staticmethod
    def _all(pool: ThreadPoolExecutor, actions: Sequence[Callable[[], object]]) -> None:
        """Do all of something; the first that fails keeps those from beginning that have not."""
        waiting = [pool.submit(action) for action in actions]
        try:
            for done in as_completed(waiting):
                done.result()
        finally:
            for future in waiting:
                future.cancel()


def check_empty(place: Place) -> None:
    """Refuse a place that holds something else.

    Raises:
        MisuseError: It does.
    """
    name = place.foreign()
    if name:
        raise MisuseError(
            f"{place.shown} holds something else ({name}) and no {catalogue.NAME}: name an empty or new place"
        )
