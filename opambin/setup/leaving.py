"""Leaving the switches of a root clean: before uninstall takes our own records of them away.

A restore that was killed has left a journal, a staging folder or files of packages that opam does not know
of; a capture that was killed may have left a temporary file. Only what those records and names say is ours
goes, and only under the switch's own lock.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from opambin.errors import OpambinError, UnavailableError
from opambin.opam.lock import SwitchLock
from opambin.opam.lockprobe import is_locked
from opambin.opam.root import Root
from opambin.opam.switch import META, Switch, locate
from opambin.placement.placing import STAGING
from opambin.placement.recovery import Journal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opambin.setup.place import Place

LOCK_TIMEOUT = 30.0  # seconds
TEMPORARY = ".opam-bin"
"""How the temporary files end that we make beside files of a switch; their names begin with a dot."""


def refuse_while_at_work(place: Place) -> None:
    """See that no opam installs anything in the root: it would miss our scripts in the middle of it.

    Raises:
        UnavailableError: One does.
    """
    if is_locked(place.root / "lock"):
        raise UnavailableError(f"opam is at work in {place.root}: try again when it has finished")


def clean_switches(place: Place) -> list[str]:
    """Remove what killed restores and captures have left in the switches of a root.

    Returns:
        What was removed, and what could not be, as lines for the user.
    """
    try:
        root = Root.open(place.root)
    except OpambinError as error:
        return [f"switches were not looked at: {error}"] if place.config.exists() else []
    said: list[str] = []
    for name, prefix in _switches(place, root):
        if not (prefix / META / "switch-config").is_file():
            continue
        switch = Switch(root, name, prefix)
        journal = Journal(_journals(place) / f"{str(prefix).lstrip('/')}.json")
        try:
            left = _temporaries(prefix)
            if left or journal.path.exists():
                with SwitchLock(switch.meta, root.path, timeout=LOCK_TIMEOUT):
                    said += [f"{prefix}: removed {it}" for it in _clean(switch, journal, left)]
        except OpambinError as error:
            said.append(f"{prefix}: can't be cleaned up: {error}")
        except OSError as error:
            said.append(f"{error.filename or prefix}: can't be removed: {error.strerror}")
    return said


def _journals(place: Place) -> Path:
    return place.home / "journal"


def _switches(place: Place, root: Root) -> Iterator[tuple[str, Path]]:
    """Yield name and prefix of the switches that opam knows, and of those that a journal is about."""
    found = {}
    for name in root.switches:
        called, prefix = locate(root.path, name, root.path)
        found[prefix] = called
    top = _journals(place)
    for path in sorted(top.rglob("*.json")) if top.is_dir() else ():
        prefix = Path("/", path.relative_to(top).with_suffix(""))
        found.setdefault(prefix, str(prefix))
    for prefix, called in found.items():
        yield called, prefix


def _temporaries(prefix: Path) -> list[Path]:
    """Find our temporary files and staging folder below a prefix."""
    found = [path for path in (prefix / META / STAGING,) if path.exists()]
    for folder, names, files in os.walk(prefix):
        if folder == str(prefix):
            names.remove(META)
        found += [Path(folder, name) for name in files if name.startswith(".") and name.endswith(TEMPORARY)]
    return found


def _clean(switch: Switch, journal: Journal, left: list[Path]) -> Iterator[str]:
    state = switch.state()
    if journal.path.exists():
        owned = {
            path
            for name in state.installed
            if (changes := switch.changes(name)) is not None
            for path in changes.added()
        }
        packages = [str(package) for package in state.packages]
        for package in journal.recover(str(switch.prefix), packages, owned.__contains__):
            yield f"what a killed restore had left of {package}"
    for path in left:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.is_symlink() or path.exists():
            path.unlink()
        else:
            continue  # it went with the journal
        yield str(path)
