"""``clone`` and ``relocate``: a whole switch, with opam's own state, to another prefix.

Rules:

* Everything is looked at, and every refusal found, before the first write.
* The old switch is locked, by opam's own lock, from the first look to the end.
* The copy is made beside its place and looked at again; a rename puts it there, then opam's configuration
  names it, and opam itself is asked whether all is well. Whatever fails until then is undone.
* Only then a relocated switch loses its old files.
"""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from opambin.config import load as load_config
from opambin.context import open_context, open_store, real_opam
from opambin.errors import MisuseError, UnavailableError
from opambin.move.journal import Entry, MoveJournal, remove_tree
from opambin.move.registration import Registry
from opambin.move.staging import Staging
from opambin.move.survey import Refusal, Route, survey
from opambin.opam.client import Opam
from opambin.opam.lock import SwitchLock
from opambin.opam.root import Root
from opambin.opam.switch import LOCAL, locate
from opambin.opam.switchlist import is_local
from opambin.relocate.spelling import escaped
from opambin.restore import journal_of
from opambin.session.folder import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opambin.context import Context
    from opambin.move.survey import Progress, Survey

RESERVED = frozenset(
    (
        "backup",
        "cache",
        "config",
        "download-cache",
        "lock",
        "log",
        "opam-init",
        "plugins",
        "repo",
        "snapshots",
    )
)
"""Names in opam's root that no switch can have."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for.

    Attributes:
        switch: Name or folder of the switch.
        new: Name or folder of the copy.
        keep: Whether the old one stays.
        leave: Globs of files that may go on to name the old prefix.
        dry_run: Only look.
        tell: Called with a line when something takes a while.
        progress: Told how far it is.
    """

    switch: str
    new: str
    keep: bool
    leave: tuple[str, ...]
    dry_run: bool
    tell: Callable[[str], None]
    progress: Progress


@dataclass(frozen=True, slots=True)
class Moved:
    """What was done, or would be.

    Attributes:
        old: Name of the switch.
        new: Name of the copy.
        old_prefix: Where it was.
        new_prefix: Where the copy is.
        packages: How many packages are installed.
        files: How many files and symlinks there are.
        bytes: Of all files.
        changed: Files whose bytes were rewritten, and symlinks that lead elsewhere now.
        stale: How many places go on to name the old prefix that nothing reads.
        refusals: What can't be moved.
        links: Links to the switch outside of it that lead to the new one now.
        seconds: How long it took.
    """

    old: str
    new: str
    old_prefix: str
    new_prefix: str
    packages: int
    files: int
    bytes: int
    changed: tuple[str, ...]
    stale: int
    refusals: tuple[Refusal, ...] = ()
    links: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass
class _Move:
    """One move that is going on."""

    context: Context
    entry: Entry
    wanted: Wanted
    journal: MoveJournal
    registry: Registry
    made: list[Path] = field(default_factory=list)


def move(environ: Mapping[str, str], wanted: Wanted) -> Moved:
    """Copy a switch, and remove the old one when that is wanted.

    Args:
        environ: The environment.
        wanted: What is asked for.

    Raises:
        MisuseError: The new place can't be.
        CannotMoveError: Files can't be moved; nothing was changed.
        UnavailableError: No such switch, it is locked or being changed, no space, ….
    """
    begun = time.monotonic()
    root = Root.find(environ).path
    journal = MoveJournal(root)
    with nullcontext() if wanted.dry_run else journal.alone():
        if not wanted.dry_run:
            _recover(environ, root, journal, wanted.tell)
        context = open_context(environ, wanted.switch)
        context.root.check_opam(context.opam.check_supported())
        entry = plan_entry(context, wanted)
        with SwitchLock(context.switch.meta, root, on_wait=wanted.tell):
            _check_quiet(context)
            found = survey(context, Route(entry.old_prefix, entry.new_prefix, wanted.leave), wanted.progress)
            summary = _moved(len(context.switch.state().installed), entry, found)
            if wanted.dry_run:
                return replace(summary, seconds=_since(begun))
            found.check()
            registry = Registry(context.opam, root, entry, context.store)
            links = _carry_out(_Move(context, entry, wanted, journal, registry), found)
    return replace(summary, links=links, seconds=_since(begun))


def plan_entry(context: Context, wanted: Wanted) -> Entry:
    """Work out names and places, and refuse what can't be.

    Raises:
        MisuseError: The new place is taken, is inside of the old one, or has a name that no switch can have.
    """
    root = context.root.path
    name, prefix = locate(root, wanted.new, Path.cwd())
    new, old = str(prefix), context.prefix
    if Path(wanted.new).name == LOCAL and "/" in wanted.new:
        raise MisuseError(f"give the folder that {LOCAL} shall be in: {Path(wanted.new).parent}")
    if os.path.islink(old):  # noqa: PTH114 - the text that opam knows
        raise MisuseError(
            f"{old} is a symbolic link, and files may name what it leads to: put the folder there"
        )
    odd = sorted(set(escaped(os.fsencode(new))) - set(old))
    if not wanted.new or odd:
        why = f": scripts and makefiles could not name {new}, because of {odd[0]!r}" if odd else ""
        raise MisuseError(f"{wanted.new!r} is no place for a switch{why}")
    if name in RESERVED:
        raise MisuseError(f"{name} is a name that opam uses itself")
    if os.path.lexists(new) or os.path.lexists(Path(wanted.new, LOCAL)) or name in context.root.switches:
        raise MisuseError(f"{name} exists already ({new})")
    if f"{new}/".startswith(f"{old}/"):
        raise MisuseError(f"{new} is inside of the switch itself")
    link = Path(wanted.switch, LOCAL).absolute()
    by_link = "/" in wanted.switch or wanted.switch.startswith(".")
    linked = str(link) if by_link and link.is_symlink() else ""
    return Entry(
        context.switch.name, name, old, new, wanted.keep, link=linked, current=context.switch.is_global
    )


