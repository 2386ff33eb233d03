"""Hits into the prefix: stage, place, check, register; undone as a whole where a step fails.

Rules:

* Everything happens under opam's own lock, and only while the switch is what the plan saw.
* All files are made, with their final bytes, before the first one appears in the prefix.
* Packages are placed in the plan's order; the check of a ``conf`` package begins when what it may call is
  in place, and has ended before anything is placed that stands on it. What a failing check would have
  carried is left to opam.
* opam's records are written last. Whatever fails after the first write is undone.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import field
from typing import TYPE_CHECKING

from opambin.errors import UnavailableError
from opambin.fitting import refusal
from opambin.frozen import dataclass
from opambin.interrupts import held_back
from opambin.machine import checks
from opambin.model import FileType
from opambin.opam.changes import Change, ChangeKind, Changes, digest
from opambin.opam.lock import SwitchLock
from opambin.opam.register import Guard, Registration, register, unregister
from opambin.placement import leftovers, placing, removing, undoing
from opambin.placement.leftovers import journal_of
from opambin.plan import FromManifest, Site, Verdict
from opambin.provided import InstalledPackage, Machine
from opambin.restoring import Run, Wanted, begin_check, begin_checks, extra_files, settle, settle_all
from opambin.store.records import InstalledRecord

__all__ = ["Restored", "Wanted", "journal_of", "restore"]

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opambin.context import Context
    from opambin.model import Manifest
    from opambin.placement import recovery
    from opambin.plan import Item
    from opambin.universe import Universe


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did.

    Attributes:
        restored: Packages that are in place and registered, in order, with their snapshots.
        checked: ``conf`` packages whose checks passed and that are registered.
        left: Package to reason, for those that were planned but are left to opam.
        reports: What the user must hear of: damaged data, what an earlier killed restore had left.
        seconds: How long it took.
        environment_stale: Whether opam's record of the switch's environment must be written anew, now
            that the lock is released.
    """

    restored: tuple[Manifest, ...] = ()
    checked: tuple[str, ...] = ()
    left: Mapping[str, str] = field(default_factory=dict)
    reports: tuple[str, ...] = ()
    seconds: float = 0.0
    environment_stale: bool = False


def restore(context: Context, universe: Universe, wanted: Wanted) -> Restored:
    """Restore the hits of a plan and run the checks of its ``conf`` packages.

    Args:
        context: The switch and the store.
        universe: The final set.
        wanted: What to restore.

    Raises:
        UnavailableError: The switch is locked or was changed meanwhile, or the disk refuses; the prefix is
            as it was.
    """
    begun = time.monotonic()
    lock = SwitchLock(context.switch.meta, context.root.path, on_wait=wanted.tell)
    with lock:
        if context.switch.fingerprint() != wanted.fingerprint:
            raise UnavailableError(f"switch {context.switch.name} was changed meanwhile")
        reports = leftovers.clean(context)
        removal = removing.Removal(context.switch, wanted.removals)
        run = Run(context, universe, wanted, Site(context.prefix, {}, Machine()), removal, reports=reports)
        _under_lock(run, lock)
    _record(run)
    return Restored(
        tuple(run.restored),
        tuple(run.checked),
        run.left,
        tuple(run.reports),
        time.monotonic() - begun,
        run.environment_stale,
    )


def _under_lock(run: Run, lock: SwitchLock) -> None:
    context = run.context
    target = placing.Target(context.prefix, context.link_mode, context.config.jobs)
    journal = journal_of(context)
    installed = context.switch.state().installed
    run.chosen.update(
        {
            name: InstalledPackage(context, name, version)
            for name, version in installed.items()
            if name not in run.removal.names
        }
    )
    registered = False
    try:
        begin_checks(run)
        hits = _stage(run, target)
        journal.write(hits, target.staging)
        _need_replacements(run, run.left)
        run.removal.carry_out()
        for item in run.wanted.items:
            _one(run, item, target)
        settle_all(run)
        _need_replacements(run, run.left)
        with held_back():
            _register(run, lock)
            registered = True
            journal.clear()
            run.removal.finish()
    except BaseException:
        if not registered:
            with held_back():
                _undo(run, journal)
        raise
    finally:
        for check in run.checks.values():
            check.join()
        shutil.rmtree(target.staging, ignore_errors=True)


def _need_replacements(run: Run, left: Mapping[str, str]) -> None:
    """Give up when something would be missing afterwards that was there before."""
    for package, after in run.wanted.removals.items():
        reason = left.get(f"{package.name}.{after}")
        if reason:
            raise UnavailableError(f"{package.name}.{after} can't take the place of {package}: {reason}")


def _register(run: Run, lock: SwitchLock) -> None:
    """Tell opam what is installed now, and what no longer is: both or nothing."""
    switch, env = run.context.switch, run.universe.surroundings.variables.get
    guard = Guard(lock, run.wanted.fingerprint, env=env)
    for_good = run.removal.for_good
    gone = unregister(switch, for_good, guard) if for_good else None
    try:
        written = register(switch, run.registrations, Guard(lock, env=env) if gone else guard)
    except BaseException:
        if gone is not None:
            gone.undo()
        raise
    run.environment_stale = written.environment_stale or (gone is not None and gone.environment_stale)


