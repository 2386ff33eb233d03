"""Which paths an installation brought, and what it changed of others' files.

Two ways, as opam itself does it: without install commands the list is exactly what ``NAME.install``
names; with them the prefix is compared with an index that was made before.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from opambin.errors import BadDataError
from opambin.frozen import dataclass
from opambin.opam import dotinstall
from opambin.opam.parser import parse
from opambin.opam.prefixindex import PrefixIndex, compare, with_parents

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class FileList:
    """What an installation did to the prefix.

    Attributes:
        added: Paths relative to the prefix, sorted, folders before what they hold.
        edited: Files of other packages that have other content now.
    """

    added: tuple[str, ...]
    edited: tuple[str, ...] = ()


def from_install_file(prefix: Path, text: str, name: str, before: PrefixIndex | None) -> FileList:
    """List what ``NAME.install`` put into the prefix, with the folders that were made for it.

    Args:
        prefix: The switch.
        text: Content of the file.
        name: The package.
        before: What was there before; without it every folder but the well-known ones counts as new.

    Raises:
        BadDataError: The file installs outside of the switch, or names a file that isn't there.
    """
    files = set()
    for entry in dotinstall.entries(parse(text, f"{name}.install"), name):
        if os.path.lexists(f"{prefix}/{entry.target}"):
            files.add(entry.target)
        elif not entry.optional:
            raise BadDataError(f"{name}.install", f"{entry.target} is not in the switch")
    known = before.entries if before is not None else SHARED_FOLDERS
    folders = {path for path in with_parents(files) if path not in files and path not in known}
    return FileList(tuple(sorted(files | folders)))


SHARED_FOLDERS = frozenset(
    ["bin", "sbin", "lib", "man", "share", "etc", "doc", "lib/stublibs", "lib/toplevel", "lib/ocaml"]
    + [f"man/man{chapter}" for chapter in (*"123456789", "1M", "n", "l")]
)
"""Folders that opam or many packages make; a package never owns them."""


def from_comparison(
    prefix: Path, before: PrefixIndex, owner: Callable[[str], str | None]
) -> tuple[FileList, PrefixIndex]:
    """Compare the prefix with an index.

    Args:
        prefix: The switch.
        before: The prefix before the installation.
        owner: Says which other installed package owns a path; a changed path without an owner is a file
            that a reinstallation wrote again, or that nobody claimed.

    Returns:
        The list, and the index of the prefix now.
    """
    after = PrefixIndex.walk(prefix)
    difference = compare(before, after)
    added, edited = set(difference.added), []
    for path in difference.changed:
        if owner(path) is not None:
            if not stat.S_ISDIR(after.entries[path][0]):
                edited.append(path)
        elif not stat.S_ISDIR(after.entries[path][0]):
            added.add(path)
    return FileList(tuple(sorted(added)), tuple(edited)), after