def _check_quiet(context: Context) -> None:
    """Refuse a switch in which something was interrupted."""
    if journal_of(context).path.exists():
        raise UnavailableError(
            f"a restore into {context.switch.name} was interrupted; the next 'opam-bin install' that restores"
            " something into this switch cleans up"
        )


def _since(begun: float) -> float:
    return round(time.monotonic() - begun, 3)


def _moved(packages: int, entry: Entry, found: Survey) -> Moved:
    return Moved(
        entry.old,
        entry.new,
        entry.old_prefix,
        entry.new_prefix,
        packages,
        found.files,
        found.size,
        tuple(sorted({*found.changed, *found.links})),
        found.stale,
        tuple(found.refusals),
    )


def _carry_out(run: _Move, found: Survey) -> tuple[str, ...]:
    entry = run.entry
    staging = Staging(found, entry.staging, link=not entry.keep)
    staging.check_space()
    try:
        run.journal.write(entry)
        _make_parents(run)
        staging.fill(run.wanted.progress)
        run.registry.rewrite_records(staging)
        staging.verify(run.wanted.progress)
        status = entry.staging.lstat()
        run.entry = entry = replace(entry, copy=(status.st_dev, status.st_ino))
        run.journal.write(entry)
        _put_in_place(entry)
        run.registry.register()
        run.registry.verify()
    except BaseException:
        _undo(run)
        raise
    _tell_of_faults(run.registry.record, run.wanted.tell)
    links = () if entry.keep else _finish(run.context.root.path, entry, run.registry, run.wanted.tell)
    run.journal.clear()
    return links


def _tell_of_faults(work: Callable[[], None], tell: Callable[[str], None]) -> None:
    """Do what a switch is complete without: keep the store's records."""
    try:
        work()
    except UnavailableError as error:
        tell(str(error))


def _make_parents(run: _Move) -> None:
    """Make the folder that a local switch goes into."""
    missing = []
    folder = Path(run.entry.new_prefix).parent
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        try:
            path.mkdir()
        except OSError as error:
            raise UnavailableError(f"{path} can't be made: {error.strerror}") from error
        run.made.append(path)


def _put_in_place(entry: Entry) -> None:
    """Give the copy its name; a folder that came into being there meanwhile is not replaced."""
    if os.path.lexists(entry.new_prefix):
        raise UnavailableError(f"{entry.new_prefix} has come into being meanwhile")
    try:
        entry.staging.rename(entry.new_prefix)
    except OSError as error:
        raise UnavailableError(f"{entry.new_prefix} can't be made: {error.strerror}") from error


def _undo(run: _Move) -> None:
    """Remove the copy; the old switch was not touched."""
    entry = run.entry
    run.registry.unregister()
    remove_tree(entry.staging)
    if entry.is_copy(Path(entry.new_prefix)):
        remove_tree(Path(entry.new_prefix))
    for path in reversed(run.made):
        if not any(path.iterdir()):
            path.rmdir()
    run.journal.clear()


def _finish(root: Path, entry: Entry, registry: Registry, tell: Callable[[str], None]) -> tuple[str, ...]:
    """Remove the old switch, after the new one is there and known."""
    links = registry.follow()
    old = Path(entry.old_prefix)
    if old.exists():
        try:
            old.rename(entry.discarded)
        except OSError as error:
            raise UnavailableError(
                f"{entry.new} is complete, but {old} can't be removed: {error.strerror}"
            ) from error
    remove_tree(entry.discarded)
    Session.of(root, old).remove()
    _tell_of_faults(registry.forget, tell)
    if entry.current and is_local(entry.new):
        tell(f"{entry.old} was the current switch of the root, which no local switch can be; none is now")
    return links


def _recover(
    environ: Mapping[str, str], root: Path, journal: MoveJournal, tell: Callable[[str], None]
) -> None:
    """Remove what a killed move has left, or finish it when only the old files were left to remove."""
    entry = journal.read()
    if entry is None:
        return
    store, _ = open_store(load_config(environ))
    registry = Registry(Opam(real_opam(environ), environ=environ), root, entry, store)
    remove_tree(entry.staging)
    known = registry.known()
    new = Path(entry.new_prefix)
    if entry.new not in known:
        if entry.is_copy(new):
            remove_tree(new)
        tell(f"removed what an interrupted move of {entry.old} to {entry.new} had left")
    elif entry.is_copy(new):
        registry.refresh()
        registry.verify()
        if not entry.keep:
            _finish(root, entry, registry, tell)
        tell(f"finished an interrupted move of {entry.old} to {entry.new}")
    journal.clear()
