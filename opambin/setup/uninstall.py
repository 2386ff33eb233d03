"""Taking opam-bin out of an opam root.

Rules:

* Nothing is taken out while an opam is at work; what killed restores have left in switches goes first.
* The configuration forgets the scripts before they go: opam stops working when a hook's file is missing.
* It works with whatever is left of us, and takes nothing that is not ours.
* When the configuration says what it said before init, it gets the very bytes back that it had.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opambin.errors import BadDataError, MisuseError, UnavailableError
from opambin.opam import hooklist
from opambin.opam.configlock import replace_locked
from opambin.setup.place import Place, own_program, read_opam

if TYPE_CHECKING:
    from pathlib import Path

    from opambin.opam.ast import OpamFile
    from opambin.opam.client import Opam
    from opambin.opam.hooklist import Change

PEER_PROGRAM = "opam-bin.exe"
"""OCaml's opam-bin keeps its program in the directory that is also ours."""
STORE = "store"
"""A store inside our directory outlives an uninstallation."""


@dataclass(frozen=True, slots=True)
class UninstallPlan:
    """What uninstall would do.

    Attributes:
        place: Where.
        config: The bytes of opam's configuration that the plan was made for; empty when there is none.
        changes: Fields of the configuration to write, unless the original is restored.
        original: The bytes to restore, when the configuration says the same but for our hooks.
        removes: Files and directories of ours.
        keeps: What stays and may be thought to be ours, each with the reason.
    """

    place: Place
    config: bytes
    changes: tuple[Change, ...]
    original: bytes | None
    removes: tuple[Path, ...]
    keeps: tuple[str, ...]

    @property
    def empty(self) -> bool:
        """Whether nothing of ours is there."""
        return not (self.changes or self.removes)

    def as_dict(self) -> dict[str, Any]:
        """Return the plan for ``--json``."""
        return {
            "root": str(self.place.root),
            "changes": [change.as_dict() for change in self.changes],
            "restores_original": self.original is not None,
            "removes": [str(path) for path in self.removes],
            "keeps": list(self.keeps),
        }


def plan_uninstall(root: Path) -> UninstallPlan:
    """Find out what of opam-bin is in a root, however little is left of it.

    Raises:
        BadDataError: The configuration can't be read.
    """
    place = Place(root)
    data, config = place.read_config()
    changes = () if config is None else hooklist.removing(config)
    removes, keeps = _leftovers(place)
    return UninstallPlan(
        place,
        data,
        changes=changes,
        original=_restorable(place, config) if config is not None and changes else None,
        removes=removes,
        keeps=keeps,
    )


def uninstall(plan: UninstallPlan, opam: Opam | None) -> list[str]:
    """Carry out a plan: what killed restores have left, the configuration, our directory, the link.

    Args:
        plan: What to do.
        opam: Takes the hooks out where the original configuration can't be restored.

    Returns:
        What was cleaned up in switches, as lines for the user.

    Raises:
        MisuseError: opam is needed and None.
        UnavailableError: An opam is at work in the root, or something can't be written or removed.
    """
    from opambin.setup import leaving

    leaving.refuse_while_at_work(plan.place)
    said = leaving.clean_switches(plan.place)
    restored = plan.original is not None and replace_locked(plan.place.config, plan.config, plan.original)
    if plan.changes and not restored:
        if opam is None:
            raise MisuseError("opam is needed to take the hooks out of its configuration, and was not found")
        for change in plan.changes:
            opam.option_set(change.assignment)
    try:
        for path in plan.removes:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        for directory in (plan.place.home, plan.place.link.parent, plan.place.home.parent):
            if directory.is_dir() and not any(directory.iterdir()):
                directory.rmdir()
    except OSError as error:
        raise UnavailableError(f"{error.filename or plan.place.home}: {error.strerror}") from error
    return said


def _leftovers(place: Place) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Return what is ours to remove, and what stays with its reason."""
    removes: list[Path] = []
    keeps: list[str] = []
    peer = (place.home / PEER_PROGRAM).exists()
    ours = {path.name for path in (place.hooks, place.original, place.record, place.shim.parent)}
    ours |= {"session", "journal"}
    for path in sorted(place.home.iterdir()) if place.home.is_dir() else ():
        if path.name in ours or not (peer or path.name == STORE):
            removes.append(path)
        else:
            keeps.append(f"{path} (OCaml's opam-bin)" if peer else f"{path} (the store)")
    link = place.link
    if link.is_symlink():
        target = str(link.readlink())
        if not link.exists() or target in {place.recorded_link(), str(own_program())}:
            removes.append(link)
        else:
            keeps.append(f"{link} (leads to {target}, which is not ours)")
    elif link.exists():
        keeps.append(f"{link} (not a link of ours)")
    return tuple(removes), tuple(keeps)


def _restorable(place: Place, config: OpamFile) -> bytes | None:
    """Return the original bytes of the configuration, when they say what it says without our hooks."""
    try:
        data = place.original.read_bytes()
        original = read_opam(data, place.original)
    except (OSError, BadDataError):
        return None  # half gone: opam takes the hooks out, field by field
    if hooklist.removing(original) or not hooklist.same_without_ours(config, original):
        return None
    return data
