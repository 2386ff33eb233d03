"""What a snapshot from elsewhere must not hold, beyond what makes a manifest a manifest.

Whoever signs a snapshot may put programs into a switch, but nothing outside of it, and nothing among opam's
own records. Refused:

* paths below ``.opam-switch``, in whatever spelling a file system may take for that;
* paths with control characters: a line feed would be two lines in somebody's list of files;
* links that lead out of the switch, or whose way can't be told from their text;
* a ``NAME.install`` that names files outside of its folders: opam deletes these when it removes the package;
* a ``NAME.config`` or ``NAME.install`` that is none.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from opambin.errors import BadDataError
from opambin.foldednames import folded
from opambin.model import PLACEHOLDER, FileType

if TYPE_CHECKING:
    from opambin.model import Manifest

OPAMS_OWN = ".opam-switch"
SHOWN_PROBLEMS = 5

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PLACEHOLDER = PLACEHOLDER.decode("ascii")


def check(manifest: Manifest, what: object) -> None:
    """Refuse a snapshot that a build could not have left like this.

    Args:
        manifest: Of the snapshot, read and checked.
        what: Its name, for the error.

    Raises:
        BadDataError: It holds what it must not.
    """
    found = problems(manifest)
    if found:
        shown = "; ".join(found[:SHOWN_PROBLEMS])
        more = len(found) - SHOWN_PROBLEMS
        raise BadDataError(what, f"hostile snapshot: {shown}{f'; and {more} more' if more > 0 else ''}")


def problems(manifest: Manifest) -> list[str]:
    """Say what others would refuse in a snapshot, in words; empty for nearly all."""
    return [
        *_bad_paths(manifest),
        *(
            f"the link {entry.path!r} leads to {entry.target!r:.100}, outside of the switch"
            for entry in manifest.files
            if entry.type is FileType.SYMLINK and not stays_inside(entry.path, entry.target)
        ),
        *_bad_texts(manifest),
    ]


def is_opams_own(path: str) -> bool:
    """Say whether a path may be, on some file system, one of opam's own records."""
    if path[:1] != "." and path.isascii():
        return False  # nearly all, and every path is looked at
    first = path.partition("/")[0]
    return (first[:1] == "." or not first.isascii()) and folded(first) == OPAMS_OWN


def stays_inside(path: str, target: str) -> bool:
    """Say whether a link stays in the switch, whatever other links there are.

    Args:
        path: Of the link, relative to the prefix.
        target: In placeholder form.
    """
    if target.startswith("/"):
        rest = target.removeprefix(_PLACEHOLDER)
        if rest == target or rest[:1] not in ("", "/"):
            return False
        depth, parts = 0, rest.split("/")
    else:
        depth, parts = path.count("/"), target.split("/")
    parts = [part for part in parts if part not in ("", ".")]
    up = next((at for at, part in enumerate(parts) if part != ".."), len(parts))
    rest_up = ".." in parts[up:]  # after a name, which may be a link to anywhere
    below = parts[up:]
    return up <= depth and not rest_up and not (up == depth and below and is_opams_own(below[0]))


def _bad_paths(manifest: Manifest) -> list[str]:
    paths = [entry.path for entry in manifest.files]
    paths += [edit.path for edit in manifest.edits]
    found = [f"{path!r:.100} is opam's own" for path in paths if is_opams_own(path)]
    paths += [extra.name for extra in manifest.extra_files]
    paths += [entry.target for entry in manifest.files if entry.target]
    return found + [f"{path!r:.100} has control characters" for path in paths if _CONTROL.search(path)]


def _bad_texts(manifest: Manifest) -> list[str]:
    from opambin.opam import dotinstall
    from opambin.opam.parser import parse

    name = manifest.package.name
    try:
        if manifest.config is not None:
            parse(manifest.config, f"{name}.config")
        if manifest.install is not None:
            dotinstall.entries(parse(manifest.install, f"{name}.install"), name)
    except BadDataError as error:
        return [str(error)]
    return []
