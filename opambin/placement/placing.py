"""Putting the trees of snapshots under a prefix, all or nothing.

Two steps, so that every error which can be found is found before the prefix is touched: first every file
is made, with its final bytes, in a staging folder on the same file system; then folders and files are
renamed into the prefix. What was put there is remembered to undo it; for the case that the process is
killed there is the journal of :mod:`opambin.placement.recovery`.
"""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from opambin.errors import BadDataError, UnavailableError
from opambin.foldednames import collision, folds_names
from opambin.frozen import dataclass
from opambin.model import PLACEHOLDER, FileType
from opambin.placement.parallel import in_parallel
from opambin.placement.undoing import is_open, undo
from opambin.relocate import engine

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

    from opambin.model import FileEntry, Manifest
    from opambin.store.store import Store

OPAMS_OWN = ".opam-switch"
STAGING = "opam-bin.staging"
"""Name of the staging folder below ``.opam-switch``; it lives only while a restore runs."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where snapshots go.

    Attributes:
        prefix: Of the switch, without trailing slash.
        link: Whether files may be hard links to objects.
        jobs: How many threads make files.
    """

    prefix: str
    link: engine.LinkMode = engine.LinkMode.COPY
    jobs: int = 2

    @property
    def staging(self) -> Path:
        """The staging folder."""
        return Path(self.prefix, OPAMS_OWN, STAGING)

    @property
    def encoded(self) -> bytes:
        """The prefix as bytes."""
        return os.fsencode(self.prefix)


@dataclass(slots=True)
class Placement:
    """What was put into the prefix for one package.

    Attributes:
        name: The package.
        roots: Paths that can be removed to undo it, relative to the prefix, folders as a whole.
        paths: Every path that is new, folders included, relative to the prefix.
        edited: Path to former content of files of others that were edited.
        times: Path to former times of these files, in nanoseconds: opam compares them.
    """

    name: str
    roots: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    edited: dict[str, bytes] = field(default_factory=dict)
    times: dict[str, tuple[int, int]] = field(default_factory=dict)


def conflicts(prefix: str, manifest: Manifest, leaving: Container[str] = ()) -> str:
    """Return the first path of a snapshot where something else is already; empty when there is none.

    Args:
        prefix: Of the switch.
        manifest: The snapshot.
        leaving: Paths that will be gone when it is placed.
    """
    missing: set[str] = set()
    for entry in manifest.files:
        if entry.path in leaving:
            continue
        if entry.path.rpartition("/")[0] in missing:  # most packages bring the folders of their files
            missing.add(entry.path)
            continue
        try:
            status = os.lstat(f"{prefix}/{entry.path}")
        except FileNotFoundError:
            missing.add(entry.path)
            continue
        except NotADirectoryError:
            return entry.path
        if not (entry.type is FileType.DIRECTORY and stat.S_ISDIR(status.st_mode)):
            return entry.path
    return ""


def stage(store: Store, manifests: Sequence[Manifest], target: Target) -> dict[str, OpambinProblem]:
    """Make every file of the snapshots in the staging folder.

    Args:
        store: Where the objects are.
        manifests: What to make.
        target: For which prefix.

    Returns:
        Package name to what went wrong, for packages that can't be restored; the others are complete.

    Raises:
        UnavailableError: The disk is full or not writable; nothing but the staging folder was touched.
    """
    try:
        return _stage(store, manifests, target)
    except OSError as error:
        raise UnavailableError(f"{target.staging} can't be written: {error.strerror}") from error


def _stage(store: Store, manifests: Sequence[Manifest], target: Target) -> dict[str, OpambinProblem]:
    problems: dict[str, OpambinProblem] = {}
    jobs: list[_Job] = []
    folds = folds_names(Path(target.prefix, OPAMS_OWN))
    for manifest in manifests:
        same = collision(entry.path for entry in manifest.files) if folds else None
        if same:
            problems[manifest.package.name] = OpambinProblem(f"{same[0]} and {same[1]} are one file here")
            continue
        base = f"{target.staging}/{manifest.package.name}"
        _make_folders(base, manifest)
        _check_extra_files(store, manifest, problems)
        jobs += [_Job(manifest, entry, base) for entry in manifest.files if entry.type is FileType.FILE]
    jobs.sort(key=lambda job: -job.entry.size)
    in_parallel(
        target.jobs,
        (job for job in jobs if not job.entry.hardlink),
        lambda job: _make_file(store, job, target, problems),
    )
    for manifest in manifests:
        if manifest.package.name not in problems:
            _make_links(manifest, target)
    return problems


@dataclass(frozen=True, slots=True)
class OpambinProblem:
    """Why a package can't be restored.

    Attributes:
        message: In words.
        bad_data: Whether stored bytes were damaged, which is always reported.
    """

    message: str
    bad_data: bool = False


@dataclass(frozen=True, slots=True)
class _Job:
    manifest: Manifest
    entry: FileEntry
    base: str


def _check_extra_files(store: Store, manifest: Manifest, problems: dict[str, OpambinProblem]) -> None:
    """Find out before anything is placed whether the files of the definition are sound."""
    try:
        for extra in manifest.extra_files:
            store.objects.path(extra.digest, executable=False, size=extra.size)
    except BadDataError as error:
        problems[manifest.package.name] = OpambinProblem(str(error), bad_data=True)


def _make_folders(base: str, manifest: Manifest) -> None:
    made: set[str] = set()
    Path(base).mkdir(parents=True, exist_ok=True)
    for entry in manifest.files:
        folder = entry.path if entry.type is FileType.DIRECTORY else entry.path.rpartition("/")[0]
        if folder and folder not in made:
            os.makedirs(f"{base}/{folder}", exist_ok=True)  # noqa: PTH103 - hundreds of them, on the hot path
            made.add(folder)


