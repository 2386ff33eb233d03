"""Finding out what condition an installation is in: configuration, store, opam, hooks, switches.

Everything is looked at and nothing changed; what is broken becomes a
:class:`~opambin.reports.condition.Problem` with its remedy, so that one fault hides no other. No store,
no hooks and no switch are no faults.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opambin.config import load
from opambin.errors import OpambinError
from opambin.opam.root import Root
from opambin.reports import holdings, remotes
from opambin.reports.condition import (
    Condition,
    HooksCondition,
    OpamCondition,
    SessionState,
    StoreCondition,
    StoreState,
    SwitchCondition,
    TransparentCondition,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from opambin.config import Config
    from opambin.context import Context
    from opambin.setup.initialise import InitPlan
    from opambin.store.store import Store

INIT = "run 'opam-bin init'"


def look(environ: Mapping[str, str], *, full: bool = False) -> Condition:
    """Look at everything.

    Args:
        environ: The environment.
        full: Walk the whole store for its size on disk.
    """
    found = Condition()
    try:
        found.config = load(environ)
    except OpambinError as error:
        found.blame(error, "correct the file or the variable; store and switches were not looked at")
    if found.config is not None:
        if not found.config.enabled:
            found.notes.append("opam-bin is switched off (enabled: false)")
        found.store = _store(found, found.config.cache, full=full)
        remotes.look(found, environ)
        if found.remotes and found.config.offline:
            found.notes.append("no remote is asked (offline)")
    version = _opam(found, environ)
    _root(found, environ, version)
    if found.root is not None:
        _hooks(found, found.root)
        _transparent(found, found.root, environ)
        if found.config is not None:
            _switches(found, found.config, found.root, environ)
    return found


@contextmanager
def _blaming(found: Condition) -> Iterator[None]:
    """Make a problem of the error that the block ends with."""
    try:
        yield
    except OpambinError as error:
        found.blame(error)
    except OSError as error:
        found.blame(f"{error.filename}: {error.strerror}" if error.filename else error)


def _store(found: Condition, place: Path, *, full: bool) -> StoreCondition:
    from opambin.store.layout import Layout, check_format
    from opambin.store.store import Store

    condition = StoreCondition(str(place), StoreState.UNUSABLE)
    with _blaming(found):
        if not check_format(Layout(place)):
            condition = _absent(found, place)
        else:
            with Store.open(place, create=False, readonly=True) as store:
                condition = _measured(found, store, full=full)
    return condition


def _absent(found: Condition, place: Path) -> StoreCondition:
    """Say whether a store could be made."""
    remedy = "name another directory in OPAMBIN_CACHE"
    try:
        there = next(folder for folder in (place, *place.parents) if folder.exists())
        obstacle = _obstacle(there, place)
    except OSError as error:
        there, obstacle = place, f"{error.filename or place}: {error.strerror}"
    if obstacle:
        found.blame(f"there is no store at {place}, and none can be made: {obstacle}", remedy)
        return StoreCondition(str(place), StoreState.UNUSABLE)
    return StoreCondition(str(place), StoreState.ABSENT, free=shutil.disk_usage(there).free)


def _obstacle(there: Path, place: Path) -> str:
    from opambin.store.layout import DIRECTORIES

    if not there.is_dir():
        return f"{there} is no directory"
    if not os.access(there, os.W_OK | os.X_OK):
        return f"{there} is not writable"
    foreign = sorted({path.name for path in place.iterdir()} - {*DIRECTORIES}) if there == place else ()
    return f"{place} is not empty, it holds {foreign[0]}" if foreign else ""


def _judge_readonly(found: Condition, place: Path) -> None:
    """Tell that nothing is captured: a fault where the store is the user's own, else it may be meant so."""
    what = f"the store at {place} can't be written: what it has is restored, and nothing is captured"
    if place.stat().st_uid == os.geteuid():
        found.blame(what, "make it writable, or name another directory in OPAMBIN_CACHE")
    else:
        found.notes.append(f"{what} ('shared: read' says that this is meant)")


def _measured(found: Condition, store: Store, *, full: bool) -> StoreCondition:
    place = store.layout.root
    state = StoreState.WRITABLE if os.access(place, os.W_OK) else StoreState.READONLY
    if state is StoreState.READONLY and (found.config is None or found.config.shared != "read"):
        _judge_readonly(found, place)
    snapshots, packages, size = None, None, None
    # without an index the manifests would have to be read, all of them
    if full or store.layout.index.exists():
        snapshots, packages, size = store.index.totals()
    quarantined = 0
    if store.layout.quarantine.is_dir():
        quarantined = sum(1 for _ in store.layout.quarantine.iterdir())
    if quarantined:
        found.notes.append(
            f"{store.layout.quarantine} holds damaged data that was put aside; it may be removed"
        )
    walked = store.size() if full else None
    for problem in store.problems:
        found.blame(problem, "run 'opam-bin verify'")
    free = shutil.disk_usage(place).free
    return StoreCondition(str(place), state, snapshots, packages, size, free, quarantined, walked)


