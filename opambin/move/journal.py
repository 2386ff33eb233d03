"""What a running move is about to do, in case that it is killed, and how its traces are removed.

Kept in opam's root, which both switches belong to. Facts decide, not the step that was reached: a copy
that opam does not know is removed, and when opam knows the new switch instead of the old one, the old one's
files are.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from opambin.errors import BadDataError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

STAGING = "opam-bin-copy"
OLD = "opam-bin-old"


@dataclass(frozen=True, slots=True)
class Entry:
    """One move.

    Attributes:
        old: Name of the switch.
        new: Name of the copy.
        old_prefix: Where it is.
        new_prefix: Where the copy goes.
        keep: Whether the old one stays.
        copy: Device and inode of the copy, once there is one.
        link: The ``_opam`` link by which the switch was named; empty when it was not.
        current: Whether it was the root's current switch.
    """

    old: str
    new: str
    old_prefix: str
    new_prefix: str
    keep: bool
    copy: tuple[int, int] | None = None
    link: str = ""
    current: bool = False

    @property
    def staging(self) -> Path:
        """Where the copy is made."""
        return beside(self.new_prefix, STAGING)

    @property
    def discarded(self) -> Path:
        """Where the old switch is while it is removed."""
        return beside(self.old_prefix, OLD)

    def is_copy(self, path: Path) -> bool:
        """Tell whether a folder is the copy that this move made."""
        try:
            status = path.lstat()
        except FileNotFoundError:
            return False
        return (status.st_dev, status.st_ino) == self.copy


def beside(prefix: str, what: str) -> Path:
    """Return a hidden folder in the parent of a prefix."""
    path = Path(prefix)
    return path.with_name(f".{path.name}.{what}")


class MoveJournal:
    """The file that tells of the move that is going on in a root.

    Args:
        root: opam's root.
    """

    def __init__(self, root: Path) -> None:
        self._path = root / "plugins" / "opam-bin" / "move.json"
        self._lock = self._path.with_suffix(".lock")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other moves in this root out.

        Raises:
            UnavailableError: There is one.
        """
        import filelock

        self._path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self._lock, timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout as error:
            raise UnavailableError(
                "another 'opam-bin clone' or 'opam-bin relocate' works in this root"
            ) from error
        except OSError as error:
            raise UnavailableError(f"{self._lock} can't be locked: {error.strerror}") from error
        try:
            yield
        finally:
            lock.release()

    def read(self) -> Entry | None:
        """Return the move that was interrupted, or None.

        Raises:
            BadDataError: The file is broken.
        """
        try:
            content = json.loads(self._path.read_bytes())
            copied = content.pop("copy")
            return Entry(**content, copy=None if copied is None else (int(copied[0]), int(copied[1])))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise BadDataError(self._path, f"not the journal of a move: {error}; remove it") from error

    def write(self, entry: Entry) -> None:
        """Tell of a move."""
        temporary = self._path.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(entry)))
        temporary.replace(self._path)

    def clear(self) -> None:
        """Tell that it is over."""
        self._path.unlink(missing_ok=True)


def remove_tree(path: Path) -> None:
    """Remove a folder with folders that deny writing, too; nothing there is fine.

    Raises:
        UnavailableError: It can't be removed.
    """
    if not os.path.lexists(path):
        return
    try:
        for folder, names, _ in os.walk(path):
            for name in [".", *names]:
                _make_writable(Path(folder, name))
        shutil.rmtree(path)
    except OSError as error:
        raise UnavailableError(f"{path} can't be removed: {error.strerror}; remove it by hand") from error


def _make_writable(folder: Path) -> None:
    mode = folder.lstat().st_mode
    if not folder.is_symlink() and mode & 0o700 != 0o700:
        folder.chmod(mode | 0o700)
