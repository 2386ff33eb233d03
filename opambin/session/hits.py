"""Restoring inside opam's own session, so that opam tracks the files itself.

Files that ``NAME.install`` names are put into the build directory, from where opam installs and tracks
them by its fast path. What a package's install commands would have put elsewhere is put into the prefix
by the first of these commands: around them opam compares the prefix. No pre-install hook is needed, whose
mere presence would make every package pay.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from opambin.context import open_context
from opambin.errors import BadDataError, CannotRelocateError, OpambinError, UnavailableError
from opambin.fitting import refusal
from opambin.frozen import dataclass
from opambin.model import FileType, Package, PackageName, Version
from opambin.opam import dotinstall
from opambin.opam.parser import parse
from opambin.opam.prefixindex import PrefixIndex
from opambin.placement import placing
from opambin.plan import Site
from opambin.provided import InstalledPackage, Machine
from opambin.relocate import engine
from opambin.session import replaced
from opambin.session import reports as session_reports
from opambin.session.folder import Result

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from opambin.context import Context
    from opambin.model import FileEntry, Manifest
    from opambin.opam.dotinstall import Installed


@dataclass(frozen=True, slots=True)
class Split:
    """A snapshot, divided by who puts its files into the prefix.

    Attributes:
        through_opam: Entries that opam installs, with where they come from in the build directory.
        tree: The snapshot with only the rest of its files.
    """

    through_opam: tuple[tuple[FileEntry, Installed], ...]
    tree: Manifest

    @property
    def has_tree(self) -> bool:
        """Whether anything is left for the first install command."""
        return bool(self.tree.files or self.tree.edits)


def before_build(named: tuple[str, str], environ: Mapping[str, str]) -> str:
    """Fill the build directory of a hit; returns why it will be built instead, or nothing.

    Raises:
        OpambinError: The switch or the session can't be read.
    """
    context = open_context(environ, hook=True)
    package = Package(PackageName(named[0]), Version(named[1]))
    try:
        manifest = _manifest(context, package)
        problem = _fill(context, package, manifest)
    except OpambinError as error:
        problem = str(error)
        if isinstance(error, BadDataError):
            session_reports.add(context.session, [problem])
    if context.store is not None:
        session_reports.add(context.session, context.store.problems)
    if problem:
        context.session.unmark("hit", package)
        context.session.mark("start", package)
        _note_reason(context, package, problem)
        return f"{package} is built from source: {problem}"
    return ""


def _manifest(context: Context, package: Package) -> Manifest:
    key, output = context.session.hit(package)
    manifest = context.need_store().manifests.get(key, output)
    if manifest is None:
        raise UnavailableError("its snapshot has disappeared")
    return manifest


def _note_reason(context: Context, package: Package, problem: str) -> None:
    planned = context.session.load_planned(package)
    if planned is not None:
        context.session.save_planned(package, replace(planned, reason=problem))


def _fill(context: Context, package: Package, manifest: Manifest) -> str:
    installed = context.switch.state().installed
    chosen = {name: InstalledPackage(context, name, version) for name, version in installed.items()}
    problem = refusal(manifest, chosen, Site(context.prefix, {}, Machine()))
    if problem:
        return problem
    conflict = placing.conflicts(context.prefix, manifest, replaced.leaving(context, package.name))
    if conflict:
        return f"{conflict} is in the switch already"
    split = divide(context, manifest)
    folder = context.switch.build_dir(package)
    staged = folder.with_name(f"{folder.name}.{placing.STAGING}")
    shutil.rmtree(staged, ignore_errors=True)
    try:
        _fill_folder(context, manifest, split, staged)
        _move(staged, folder)
    except OSError as error:
        raise UnavailableError(f"{folder} can't be filled: {error.strerror}") from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    context.session.save_placed(package, [entry.path for entry, _ in split.through_opam])
    # The markers come last: from here on the build commands do nothing.
    _finish(context, manifest, "place-at-install" if split.has_tree else "placed")
    return ""


def divide(context: Context, manifest: Manifest) -> Split:
    """Divide a snapshot into what its ``NAME.install`` names and the rest."""
    if manifest.install is None:
        return Split((), manifest)
    name = str(manifest.package.name)
    text = context.live_text(manifest.install)
    entries = {entry.path: entry for entry in manifest.files}
    through = []
    for item in dotinstall.entries(parse(text, f"{name}.install"), name):
        entry = entries.get(item.target)
        if entry is not None and entry.type is FileType.FILE:
            through.append((entry, item))
    taken = {entry.path for entry, _ in through}
    parents = {folder for path in taken for folder in _parents(path)}
    rest = tuple(
        entry
        for entry in manifest.files
        if entry.path not in taken and not (entry.type is FileType.DIRECTORY and entry.path in parents)
    )
    return Split(tuple(through), replace(manifest, files=rest))


def _parents(path: str) -> list[str]:
    found = []
    while path := path.rpartition("/")[0]:
        found.append(path)
    return found


def _move(staged: Path, folder: Path) -> None:
    """Move files into the build directory, over what came with the source.

    Raises:
        OSError: One can't be moved. Files of the source may be gone then, but all that can be found out
            before has been.
    """
    for top, _, names in os.walk(staged):
        target = folder / os.path.relpath(top, staged)
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            os.replace(f"{top}/{name}", target / name)  # noqa: PTH105 - top is a text


def _fill_folder(context: Context, manifest: Manifest, split: Split, folder: Path) -> None:
    """Make the files of a hit in a folder of their own: the source must stay whole when one can't be made."""
    store = context.need_store()
    name = manifest.package.name
    made: set[Path] = set()
    folder.mkdir(parents=True)
    for entry, item in split.through_opam:
        destination = folder / item.source
        if destination in made:
            continue
        destination.parent.mkdir(parents=True, exist_ok=True)
        if entry.digest is None:
            raise BadDataError(entry.path, "a file without a digest in its manifest")
        source = store.objects.locate(entry.digest, executable=bool(entry.mode & 0o111), size=entry.size)
        made.add(destination)
        how = engine.Placing(entry.mode | 0o200)
        engine.place(source, destination, entry.occurrences, os.fsencode(context.prefix), how)
    for text, suffix in ((manifest.install, "install"), (manifest.config, "config")):
        if text is not None:
            path = folder / f"{name}.{suffix}"
            path.write_bytes(context.live_text(text).encode("utf-8", "surrogateescape"))
    for entry in split.tree.files:
        if entry.type is FileType.FILE:
            _check(context, entry)


