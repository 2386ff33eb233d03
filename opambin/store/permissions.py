"""Who may write into a store, and so whom its users trust.

Rules:

* A store that everybody may write to is refused, whatever is set: what lies in it could be anybody's.
* It belongs to the user or to root. Another's is used when the configuration says ``shared: read`` (never
  written) or ``shared: group``.
* Where a group may write that is not the user's own, the configuration has to say ``shared: group``.

That a store is a group's shows in its folders, which are made so that what is made in them belongs to the
group and may be written by it: nothing else has to be known where a file is made.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING

from opambin.errors import MisuseError, UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

GROUP_FOLDER = 0o2775
GROUP_FILE = 0o664
_OF_GROUP = stat.S_ISGID | stat.S_IWGRP
_CHECKED = ("", "objects", "manifests", "locks", "tmp", "index.sqlite")


class Sharing(StrEnum):
    """With whom a store is shared."""

    NO = "no"
    READ = "read"
    GROUP = "group"


def check(root: Path, sharing: Sharing) -> bool:
    """Look at the owners and permissions of a store.

    Args:
        root: Its directory; nothing is wrong with one that is not there.
        sharing: What the configuration says.

    Returns:
        Whether it may be written, as far as sharing decides.

    Raises:
        MisuseError: It may not be used; the message says what would help.
        UnavailableError: It can't be looked at.
    """
    for name in _CHECKED:
        path = root / name
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise UnavailableError(f"{path} can't be looked at: {error.strerror}") from error
        _check_one(path, status, sharing)
    if sharing is Sharing.READ:
        with suppress(OSError):
            return root.stat().st_uid == os.geteuid()
    return True


def is_shared(root: Path, sharing: Sharing) -> bool:
    """Tell whether others can write what lies in a store, so that no file of a switch may be one with it."""
    try:
        return sharing is not Sharing.NO or root.stat().st_uid != os.geteuid()
    except OSError:
        return True


def _check_one(path: Path, status: os.stat_result, sharing: Sharing) -> None:
    if status.st_mode & stat.S_IWOTH:
        raise MisuseError(
            f"{path} may be written by everybody, so nothing in it can be trusted: "
            f"chmod -R o-w it, or name another directory in OPAMBIN_CACHE"
        )
    if sharing is Sharing.NO and status.st_uid not in (os.geteuid(), 0):
        raise MisuseError(
            f"{path} belongs to {_user(status.st_uid)}: set 'shared: read' (OPAMBIN_SHARED_STORE=read) if "
            f"you trust them, or name another directory in OPAMBIN_CACHE"
        )
    if sharing is not Sharing.GROUP and status.st_mode & stat.S_IWGRP and not _own_group(status.st_gid):
        raise MisuseError(
            f"{path} may be written by the group {_group(status.st_gid)}: set 'shared: group' "
            f"(OPAMBIN_SHARED_STORE=group) if you trust them, or chmod -R g-w it"
        )


def _own_group(gid: int) -> bool:
    """Tell whether a group is the user's alone, as many systems make one for each user."""
    import grp
    import pwd

    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    return group.gr_name == user.pw_name and not set(group.gr_mem) - {user.pw_name}


def _user(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _group(gid: int) -> str:
    import grp

    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def make_folder(path: Path, *, parents: bool = False) -> None:
    """Make a folder, where its parent is a group's for the group; one that is there stays as it is."""
    if path.is_dir():
        return
    if parents:
        make_folder(path.parent, parents=True)
    with suppress(FileExistsError):
        path.mkdir()
        if of_group(path.parent):
            path.chmod(GROUP_FOLDER)


def make_group_folder(path: Path) -> None:
    """Give a folder to its group: what is made in it belongs to the group, too."""
    path.chmod(GROUP_FOLDER)


def share_file(path: Path) -> None:
    """Let the group write a file that several members change in place, where its folder is a group's."""
    if of_group(path.parent):
        with suppress(OSError):  # another member's, who has done so
            path.chmod(GROUP_FILE)


def of_group(folder: Path) -> bool:
    """Tell whether a folder is a group's."""
    try:
        return folder.stat().st_mode & _OF_GROUP == _OF_GROUP
    except OSError:
        return False
