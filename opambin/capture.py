"""After a build: what was installed becomes a snapshot, and the live files get their true spelling.

Order, because a failure must never leave a switch in between: look at everything, write the objects,
give the live files the canonical spelling, then publish the manifest. The live files are made canonical
even when no snapshot can be stored, since packages above must be built against what a restore would give.
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from opambin.errors import MisuseError, UnavailableError
from opambin.frozen import dataclass
from opambin.looking import look_at
from opambin.model import (
    BuildRecord,
    Digest,
    ExtraFile,
    FileEntry,
    FileType,
    Manifest,
    PackageName,
    Symbol,
)
from opambin.outputs import imports, output_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opambin.context import Context
    from opambin.filelist import FileList
    from opambin.looking import Look, Seen
    from opambin.model import ConeKey, Package
    from opambin.opam.prefixindex import PrefixIndex
    from opambin.provided import InstalledPackage


@dataclass(frozen=True, slots=True)
class Build:
    """What is known of a build that has just been installed.

    Attributes:
        package: Name and version.
        key: Its cone key.
        inputs: What the key is the hash of.
        opam: Its opam file.
        record: How it came to be.
        reads: Variables of other packages (``package:name``) that its opam file reads.
        keep_length: Whether the recipe wants lengths kept.
        extra_files: What came with its definition; None when that isn't there any more as it came.
        refusal: Why no snapshot may be made of it, whatever its files.
    """

    package: Package
    key: ConeKey | None
    inputs: str
    opam: str
    record: BuildRecord
    reads: frozenset[str] = frozenset()
    keep_length: bool = False
    extra_files: Mapping[str, bytes] | None = field(default_factory=dict)
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Captured:
    """What a capture gave.

    Attributes:
        manifest: The snapshot; None when none could be made.
        problem: Why not.
        touched: Paths whose live files were given the canonical spelling.
        provides: What the live files offer.
    """

    manifest: Manifest | None
    problem: str = ""
    touched: tuple[str, ...] = ()
    provides: frozenset[Symbol] = frozenset()


def capture(
    context: Context,
    build: Build,
    files: FileList,
    before: PrefixIndex | None,
    neighbours: Mapping[PackageName, InstalledPackage],
) -> Captured:
    """Make a snapshot of an installed package and give its live files the canonical spelling.

    Args:
        context: The switch and the store.
        build: What was built.
        files: What it installed.
        before: The prefix before, for the content of files that it edited.
        neighbours: Its run-time dependencies, direct and indirect.

    Raises:
        OpambinError: The live files could not be looked at or written; a store that can't be written is no
            error but a problem in the result.
    """
    look = look_at(context, files, before, keep_length=build.keep_length)
    if not build.record.adopted and any(seen.analysis for seen in look.seen):
        from opambin import canonicalcrcs

        canonicalcrcs.rename(context.prefix, look)
    with ExitStack() as stack:
        problem = _open_for_writing(context, stack)
        return _capture(context, build, look, neighbours, problem)


def _open_for_writing(context: Context, stack: ExitStack) -> str:
    """Keep gc out of the store until the manifest is written; returns why the store can't be written."""
    if context.store is None:
        return context.store_problem
    try:
        stack.enter_context(context.store.writing())
    except UnavailableError as error:
        return str(error)
    return ""


def _capture(
    context: Context,
    build: Build,
    look: Look,
    neighbours: Mapping[PackageName, InstalledPackage],
    problem: str,
) -> Captured:
    entries, extra, problem = _store(context, build, look, problem)
    with _all_or_none(context, look):
        touched = _canonicalise(context, look) if look.seen or look.edits else ()
    config = _meta_text(context, look, "config", f"{build.package.name}.config")
    install = _meta_text(context, look, "install", f"{build.package.name}.install")
    if problem or build.key is None:
        return Captured(None, problem, touched, frozenset(look.provides))
    manifest = _manifest(context, build, look, (entries, extra, config, install), neighbours)
    try:
        context.need_store().add(manifest)
    except UnavailableError as error:
        return Captured(None, str(error), touched, frozenset(look.provides))
    return Captured(manifest, "", touched, frozenset(look.provides))


def _all_or_none(context: Context, look: Look) -> AbstractContextManager[None]:
    """Guard the live files where all of them must be written."""
    if not look.renamed:
        return nullcontext()
    from opambin import canonicalcrcs

    return canonicalcrcs.all_or_none(context)


def _store(
    context: Context, build: Build, look: Look, problem: str
) -> tuple[list[FileEntry], tuple[ExtraFile, ...], str]:
    """Write the objects; returns the entries, or why there is no snapshot."""
    problem = build.refusal or look.problem or problem
    if not problem and build.extra_files is None:
        problem = "its build changed the files that came with its definition"
    if problem or context.store is None or build.extra_files is None:
        return [], (), problem
    try:
        entries = [_entry(context, seen) for seen in look.seen]
        extra = tuple(
            ExtraFile(name, *context.store.objects.put_bytes(content, executable=False))
            for name, content in sorted(build.extra_files.items())
        )
    except UnavailableError as error:
        return [], (), str(error)
    return entries, extra, ""


