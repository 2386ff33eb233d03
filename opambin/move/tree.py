"""What a switch holds on disk, and which of it a copy has.

Left out is what only the running switch needs: lock, build directories, and what opam makes anew (its cache
of definitions, its record of the environment).
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from opambin.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

META = ".opam-switch"
LEFT_OUT = frozenset(
    f"{META}/{name}" for name in ("lock", "environment", "packages/cache", "remove", "opam-bin.staging")
)
EMPTIED = frozenset({f"{META}/build"})
"""Folders that a switch has, but whose content is of no use once the packages are installed."""
VERBATIM = (f"{META}/sources/", f"{META}/backup/", f"{META}/extra-files-cache/")
"""What opam downloaded or put aside: it holds no path of the prefix that anything reads."""


class Kind(Enum):
    """What is at a path."""

    FOLDER = "folder"
    FILE = "file"
    LINK = "link"
    OTHER = "other"
    """A device, a socket or a pipe, which is never copied."""


@dataclass(frozen=True, slots=True)
class Found:
    """A path of a switch.

    Attributes:
        path: Relative to the prefix.
        kind: What it is.
        status: As ``lstat`` gave it.
    """

    path: str
    kind: Kind
    status: os.stat_result

    @property
    def inode(self) -> tuple[int, int]:
        """Device and inode."""
        return self.status.st_dev, self.status.st_ino

    @property
    def is_record(self) -> bool:
        """Whether it is opam's own."""
        return self.path.startswith(f"{META}/")

    @property
    def is_verbatim(self) -> bool:
        """Whether its bytes stay as they are, whatever they are."""
        return self.path.startswith(VERBATIM)


def walk(prefix: str) -> Iterator[Found]:
    """Yield what a copy of a switch has, folders before what is in them, by name.

    Raises:
        UnavailableError: A folder can't be read.
    """
    try:
        yield Found("", Kind.FOLDER, os.lstat(prefix))
        yield from _below(prefix, "")
    except OSError as error:
        raise UnavailableError(f"{error.filename or prefix} can't be read: {error.strerror}") from error


def _below(prefix: str, folder: str) -> Iterator[Found]:
    with os.scandir(f"{prefix}/{folder}") as found:
        names = sorted(found, key=lambda item: item.name)
    for item in names:
        path = f"{folder}/{item.name}" if folder else item.name
        if path in LEFT_OUT:
            continue
        status = item.stat(follow_symlinks=False)
        kind = _kind(status.st_mode)
        yield Found(path, kind, status)
        if kind is Kind.FOLDER and path not in EMPTIED:
            yield from _below(prefix, path)


def _kind(mode: int) -> Kind:
    if stat.S_ISDIR(mode):
        return Kind.FOLDER
    if stat.S_ISREG(mode):
        return Kind.FILE
    return Kind.LINK if stat.S_ISLNK(mode) else Kind.OTHER


def moved_link(target: str, path: str, old: str, new: str) -> str:
    """Return the target of a symlink for the new prefix.

    Absolute ones into the old prefix lead into the new one. Relative ones that leave the prefix go on to lead
    to the same place. All others stay as they are.

    Args:
        target: Of the link.
        path: Of the link, relative to the prefix.
        old: The prefix that is left.
        new: The prefix that is gone to.
    """
    if target.startswith("/"):
        plain = "/" + "/".join(part for part in target.split("/") if part)
        inside = plain == old or plain.startswith(f"{old}/")
        return new + plain[len(old) :] if inside else target
    folder = os.path.dirname(path)  # noqa: PTH120 - text, dots and all
    reached = os.path.normpath(f"{old}/{folder}/{target}")
    if reached == old or reached.startswith(f"{old}/"):
        return target
    return os.path.relpath(reached, os.path.normpath(f"{new}/{folder}"))
