"""Setting opam-bin up in an opam root.

Rules:

* Nothing is decided while writing: a plan is made first, shown, and then carried out.
* Scripts are there before the configuration names them: opam stops working when a hook's file is missing.
* Others' hooks stay, and others' links too, unless the user has them replaced.
* Doing it again changes nothing, byte for byte.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from opambin import __version__
from opambin.errors import UnavailableError
from opambin.opam import hooklist
from opambin.resources import hooks_directory
from opambin.setup.launcher import INTERPRETER_FILE, RUN_FILE, interpreter_script, run_script
from opambin.setup.place import Place
from opambin.setup.shim import Shim

if TYPE_CHECKING:
    from pathlib import Path

    from opambin.opam.client import Opam
    from opambin.opam.hooklist import Change, Configured


class LinkState(StrEnum):
    """What is at the place of the plugin link."""

    RIGHT = "right"
    ABSENT = "absent"
    STALE = "stale"
    """A link that init wrote for another environment, or one that leads nowhere."""
    FOREIGN = "foreign"
    """Somebody else's link or file."""
    NO_PROGRAM = "no program"
    """This opam-bin has no program to link to."""


@dataclass(frozen=True, slots=True)
class ScriptFile:
    """A file below our hooks directory."""

    path: Path
    content: bytes
    mode: int

    def is_there(self) -> bool:
        """Tell whether the file has this content and mode."""
        try:
            return (
                stat.S_IMODE(self.path.stat().st_mode) == self.mode and self.path.read_bytes() == self.content
            )
        except OSError:
            return False


@dataclass(frozen=True, slots=True)
class InitPlan:
    """What init would do.

    Attributes:
        place: Where.
        config: The bytes of opam's configuration that the plan was made for.
        changes: Fields of the configuration to write.
        files: Scripts to write.
        link: What is at the place of the plugin link.
        program: What the link shall lead to.
        peers: Hooks of OCaml's opam-bin.
        foreign: Hooks of others, which stay.
        transparent: Whether there is a program that stands for opam, now or afterwards.
        keep_original: Whether ``config`` is the configuration before us, to be kept.
    """

    place: Place
    config: bytes
    changes: tuple[Change, ...]
    files: tuple[ScriptFile, ...]
    link: LinkState
    program: Path | None
    peers: tuple[Configured, ...]
    foreign: tuple[Configured, ...]
    keep_original: bool
    transparent: bool = False

    @property
    def writes_link(self) -> bool:
        """Whether the plugin link is written; somebody else's only after the user agreed to replace it."""
        return self.link in {LinkState.ABSENT, LinkState.STALE}

    @property
    def empty(self) -> bool:
        """Whether everything is in its place."""
        return not (self.changes or self.files or self.writes_link)

    def as_dict(self) -> dict[str, Any]:
        """Return the plan for ``--json``."""
        return {
            "root": str(self.place.root),
            "changes": [change.as_dict() for change in self.changes],
            "files": [str(file.path) for file in self.files],
            "link": {
                "path": str(self.place.link),
                "target": str(self.program) if self.program else None,
                "state": str(self.link),
            },
            "transparent": self.transparent,
            "peer_hooks": [str(hook) for hook in self.peers],
            "other_hooks": [str(hook) for hook in self.foreign],
        }


def plan_init(
    root: Path, program: Path | None, *, replace_peer: bool = False, stand_for: str = ""
) -> InitPlan:
    """Find out what has to be done so that opam-bin works in a root.

    Args:
        root: The opam root.
        program: The ``opam-bin`` program that ``opam bin`` shall run.
        replace_peer: Take out the hooks of OCaml's opam-bin, and take its link.
        stand_for: The opam that a program of ours shall stand for; empty: one that is there stays, and is
            brought up to date.

    Raises:
        UnavailableError: There is no opam root, or no program that could be called in opam's place.
        BadDataError: Its configuration can't be read.
    """
    place = Place(root)
    data, config = place.read_config()
    if config is None:
        raise UnavailableError(f"{root} is not an opam root (no config in it): run 'opam init' first")
    shim = _shim(place, program, stand_for)
    link = _link_state(place, program)
    if replace_peer and link is LinkState.FOREIGN and place.link.is_symlink():
        link = LinkState.STALE
    return InitPlan(
        place,
        data,
        changes=hooklist.adding(config, replace_peer=replace_peer),
        files=tuple(file for file in [*_scripts(place), *shim] if not file.is_there()),
        link=link,
        program=program,
        peers=hooklist.peers(config),
        foreign=hooklist.foreign(config),
        keep_original=not hooklist.removing(config),
        transparent=bool(shim),
    )


def init(plan: InitPlan, opam: Opam) -> None:
    """Carry out a plan: scripts, then the configuration, then the link.

    Raises:
        UnavailableError: Something can't be written, or opam did not take the configuration.
    """
    place = plan.place
    try:
        if plan.keep_original:
            _write(place.original, plan.config, stat.S_IMODE(place.config.stat().st_mode))
        for file in plan.files:
            _write(file.path, file.content, file.mode)
        _write_record(plan)
        for change in plan.changes:
            opam.option_set(change.assignment)
        if plan.writes_link and plan.program is not None:
            _link(place.link, plan.program)
    except OSError as error:
        raise UnavailableError(f"{error.filename or place.home}: {error.strerror}") from error
    if (config := place.read_config()[1]) is None or hooklist.adding(config):
        raise UnavailableError(f"opam did not take all hooks into {place.config}; run 'opam-bin init' again")


def _scripts(place: Place) -> list[ScriptFile]:
    sources = sorted(path for path in hooks_directory().iterdir() if path.is_file())
    files = [
        ScriptFile(place.hooks / source.name, source.read_bytes(), 0o644 if source.suffix else 0o755)
        for source in sources
    ]
    generated = {INTERPRETER_FILE: interpreter_script(), RUN_FILE: run_script()}
    return files + [
        ScriptFile(place.hooks / name, os.fsencode(text), 0o644) for name, text in generated.items()
    ]


def _shim(place: Place, program: Path | None, stand_for: str) -> list[ScriptFile]:
    """Return the program that stands for opam; none when it is neither wanted nor there."""
    there = Shim.read(place.shim)
    if program is None and stand_for:
        raise UnavailableError("there is no opam-bin program in this environment that could stand for opam")
    if program is None or not (stand_for or there):
        return []
    shim = Shim.of(stand_for or there.real if there else stand_for, program)
    return [ScriptFile(place.shim, shim.render(), 0o755)]


def _link_state(place: Place, program: Path | None) -> LinkState:
    link = place.link
    if program is None:
        return LinkState.NO_PROGRAM
    if not link.is_symlink():
        return LinkState.FOREIGN if link.exists() else LinkState.ABSENT
    target = str(link.readlink())
    if target == str(program):
        return LinkState.RIGHT
    return LinkState.STALE if target == place.recorded_link() or not link.exists() else LinkState.FOREIGN


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write a file of ours, so that a hook that runs meanwhile sees the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        beside.chmod(mode)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _write_record(plan: InitPlan) -> None:
    place = plan.place
    target = str(plan.program) if plan.writes_link or plan.link is LinkState.RIGHT else place.recorded_link()
    text = json.dumps({"version": __version__, "link": target}, indent=1) + "\n"
    if not place.record.is_file() or place.record.read_bytes() != text.encode():
        _write(place.record, text.encode(), 0o644)


def _link(link: Path, target: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    beside = link.with_name(f".{link.name}.{os.getpid()}")
    try:
        beside.symlink_to(target)
        beside.replace(link)
    finally:
        beside.unlink(missing_ok=True)
