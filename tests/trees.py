"""Comparing two switches: what must be equal when one was built from source and the other restored."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PLACE = b"@PREFIX@"


def fold(data: bytes, prefix: Path) -> bytes:
    """Spell every form of a prefix (canonical, or with a run of slashes before its last part) the same way."""
    parent, leaf = os.fsencode(prefix.parent), os.fsencode(prefix.name)
    return re.sub(re.escape(parent) + rb"/+" + re.escape(leaf) + rb"(?![A-Za-z0-9._+~-])", PLACE, data)


def shape(prefix: Path) -> dict[str, tuple[str, int, str]]:
    """Describe each path below a prefix but opam's own folder: kind, mode, target of links."""
    found = {}
    for folder, names, files in os.walk(prefix):
        if folder == str(prefix):
            names.remove(".opam-switch")
        for name in [*names, *files]:
            full = os.path.join(folder, name)
            status = os.lstat(full)
            target = os.readlink(full) if stat.S_ISLNK(status.st_mode) else ""
            kind = stat.S_IFMT(status.st_mode)
            mode = 0 if target else stat.S_IMODE(status.st_mode)
            path = os.path.relpath(full, prefix)
            found[path] = (str(kind), mode, fold(target.encode(), prefix).decode())
    return found


def differing_files(left: Path, right: Path) -> list[str]:
    """Name the regular files that both switches have and that differ, spellings of the prefix aside."""
    found = []
    for path, (kind, _, _) in sorted(shape(left).items()):
        if kind == str(stat.S_IFREG) and (right / path).is_file():
            one, other = (left / path).read_bytes(), (right / path).read_bytes()
            if one != other and fold(one, left) != fold(other, right):
                found.append(path)
    return found


def holds_prefix(prefix: Path, *names: bytes) -> list[str]:
    """Name the files below a prefix that hold one of some byte strings."""
    found = []
    for path, (kind, _, _) in sorted(shape(prefix).items()):
        if kind == str(stat.S_IFREG):
            data = (prefix / path).read_bytes()
            if any(name in data for name in names):
                found.append(path)
    return found