def _opam(found: Condition, environ: Mapping[str, str]) -> tuple[int, ...] | None:
    """Look at the program; returns its version when we work with it."""
    from opambin.context import real_opam
    from opambin.opam.client import Opam

    try:
        program = real_opam(environ)
        found.opam = OpamCondition(program)
        opam = Opam(program, environ=environ)
        version = opam.version()
        found.opam = OpamCondition(program, ".".join(map(str, version)))
        opam.check_supported()
    except OpambinError as error:
        found.blame(error)
        return None
    found.opam = OpamCondition(program, ".".join(map(str, version)), supported=True)
    return version


def _root(found: Condition, environ: Mapping[str, str], version: tuple[int, ...] | None) -> None:
    with _blaming(found):
        found.root = Root.find(environ)
        if version is not None:
            found.root.check_opam(version)


def _hooks(found: Condition, root: Root) -> None:
    from opambin.opam import hooklist
    from opambin.setup.initialise import plan_init
    from opambin.setup.place import own_program

    with _blaming(found):
        plan = plan_init(root.path, own_program())
        installed = bool(hooklist.removing(root.config))
        lacks = [f"{plan.place.config}: {change.field}" for change in plan.changes]
        lacks += [str(file.path) for file in plan.files]
        lacks += [str(plan.place.link)] if plan.writes_link else []
        found.hooks = HooksCondition(
            installed,
            installed and plan.empty,
            tuple(lacks),
            str(plan.place.link),
            str(plan.link),
            tuple(str(hook) for hook in plan.peers),
            tuple(str(hook) for hook in plan.foreign),
        )
        _judge_hooks(found, plan, installed=installed)


def _judge_hooks(found: Condition, plan: InitPlan, *, installed: bool) -> None:
    link = plan.place.link
    missing = [str(file.path) for file in plan.files if not file.path.exists()]
    if installed:
        if missing:
            found.blame(f"opam's configuration names hooks, but there is no {missing[0]}", INIT)
        elif plan.changes or plan.files:
            found.blame("the hooks are incomplete, or of another version or installation of opam-bin", INIT)
        if plan.peers:
            found.blame(
                "the hooks of OCaml's opam-bin are configured, too; both together can't work",
                "run 'opam-bin init --replace-peer'",
            )
    else:
        found.notes.append(f"no hooks in {plan.place.root}: plain opam does not use the store ({INIT})")
        if plan.peers:
            found.notes.append("OCaml's opam-bin is configured ('opam-bin init --replace-peer' replaces it)")
    if link.is_symlink() and not link.exists():
        found.blame(f"'opam bin' does not work: {link} leads to {link.readlink()}, which is gone", INIT)
    elif installed and plan.writes_link:
        found.blame(f"'opam bin' does not run this program: see {link}", INIT)


def _transparent(found: Condition, root: Root, environ: Mapping[str, str]) -> None:
    """Look at the program that stands for opam, where there is one."""
    from opambin.setup.place import Place
    from opambin.setup.shim import Shim, programs

    path = Place(root.path).shim
    shim = Shim.read(path)
    if shim is None:
        return
    first = os.path.realpath(next(programs("opam", environ.get("PATH")), "")) == os.path.realpath(path)
    found.transparent = TransparentCondition(str(path), shim.real, shim.program, first)
    if not shim.works:
        gone = next(it for it in (shim.real, shim.program, shim.python) if not os.access(it, os.X_OK))
        found.blame(f"{path} stands for opam, but {gone} is gone", "run 'opam-bin init --transparent'")
    elif not first:
        found.notes.append(
            f"{path.parent} is not before opam on the PATH: plain opam commands don't restore here, unless a"
            " shell function does it (see 'opam-bin env')"
        )


def _switches(found: Condition, config: Config, root: Root, environ: Mapping[str, str]) -> None:
    from opambin.opam.switch import Switch

    current = ""
    try:
        current = Switch.open(root, None, environ).name
    except OpambinError as error:
        found.notes.append(str(error))
    for name in dict.fromkeys([*root.switches, *([current] if current else [])]):
        with _blaming(found):
            context = holdings.context_for_looking(config, root, name, None, environ)
            found.switches.append(_switch(found, context, current=name == current))


def _switch(found: Condition, context: Context, *, current: bool) -> SwitchCondition:
    from opambin.opam.lockprobe import is_locked
    from opambin.restore import journal_of

    name = context.switch.name
    locked = is_locked(context.switch.meta / "lock")
    session = SessionState.NONE
    if context.session.exists:
        # where locks can't be asked about, a session that is there is taken for a running one
        session = SessionState.LEFT_OVER if locked is False else SessionState.RUNNING
    if session is SessionState.LEFT_OVER:
        found.notes.append(
            f"switch {name}: an opam session was killed and left {context.session.folder};"
            " the next session replaces it"
        )
    journal = journal_of(context).path
    interrupted = _interrupted(found, name, journal) if locked is False and journal.exists() else ()
    return SwitchCondition(name, context.prefix, current, context.excluded, session, interrupted)


def _interrupted(found: Condition, name: str, journal: Path) -> tuple[str, ...]:
    """Blame a restore that never ended; returns its packages."""
    try:
        packages = tuple(json.loads(journal.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        found.blame(f"switch {name}: the journal of a restore can't be read: {journal}: {error}", "remove it")
        return ()
    named = ", ".join(map(str, packages)) or "before its first package"
    found.blame(
        f"switch {name}: a restore was interrupted ({named})",
        "the next 'opam-bin install' that restores something into this switch cleans up",
    )
    return packages