def _make_file(store: Store, job: _Job, target: Target, problems: dict[str, OpambinProblem]) -> None:
    from opambin.errors import OpambinError

    name, entry = job.manifest.package.name, job.entry
    if name in problems:
        return
    try:
        if entry.digest is None:
            raise BadDataError(entry.path, "a file without a digest in its manifest")
        source = store.objects.locate(entry.digest, executable=bool(entry.mode & 0o111), size=entry.size)
        engine.place(
            source,
            f"{job.base}/{entry.path}",
            entry.occurrences,
            target.encoded,
            engine.Placing(entry.mode, target.link, replace=False),
        )
    except OpambinError as error:
        problems[name] = OpambinProblem(str(error), isinstance(error, BadDataError))


def _make_links(manifest: Manifest, target: Target) -> None:
    """Make hard links and symlinks, and set the modes of folders, innermost first.

    Their owner may write in all of them: who is not root can't rename others.
    """
    base = f"{target.staging}/{manifest.package.name}"
    for entry in manifest.files:
        if entry.type is FileType.SYMLINK:
            Path(f"{base}/{entry.path}").symlink_to(entry.target.replace(PLACEHOLDER.decode(), target.prefix))
        elif entry.hardlink:
            os.link(f"{base}/{entry.hardlink}", f"{base}/{entry.path}")
    for entry in reversed(manifest.files):
        if entry.type is FileType.DIRECTORY:  # mkdir knows the umask only
            os.chmod(f"{base}/{entry.path}", entry.mode | stat.S_IRWXU)  # noqa: PTH101 - hot path


def commit(manifest: Manifest, target: Target, placement: Placement | None = None) -> Placement:
    """Rename a staged package into the prefix and make its edits.

    Args:
        manifest: The package.
        target: Where it goes.
        placement: Filled while things are placed, so that the caller can undo them whatever happens.

    Raises:
        UnavailableError: Something was in the way; what had been placed is gone again.
    """
    placement = placement or Placement(manifest.package.name)
    try:
        _merge(f"{target.staging}/{manifest.package.name}", target.prefix, "", placement)
        _close_folders(manifest, target.prefix, placement)
        for edit in manifest.edits:
            added = [line.replace(PLACEHOLDER.decode(), target.prefix) for line in edit.added]
            _append(target.prefix, edit.path, added, placement)
    except OSError as error:
        undo(target.prefix, placement)
        raise UnavailableError(f"{target.prefix} can't be written: {error}") from error
    except BaseException:
        undo(target.prefix, placement)
        raise
    return placement


def _merge(staged: str, prefix: str, folder: str, placement: Placement) -> None:
    with os.scandir(f"{staged}/{folder}" if folder else staged) as found:
        items = sorted(found, key=lambda item: item.name)
    for item in items:
        path = f"{folder}/{item.name}" if folder else item.name
        live = f"{prefix}/{path}"
        is_folder = item.is_dir(follow_symlinks=False)
        if is_folder and os.path.isdir(live):  # noqa: PTH112 - hot path
            if os.path.islink(live):  # noqa: PTH114 - hot path
                _refuse_outside(prefix, live)
            _merge(staged, prefix, path, placement)
            continue
        if os.path.lexists(live):
            raise UnavailableError(f"{live} is in the way")
        placement.roots.append(path)
        new = [path, *_below(item.path, path)] if is_folder else [path]
        os.rename(item.path, live)  # noqa: PTH104 - hot path
        placement.paths += new


def _close_folders(manifest: Manifest, prefix: str, placement: Placement) -> None:
    """Give new folders that nobody may write in their mode, innermost first."""
    closed = [
        entry for entry in manifest.files if entry.type is FileType.DIRECTORY and not is_open(entry.mode)
    ]
    if closed:
        new = set(placement.paths)
        for entry in reversed(closed):
            if entry.path in new:
                Path(prefix, entry.path).chmod(entry.mode)


def _refuse_outside(prefix: str, folder: str) -> None:
    """Refuse to write through a link that leaves the prefix or leads to opam's own records.

    One snapshot may bring such a link, and another one files below it.

    Raises:
        UnavailableError: It does.
    """
    top, real = os.path.realpath(prefix), os.path.realpath(folder)
    if not f"{real}/".startswith(f"{top}/") or f"{real}/".startswith(f"{top}/{OPAMS_OWN}/"):
        raise UnavailableError(f"{folder} leads to {real}, outside of what packages may write")


def _below(folder: str, path: str) -> Iterator[str]:
    with os.scandir(folder) as found:
        for item in found:
            inner = f"{path}/{item.name}"
            yield inner
            if item.is_dir(follow_symlinks=False):
                yield from _below(item.path, inner)


def _append(prefix: str, path: str, lines: Iterable[str], placement: Placement) -> None:
    """Add lines to a text file that another package owns, leaving out those which it has already."""
    full = Path(prefix, path)
    _refuse_outside(prefix, str(full.parent))
    old, status = full.read_bytes(), full.stat()
    have = set(old.splitlines())
    new = [encoded for line in lines if (encoded := os.fsencode(line)) not in have]
    if not new:
        return
    start = old if not old or old.endswith(b"\n") else old + b"\n"
    temporary = full.with_name(f".{full.name}.opam-bin")
    temporary.write_bytes(start + b"".join(line + b"\n" for line in new))
    shutil.copymode(full, temporary)
    placement.edited.setdefault(path, old)
    placement.times.setdefault(path, (status.st_atime_ns, status.st_mtime_ns))
    temporary.replace(full)
