"""One digest for the source of a pinned package, as opam has synchronised it."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING

from opambin.errors import UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

VERSION_CONTROL = frozenset((".git", ".hg", "_darcs", ".svn"))
"""Folders that hold history, which no build should look at."""


def tree_digest(top: Path) -> str:
    """Hash names, contents, targets of symlinks and executable bits of a folder; times don't count.

    Returns:
        sha256 in hexadecimal over one line per path, sorted by its bytes.

    Raises:
        UnavailableError: It can't be read.
    """
    total = hashlib.sha256()
    try:
        for path in sorted(_paths(os.fsencode(top))):
            total.update(_line(os.fsencode(top), path))
    except OSError as error:
        raise UnavailableError(f"{top} can't be read: {error.strerror}") from error
    return total.hexdigest()


def _paths(top: bytes) -> list[bytes]:
    found: list[bytes] = []
    folders = [b""]
    skipped = {os.fsencode(name) for name in VERSION_CONTROL}
    while folders:
        folder = folders.pop()
        with os.scandir(os.path.join(top, folder)) as items:  # noqa: PTH118 - bytes
            for item in items:
                path = folder + b"/" + item.name if folder else item.name
                if item.is_dir(follow_symlinks=False):
                    if item.name not in skipped:
                        folders.append(path)
                        found.append(path)
                else:
                    found.append(path)
    return found


def _line(top: bytes, path: bytes) -> bytes:
    full = os.path.join(top, path)  # noqa: PTH118 - bytes
    status = os.lstat(full)
    if stat.S_ISDIR(status.st_mode):
        kind, content = b"d", b""
    elif stat.S_ISLNK(status.st_mode):
        kind, content = b"l", os.readlink(full)  # noqa: PTH115 - bytes
    else:
        kind = b"x" if status.st_mode & 0o111 else b"f"
        with open(full, "rb") as file:  # noqa: PTH123 - bytes
            content = hashlib.file_digest(file, "sha256").hexdigest().encode()
    return kind + b" %d:%s %d:%s\n" % (len(path), path, len(content), content)