def _check(context: Context, entry: FileEntry) -> None:
    """Find out before the build is skipped whether a file of the tree can be placed later."""
    if entry.digest is None:
        raise BadDataError(entry.path, "a file without a digest in its manifest")
    context.need_store().objects.path(entry.digest, executable=bool(entry.mode & 0o111), size=entry.size)
    engine.check(entry.occurrences, len(os.fsencode(context.prefix)))


def _finish(context: Context, manifest: Manifest, marker: str) -> None:
    context.session.add_result(Result.of_restored(manifest))
    context.session.save_provides(str(manifest.package.name), manifest.output, manifest.provides)
    context.session.mark(marker, manifest.package)


def at_install(named: tuple[str, str], environ: Mapping[str, str]) -> None:
    """Put the tree of a hit into the prefix; opam holds the lock.

    Raises:
        OpambinError: It can't be placed; the prefix is as it was, and opam must fail the installation,
            since nothing was built.
    """
    context = open_context(environ, hook=True)
    package = Package(PackageName(named[0]), Version(named[1]))
    tree = divide(context, _manifest(context, package)).tree
    target = placing.Target(context.prefix, context.link_mode, context.config.jobs)
    try:
        problems = placing.stage(context.need_store(), [tree], target)
        if problems:
            raise CannotRelocateError(package, problems[str(package.name)].message)
        placement = placing.commit(tree, target)
    finally:
        shutil.rmtree(target.staging, ignore_errors=True)
    carry_index(context, [*placement.paths, *placement.edited])
    context.session.mark("placed", package)
    context.session.unmark("place-at-install", package)


def carry_index(context: Context, paths: list[str]) -> None:
    """Bring the session's index of the prefix up to date, where there is one."""
    path = context.session.index_path
    if path.exists():
        index = PrefixIndex.load(path)
        index.carry(context.switch.prefix, paths)
        index.save(path)
