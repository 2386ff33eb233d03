"""Comparing two switches: what must be equal when one was built from source and the other restored."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from opambin.opam.ast import List, String
from opambin.opam.changes import Changes, verify
from opambin.opam.parser import parse
from opambin.relocate.analysis import analyse
from opambin.relocate.spelling import Spelling

if TYPE_CHECKING:
    from opambin.opam.ast import Value

PLACE = b"@PREFIX@"
SCRATCH = {"lock", "backup", "build", "sources", "remove", "packages/cache", "environment", "reinstall"}
"""What opam keeps in a switch that says nothing about it; its environment is compared by asking opam."""


def fold(data: bytes, prefix: Path) -> bytes:
    """Spell every form of a prefix (true, or with a run of slashes before its last part) the same way."""
    parent, leaf = os.fsencode(prefix.parent), os.fsencode(prefix.name)
    return re.sub(re.escape(parent) + rb"/+" + re.escape(leaf) + rb"(?![A-Za-z0-9._+~-])", PLACE, data)


def told(text: str, switch: str, prefix: Path) -> str:
    """Spell prefix and name of a switch the same way in what opam printed, and the width of columns too.

    opam 2.3 and later also name a file after a hash of the environment, which holds the prefix.
    """
    spelled = fold(text.encode(), prefix).decode()
    spelled = re.sub(r"/env-[0-9a-f]{32}-", "/env-@HASH@-", spelled)
    spelled = re.sub(rf"(?<![\w/-]){re.escape(switch)}(?![\w-])", "@SWITCH@", spelled)
    return re.sub(r" +", " ", spelled)


def shape(prefix: Path) -> dict[str, tuple[str, int, str]]:
    """Describe each path below a prefix but opam's own folder: kind, mode, target of links."""
    found = {}
    for folder, names, files in os.walk(prefix):
        if folder == str(prefix):
            names.remove(".opam-switch")
        for name in [*names, *files]:
            full = f"{folder}/{name}"
            status = os.lstat(full)
            target = str(Path(full).readlink()) if stat.S_ISLNK(status.st_mode) else ""
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


def placeholder_form(data: bytes, prefix: Path, path: str) -> bytes:
    """Return what would be stored of a file: equal where lengths of the prefix alone made files differ."""
    content = analyse(data, Spelling.of(os.fsencode(prefix)), path).content
    return data if content is None else content


def differences(left: Path, right: Path) -> list[str]:
    """Say how two switches differ in the files below their prefixes: presence, mode, target, content."""
    one, other = shape(left), shape(right)
    found = [
        f"{path}: {one.get(path, 'missing')} and {other.get(path, 'missing')}"
        for path in sorted(one.keys() | other.keys())
        if one.get(path) != other.get(path)
    ]
    for path in differing_files(left, right):
        mine = placeholder_form((left / path).read_bytes(), left, path)
        if mine != placeholder_form((right / path).read_bytes(), right, path):
            found.append(f"{path}: other content")
    return found


def metadata_differences(left: Path, right: Path) -> list[str]:
    """Say how what opam keeps about two switches differs; times, sizes, the prefix, scratch folders aside.

    Folders in lists of files are left to :func:`lost_folders`.
    """
    one, other = _metadata(left), _metadata(right)
    return [
        f"{path}: {one.get(path, 'missing')!r} and {other.get(path, 'missing')!r}"
        for path in sorted(one.keys() | other.keys())
        if one.get(path) != other.get(path)
    ]


def lost_folders(left: Path, right: Path) -> list[str]:
    """Name the folders that opam counts as a package's in one switch, and as nobody's in the other.

    The other way round is right: for some packages opam itself lists only the uppermost folders.
    """
    one, other = (
        {
            (path.name, entry.path)
            for path in (prefix / ".opam-switch/install").glob("*.changes")
            for entry in Changes.parse(path.read_text(), str(path)).entries
            if entry.digest == "D"
        }
        for prefix in (left, right)
    )
    return sorted(f"{path}: {folder}" for path, folder in one - other)


def _metadata(prefix: Path) -> dict[str, object]:
    folder = prefix / ".opam-switch"
    found: dict[str, object] = {}
    for base, names, files in os.walk(folder):
        if base == str(folder):
            names[:] = [name for name in names if name not in SCRATCH]
        for name in files:
            path = os.path.relpath(f"{base}/{name}", folder)
            if path not in SCRATCH:
                found[path] = _record(prefix, path)
    return found


def _record(prefix: Path, path: str) -> object:
    data = fold((prefix / ".opam-switch" / path).read_bytes(), prefix)
    if path.endswith(".changes"):
        entries = Changes.parse(data.decode(), path).entries
        return sorted(
            (entry.kind.value, entry.path, _undated(entry.digest)) for entry in entries if entry.digest != "D"
        )
    if path == "switch-state":
        file = parse(data.decode(), path)
        return {
            name: sorted(_strings(file.get(name))) for name in ("compiler", "roots", "installed", "pinned")
        }
    return data.decode("utf-8", "surrogateescape")


def _undated(digest: str) -> str:
    return "F" if digest.startswith("F:") else digest


def _strings(value: Value | None) -> list[str]:
    items = value.items if isinstance(value, List) else () if value is None else (value,)
    return [item.value for item in items if isinstance(item, String)]


def changes_problems(prefix: Path) -> list[str]:
    """Say where opam's records of files are not what is on disk."""
    found = []
    for path in sorted((prefix / ".opam-switch/install").glob("*.changes")):
        changes = Changes.parse(path.read_text(), str(path))
        found += [f"{path.name}: {difference}" for difference in verify(prefix, changes)]
    return found
