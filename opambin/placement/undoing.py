"""Taking out of a prefix what was put there; nothing of it may stay behind, whatever its modes are."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from opambin.errors import UnavailableError

if TYPE_CHECKING:
    from opambin.placement.placing import Placement


def undo(prefix: str, placement: Placement) -> None:
    """Take out of the prefix what a placement put there; missing things are no error.

    Raises:
        UnavailableError: Something can't be removed or put back; everything else is, and a second call
            tries what is left.
    """
    failed: list[OSError] = []
    for path in reversed(placement.roots.copy()):
        try:
            _remove_tree(Path(prefix, path))
            placement.roots.remove(path)
        except OSError as error:
            failed.append(error)
    for path, content in list(placement.edited.items()):
        try:
            _put_back(Path(prefix, path), content, placement.times[path])
            del placement.edited[path]
        except OSError as error:
            failed.append(error)
    if failed:
        raise UnavailableError("can't be put back: " + "; ".join(map(str, failed))) from failed[0]


def _remove_tree(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            _open_folders(path)
            shutil.rmtree(path)
        else:
            path.unlink()
    except FileNotFoundError:
        return  # it was about to be placed


def is_open(mode: int) -> bool:
    """Tell from the mode of a folder whether its owner may list and change what is in it."""
    return mode & stat.S_IRWXU == stat.S_IRWXU


def _open_folders(folder: Path) -> None:
    """Let the owner remove what is in a folder and in those below it."""
    status = folder.lstat()
    if not is_open(status.st_mode):
        folder.chmod(stat.S_IMODE(status.st_mode) | stat.S_IRWXU)
    with os.scandir(folder) as found:
        for item in found:
            if item.is_dir(follow_symlinks=False):
                _open_folders(Path(item.path))


def _put_back(path: Path, content: bytes, times: tuple[int, int]) -> None:
    temporary = path.with_name(f".{path.name}.opam-bin")
    temporary.write_bytes(content)
    shutil.copymode(path, temporary)
    os.utime(temporary, ns=times)
    temporary.replace(path)
