"""What a session replaces: packages that are installed when it starts, and installed again in it.

An index of the prefix made at the start knows the files and folders of the former installation. Those are
no one else's: a folder that opam removed and the new installation made again belongs to the package. opam
tells the session's start of upgrades but not of reinstallations, and when the new files are there its list
of the old ones is gone. So these lists are kept aside at the start.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from opambin.filelist import SHARED_FOLDERS
from opambin.model import PackageName
from opambin.opam.changes import Changes
from opambin.opam.prefixindex import with_parents

if TYPE_CHECKING:
    from opambin.context import Context
    from opambin.opam.prefixindex import PrefixIndex

FOLDER = "before"
SUFFIX = ".changes"


def keep(context: Context) -> None:
    """Keep opam's lists of files aside; opam removes a list before it writes another, so links will do."""
    folder = context.session.folder / FOLDER
    folder.mkdir()
    for path in (context.switch.meta / "install").glob(f"*{SUFFIX}"):
        try:
            os.link(path, folder / path.name)
        except OSError:  # another file system
            shutil.copyfile(path, folder / path.name)


def forget(context: Context, name: PackageName, index: PrefixIndex) -> None:
    """Take out of an index what former installations had made that opam has removed since.

    Args:
        context: The switch; a session is going on.
        name: The package that was just installed.
        index: Changed in place.
    """
    installed = context.switch.state().installed
    gone: set[str] = set()
    for path in (context.session.folder / FOLDER).glob(f"*{SUFFIX}"):
        owner = PackageName(path.name.removesuffix(SUFFIX))
        if owner == name or owner not in installed:
            gone.update(Changes.parse(path.read_text("utf-8", "surrogateescape"), str(path)).added())
            path.unlink()
    if gone:
        # opam does not list every folder that it made
        index.forget(set(with_parents(gone)) - SHARED_FOLDERS)


def leaving(context: Context, name: PackageName) -> frozenset[str]:
    """Return the paths of an installed version that opam will remove before it installs another."""
    changes = context.switch.changes(name) if name in context.switch.state().installed else None
    return frozenset(changes.added()) if changes is not None else frozenset()
