"""After a build: what was installed becomes a snapshot, and the live files get their true spelling.

Order, because a failure must never leave a switch in between: look at everything, write the objects,
give the live files the canonical spelling, then publish the manifest. The live files are made canonical
even when no snapshot can be stored, since packages above must be built against what a restore would give.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from opambin.errors import BadDataError, MisuseError, UnavailableError
from opambin.model import (
    Bound,
    BuildRecord,
    Digest,
    Edit,
    ExtraFile,
    FileEntry,
    FileType,
    Import,
    Manifest,
    OutputId,
    PackageName,
    Symbol,
)
from opambin.provided import file_md5, file_symbols, providers, variable
from opambin.relocate import analysis, engine
from opambin.relocate.dynamic import needed_libraries

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opambin.context import Context
    from opambin.filelist import FileList
    from opambin.model import ConeKey, Package
    from opambin.opam.prefixindex import PrefixIndex
    from opambin.provided import InstalledPackage
    from opambin.relocate.analysis import Analysis


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


@dataclass(slots=True)
class _Seen:
    """A path, looked at but not yet written anywhere."""

    path: str
    status: os.stat_result
    analysis: Analysis | None = None
    target: str = ""
    hardlink: str = ""


@dataclass(slots=True)
class _Look:
    """Everything that was found out about the files of a package."""

    seen: list[_Seen] = field(default_factory=list)
    edits: list[tuple[Edit, bytes]] = field(default_factory=list)
    bound: list[Bound] = field(default_factory=list)
    provides: set[Symbol] = field(default_factory=set)
    imports: set[Symbol] = field(default_factory=set)
    problem: str = ""


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
    look = _look(context, build, files, before)
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
    look: _Look,
    neighbours: Mapping[PackageName, InstalledPackage],
    problem: str,
) -> Captured:
    entries, extra, problem = _store(context, build, look, problem)
    touched = _canonicalise(context, look)
    if problem or build.key is None:
        return Captured(None, problem, touched, frozenset(look.provides))
    manifest = _manifest(context, build, look, (entries, extra), neighbours)
    try:
        context.need_store().add(manifest)
    except UnavailableError as error:
        return Captured(None, str(error), touched, frozenset(look.provides))
    return Captured(manifest, "", touched, frozenset(look.provides))


def _look(context: Context, build: Build, files: FileList, before: PrefixIndex | None) -> _Look:
    """Read and analyse every path; nothing is written."""
    look = _Look()
    links: dict[tuple[int, int], str] = {}
    for path in files.added:
        seen = _Seen(path, os.lstat(f"{context.prefix}/{path}"))
        mode = seen.status.st_mode
        if stat.S_ISLNK(mode):
            target = os.readlink(f"{context.prefix}/{path}")  # noqa: PTH115 - the exact text, slashes and all
            seen.target = context.placeholder_text(target)
        elif stat.S_ISREG(mode):
            if mode & (stat.S_ISUID | stat.S_ISGID):
                look.problem = look.problem or f"{path} is setuid or setgid"
            if seen.status.st_nlink > 1:
                seen.hardlink = links.setdefault((seen.status.st_dev, seen.status.st_ino), path)
            _look_at_file(context, build, look, seen)
        elif not stat.S_ISDIR(mode):
            look.problem = look.problem or f"{path} is neither file, folder nor symlink"
        look.seen.append(seen)
    for path in files.edited:
        _look_at_edit(context, look, path, before)
    return look


def _look_at_file(context: Context, build: Build, look: _Look, seen: _Seen) -> None:
    data = Path(f"{context.prefix}/{seen.path}").read_bytes()
    seen.analysis = analysis.analyse(data, context.spelling, seen.path, keep_length=build.keep_length)
    look.bound += seen.analysis.bound
    try:
        provided, imported = file_symbols(context.switch.prefix, seen.path, data)
    except BadDataError as error:
        look.problem = look.problem or str(error)
        return
    look.provides |= provided
    look.imports |= imported
    look.imports |= {Symbol("so", name) for name in needed_libraries(data)}


def _look_at_edit(context: Context, look: _Look, path: str, before: PrefixIndex | None) -> None:
    """See which lines were added to a file of another package."""
    old = before.contents.get(path) if before is not None else None
    if old is None:
        look.problem = look.problem or f"it changed {path}, which belongs to another package"
        return
    new = Path(f"{context.prefix}/{path}").read_bytes()
    added = added_lines(old, new)
    if added is None:
        look.problem = look.problem or f"it changed {path} in another way than adding lines"
        return
    lines = tuple(context.placeholder_text(line.decode("utf-8", "surrogateescape")) for line in added)
    look.edits.append((Edit(path, lines), new))


def added_lines(old: bytes, new: bytes) -> list[bytes] | None:
    """Return the lines that ``new`` has beyond ``old``; None when it also lost or reordered some."""
    rest = iter(old.splitlines())
    expected = next(rest, None)
    added = []
    for line in new.splitlines():
        if line == expected:
            expected = next(rest, None)
        else:
            added.append(line)
    return added if expected is None else None


def _store(
    context: Context, build: Build, look: _Look, problem: str
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


def _entry(context: Context, seen: _Seen) -> FileEntry:
    mode = stat.S_IMODE(seen.status.st_mode)
    if stat.S_ISLNK(seen.status.st_mode):
        return FileEntry(seen.path, FileType.SYMLINK, target=seen.target)
    if seen.analysis is None:
        return FileEntry(seen.path, FileType.DIRECTORY, mode)
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


def _canonicalise(context: Context, look: _Look) -> tuple[str, ...]:
    """Give the live files the spelling that a restore gives them."""
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
                if engine.canonicalise(full, seen.analysis, context.spelling, others).changed:
                    touched += [seen.path, *links.get(seen.path, ())]
        elif seen.target:
            _respell_link(full, context.live_text(seen.target))
    for edit, new in look.edits:
        found = analysis.analyse(new, context.spelling, edit.path)
        if engine.canonicalise(Path(f"{context.prefix}/{edit.path}"), found, context.spelling).changed:
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
    look: _Look,
    stored: tuple[list[FileEntry], tuple[ExtraFile, ...]],
    neighbours: Mapping[PackageName, InstalledPackage],
) -> Manifest:
    entries, extra = stored
    config = _meta_text(context, "config", f"{build.package.name}.config")
    install = _meta_text(context, "install", f"{build.package.name}.install")
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
        imports=_imports(context, build, look, neighbours),
        bound=bound,
        prefix=context.prefix if stuck else "",
        build=build.record,
    )


def _meta_text(context: Context, folder: str, name: str) -> str | None:
    """Read one of the files that opam keeps for a package, in placeholder form.

    A ``.config`` may have been written by a program that the build told the padded spelling; what opam
    has on record gets the true one, as after a restore.
    """
    path = context.switch.meta / folder / name
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    found = analysis.analyse(data, context.spelling, name)
    engine.canonicalise(path, found, context.spelling)
    return (data if found.content is None else found.content).decode("utf-8", "surrogateescape")


def output_id(
    entries: list[FileEntry], edits: tuple[Edit, ...], config: str | None, install: str | None
) -> OutputId:
    """Hash what a build gave: paths, kinds, whether executable, identities, edits, ``.config``, ``.install``.

    Permission bits beyond the executable one depend on the umask of the builder and stay out.
    """
    rows = [
        [
            entry.path,
            str(entry.type),
            bool(entry.mode & 0o111),
            entry.identity or entry.target,
            entry.hardlink,
        ]
        if entry.type is not FileType.DIRECTORY
        else [entry.path, str(entry.type)]
        for entry in sorted(entries, key=lambda entry: entry.path)
    ]
    document = {
        "format": 1,
        "files": rows,
        "edits": sorted([edit.path, *edit.added] for edit in edits),
        "config": config,
        "install": install,
    }
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return OutputId(hashlib.sha256(text.encode("ascii")).hexdigest())


def _imports(
    context: Context, build: Build, look: _Look, neighbours: Mapping[PackageName, InstalledPackage]
) -> tuple[Import, ...]:
    """Work out from whom each imported unit, variable and file came."""
    own = {(symbol.kind, symbol.name) for symbol in look.provides}
    index = providers(neighbours, neighbours)
    wanted: dict[PackageName, set[Symbol]] = {}
    for symbol in look.imports:
        if (symbol.kind, symbol.name) in own:
            continue
        for provider, value in index.get((symbol.kind, symbol.name), ()):
            if value == symbol.value:
                wanted.setdefault(provider, set()).add(symbol)
    for name in sorted(build.reads):
        owner = PackageName(name.rpartition(":")[0])
        if owner in neighbours:
            wanted.setdefault(owner, set()).add(Symbol("var", name, variable(context, name)))
    for path in context.switch.package_config(build.package.name).file_depends:
        wanted.setdefault(build.package.name, set()).add(Symbol("file", path, file_md5(path)))
    return tuple(
        Import(
            provider,
            neighbours[provider].output if provider in neighbours else None,
            tuple(sorted(symbols)),
        )
        for provider, symbols in sorted(wanted.items())
    )


def build_record(
    context: Context,
    *,
    started: float | None,
    source_bytes: int,
    opam_version: str = "",
    adopted: bool = False,
) -> BuildRecord:
    """Describe how a build that ends now came to be."""
    now = time.time()
    return BuildRecord(
        seconds=round(max(0.0, now - started), 3) if started is not None else 0.0,
        built_at=int(now),
        prefix_length=len(context.prefix.encode()),
        padded=not adopted and len(context.spelling.padded) > len(context.spelling.canonical),
        adopted=adopted,
        opam_version=opam_version,
        source_bytes=source_bytes,
    )