def _undo(run: Run, journal: recovery.Journal) -> None:
    """Take everything out of the prefix again; what can't be is left to the journal."""
    failed = False
    for placement in reversed(run.placements):
        try:
            undoing.undo(run.context.prefix, placement)
        except UnavailableError as error:
            failed = True
            run.wanted.tell(f"opam-bin: {error}")
    try:
        run.removal.undo()
    except UnavailableError as error:
        failed = True
        run.wanted.tell(f"opam-bin: {error}")
    if not failed:
        journal.clear()


def _stage(run: Run, target: placing.Target) -> list[Manifest]:
    """Make the files of all hits; what can't be made is left to opam."""
    hits: list[Manifest] = []
    taken: dict[str, Manifest] = {}
    leaving = run.removal.leaving
    for item in run.wanted.items:
        if item.verdict is Verdict.HIT and item.manifest is not None:
            files = [entry.path for entry in item.manifest.files if entry.type is not FileType.DIRECTORY]
            path = placing.conflicts(run.context.prefix, item.manifest, leaving)
            twice = next((path for path in files if path in taken), "")
            if path:
                run.left[str(item.package)] = f"{path} is in the switch already"
            elif twice:  # whose it is can't be known: opam builds both
                other = taken[twice]
                run.left[str(item.package)] = f"{twice} comes with {other.package.name}, too"
                run.left[str(other.package)] = f"{twice} comes with {item.package.name}, too"
            else:
                taken.update(dict.fromkeys(files, item.manifest))
                hits.append(item.manifest)
    hits = [manifest for manifest in hits if str(manifest.package) not in run.left]
    shutil.rmtree(target.staging, ignore_errors=True)
    problems = placing.stage(run.context.need_store(), hits, target)
    for manifest in hits:
        problem = problems.get(manifest.package.name)
        if problem is not None:
            run.left[str(manifest.package)] = problem.message
            if problem.bad_data:
                run.reports.append(f"{manifest.package}: {problem.message}")
    return [manifest for manifest in hits if manifest.package.name not in problems]


def _one(run: Run, item: Item, target: placing.Target) -> None:
    """Place one package, or run its check; nothing when something below it is missing."""
    name = item.package.name
    if item.verdict not in (Verdict.HIT, Verdict.CHECK) or str(item.package) in run.left:
        return
    needed = run.universe.needed(name)
    for below in needed:
        settle(run, below)
    missing = [below for below in needed if below not in run.chosen]
    if missing:
        run.left[str(item.package)] = f"{missing[0]} below it could not be restored"
    elif item.verdict is Verdict.CHECK:
        begin_check(run, item, run.configs)
    elif item.manifest is not None:
        reason = refusal(item.manifest, run.chosen, run.site)
        if reason:
            run.left[str(item.package)] = reason
        else:
            _place(run, item, item.manifest, target)


def _place(run: Run, item: Item, manifest: Manifest, target: placing.Target) -> None:
    context, name = run.context, manifest.package.name
    placement = placing.Placement(name)
    run.placements.append(placement)
    placing.commit(manifest, target, placement)
    config = context.live_text(manifest.config) if manifest.config is not None else None
    install = context.live_text(manifest.install) if manifest.install is not None else None
    if config is not None:
        run.configs[name] = checks.parse_config(config, str(name))
    tracked = [*placement.paths]
    changes = Changes.from_disk(context.switch.prefix, tracked)
    if placement.edited:
        edits = [
            Change(path, digest(context.switch.prefix / path), ChangeKind.CONTENTS)
            for path in placement.edited
        ]
        changes = Changes.of([*changes.entries, *edits])
    if config is not None and run.universe.node(name).file.get("install") is None:
        # opam tracks this file as one of the package's when it installs by NAME.install alone
        entry = Change(str(context.switch.config_file(name).relative_to(context.prefix)), "")
        changes = Changes.of([*changes.entries, entry])
    registration = Registration(
        manifest.package,
        item.text,
        changes,
        extra_files(context, manifest),
        config,
        install,
        name in run.wanted.roots,
    )
    run.registrations.append(registration)
    run.chosen[name] = FromManifest(manifest)
    run.restored.append(manifest)


def _record(run: Run) -> None:
    """Note in the store what is installed now; a store that can't be written forgoes that."""
    store = run.context.store
    if store is None or store.staging.readonly:
        return
    context = run.context
    known = [*run.restored, *run.recognised]
    records = [
        InstalledRecord(
            manifest.package.name,
            manifest.package.version,
            manifest.key,
            manifest.output,
            context.changes_digest(manifest.package.name),
        )
        for manifest in known
    ]
    try:
        store.forget_installed(context.prefix, run.removal.for_good)
        store.record_installed(context.prefix, records)
        store.touch([(manifest.key, manifest.output) for manifest in known], int(time.time()))
    except UnavailableError as error:
        run.reports.append(str(error))