def _entry(context: Context, seen: Seen) -> FileEntry:
    mode = stat.S_IMODE(seen.status.st_mode)
    if stat.S_ISLNK(seen.status.st_mode):
        return FileEntry(seen.path, FileType.SYMLINK, target=seen.target)
    if seen.analysis is None:
        # setgid comes from the folder that the switch lies in, not from the package
        return FileEntry(seen.path, FileType.DIRECTORY, mode & ~(stat.S_ISUID | stat.S_ISGID))
    objects = context.need_store().objects
    executable = bool(mode & 0o111)
    found = seen.analysis
    if found.content is None:
        digest, size = objects.put_file(Path(f"{context.prefix}/{seen.path}"), executable=executable)
    else:
        digest, size = objects.put_bytes(found.content, executable=executable)
    return FileEntry(
        seen.path,
        FileType.FILE,
        mode,
        Digest(digest),
        size,
        occurrences=found.occurrences,
        identity=found.identity,
        hardlink=seen.hardlink if seen.hardlink != seen.path else "",
    )


def _canonicalise(context: Context, look: Look) -> tuple[str, ...]:
    """Give the live files the spelling that a restore gives them."""
    from opambin.relocate import analysis, engine

    touched: list[str] = []
    links: dict[str, list[str]] = {}
    for seen in look.seen:
        if seen.hardlink not in ("", seen.path):
            links.setdefault(seen.hardlink, []).append(seen.path)
    for seen in look.seen:
        full = Path(f"{context.prefix}/{seen.path}")
        if seen.analysis is not None:
            if seen.hardlink in ("", seen.path):
                others = [Path(f"{context.prefix}/{path}") for path in links.get(seen.path, ())]
                if engine.canonicalise(full, seen.analysis, context.spelling, others):
                    touched += [seen.path, *links.get(seen.path, ())]
        elif seen.target:
            _respell_link(full, context.live_text(seen.target))
    for edit, new in look.edits:
        found = analysis.analyse(new, context.spelling, edit.path)
        if engine.canonicalise(Path(f"{context.prefix}/{edit.path}"), found, context.spelling):
            touched.append(edit.path)
    return tuple(touched)


def _respell_link(path: Path, target: str) -> None:
    if os.readlink(path) != target:  # noqa: PTH115 - the exact text
        temporary = path.with_name(f".{path.name}.opam-bin")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target)
        temporary.replace(path)


def _manifest(
    context: Context,
    build: Build,
    look: Look,
    stored: tuple[list[FileEntry], tuple[ExtraFile, ...], str | None, str | None],
    neighbours: Mapping[PackageName, InstalledPackage],
) -> Manifest:
    entries, extra, config, install = stored
    edits = tuple(edit for edit, _ in look.edits)
    bound = tuple(look.bound)
    stuck = any(item.max_prefix is None for item in bound)
    if build.key is None:
        raise MisuseError(f"{build.package} has no key")
    return Manifest(
        key=build.key,
        output=output_id(entries, edits, config, install),
        package=build.package,
        opam=build.opam,
        inputs=build.inputs,
        files=tuple(entries),
        edits=edits,
        config=config,
        install=install,
        extra_files=extra,
        provides=tuple(sorted(look.provides)),
        imports=imports(context, build.package.name, look.needed, build.reads, neighbours),
        bound=bound,
        prefix=context.prefix if stuck else "",
        build=build.record,
    )


def _meta_text(context: Context, look: Look, folder: str, name: str) -> str | None:
    """Read one of the files that opam keeps for a package, in placeholder form.

    A ``.config`` may have been written by a program that the build told the padded spelling; what opam
    has on record gets the true one, as after a restore.
    """
    path = context.switch.meta / folder / name
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    from opambin.relocate import analysis, engine

    found = analysis.analyse(data, context.spelling, name)
    look.bound += found.bound
    look.see_other_forms(data, name)
    engine.canonicalise(path, found, context.spelling)
    return (data if found.content is None else found.content).decode("utf-8", "surrogateescape")


def build_record(
    context: Context,
    *,
    started: float | None,
    source_bytes: int,
    opam_version: str = "",
    adopted: bool = False,
) -> BuildRecord:
    """Describe how a build that ends now came to be."""
    from opambin.relocate.spelling import LONGEST_PADDED

    now = time.time()
    return BuildRecord(
        seconds=round(max(0.0, now - started), 3) if started is not None else 0.0,
        built_at=int(now),
        prefix_length=len(context.spelling.canonical),
        padded=not adopted and len(context.spelling.canonical) <= LONGEST_PADDED,
        adopted=adopted,
        opam_version=opam_version,
        source_bytes=source_bytes,
    )
