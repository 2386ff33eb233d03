"""A copy of a published repository, or of a part, that verifies like the original.

What is copied was verified on the way; files come first, then metadata, and last the timestamp that makes it
count, so that whoever reads meanwhile sees the former copy or the new one. The metadata is the publisher's:
the copy verifies with the same root, but a part only for clients that allow files to be missing, and its
index is one of its own, whose every member is signed. Or the copy gets no metadata, and its owner signs it.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opambin.errors import MisuseError, UnavailableError
from opambin.publish.closure import closure, packages
from opambin.publish.indexfile import write_index
from opambin.publish.signed.anchors import roots
from opambin.publish.signed.checking import check_index
from opambin.publish.signed.memory import Memory
from opambin.publish.signed.profile import (
    CACHE,
    FOLDER,
    INDEX,
    archive_digest,
    archives_named,
    is_indexed,
)
from opambin.publish.signed.refusals import Kind, RefusedError
from opambin.publish.signed.sources import CONNECTIONS
from opambin.publish.signed.verifying import patiently, trust
from opambin.replacing import replace_file

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from tuf.api.metadata import TargetFile

    from opambin.publish.signed.client import Trusted
    from opambin.publish.signed.sources import Source
    from opambin.publish.signed.verifying import Start

LOCK = ".opam-bin-mirror.lock"
ABOUT = ".opam-bin-mirror"  # what the folder is a mirror of
_UNVERSIONED = ("timestamp",)


@dataclass(frozen=True, slots=True)
class Extent:
    """What to copy.

    Attributes:
        closure_of: Packages, with all that they may depend on; empty: everything, pages too.
        metadata: Whether the publisher's metadata is copied.
        partial: The original is itself a copy of a part.
    """

    closure_of: Sequence[str] = ()
    metadata: bool = True
    partial: bool = False


@dataclass(frozen=True, slots=True)
class Mirrored:
    """What was done.

    Attributes:
        packages: How many there are now.
        files: How many files there are now, but for index and metadata.
        fetched: How many of them came over.
        size: The bytes that came over.
        removed: How many files are gone.
        timestamp: The version that was copied.
    """

    packages: int
    files: int
    fetched: int
    size: int
    removed: int
    timestamp: int


def mirror(source: Source, folder: Path, states: Path, start: Start, extent: Extent) -> Mirrored:
    """Bring a copy up to what the original is now.

    What is there already is not fetched again; what was broken off goes on where it was.

    Args:
        source: The original.
        folder: The copy.
        states: Where states of repositories are remembered.
        start: Where trust begins.
        extent: What to copy.

    Raises:
        RefusedError: The original does not verify; the copy is as it was.
        MisuseError: The folder holds something else, or a package is not there.
        UnavailableError: The original can't be reached, or the folder not be written.
    """
    with _mine(folder, source.name), Memory(states, source.name, source.name) as memory:

        def look() -> tuple[Trusted, dict[str, bytes]]:
            trusted = trust(source, memory, start)
            return trusted, check_index(source, trusted, partial=extent.partial)

        trusted, members = patiently(source, look)
        wanted = _wanted(members, trusted, extent)
        fetched = _fetch_all(source, folder, [trusted.files[path] for path in sorted(wanted)])
        kept = {path: data for path, data in members.items() if path in wanted}
        for path, data in kept.items():
            if not _holds(folder / path, trusted.files[path]):
                replace_file(folder / path, data)
        for path in wanted:
            _link(folder, path)
        if extent.metadata:
            _write_metadata(source, folder, memory.folder, trusted, kept)
        removed = _remove_rest(folder, wanted)
    found = packages(kept)
    return Mirrored(
        sum(map(len, found.values())),
        len(wanted),
        len(fetched),
        sum(fetched),
        removed,
        trusted.versions["timestamp"],
    )


def _wanted(members: Mapping[str, bytes], trusted: Trusted, extent: Extent) -> set[str]:
    """Return the paths that are copied; the index is made, and definitions come out of it."""
    if not extent.closure_of:
        if extent.partial:
            named = {it for data in members.values() for it in archives_named(data)}
            return {path for path in trusted.files if path in members or path in named}
        return trusted.files.keys() - {INDEX}
    found = {"repo"}
    folders = {f"packages/{name}/{name}.{version}/" for name, version in closure(members, extent.closure_of)}
    for path, data in members.items():
        if f"{'/'.join(path.split('/')[:3])}/" in folders:
            found.add(path)
            found |= archives_named(data) & trusted.files.keys()
    return found


def _fetch_all(source: Source, folder: Path, targets: Sequence[TargetFile]) -> list[int]:
    """Fetch what is not there, the largest first; return the sizes."""
    missing = [it for it in targets if not is_indexed(it.path) and not _holds(folder / it.path, it)]
    missing.sort(key=lambda it: -it.length)
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return list(pool.map(lambda it: _fetch(source, folder, it), missing))


def _fetch(source: Source, folder: Path, target: TargetFile) -> int:
    """Fetch a file; what was broken off is continued, and begun anew when that gives something else."""
    place = folder / target.path
    # named by path and content: two files of a folder may hold the same, and are fetched at once
    what = hashlib.sha256(f"{target.path}\n{target.hashes['sha256']}".encode()).hexdigest()
    part = place.with_name(f".part-{what}")
    digest = ""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        for resumed in (True, False):
            begun = part.stat().st_size if resumed and part.exists() else 0
            _receive(source, target, part, begun)
            with part.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            if digest == target.hashes["sha256"]:
                part.replace(place)
                return target.length - begun
            part.unlink()
            if not begun:
                break
    except OSError as error:
        raise UnavailableError(f"{place} can't be written: {error.strerror}") from error
    raise RefusedError(
        Kind.TAMPERED, target.path, "not what was signed", expected=target.hashes["sha256"], observed=digest
    )


def _receive(source: Source, target: TargetFile, part: Path, begun: int) -> None:
    if begun == target.length:
        return
    pieces = source.pieces(target.path, begun)
    if pieces is None:
        raise RefusedError(Kind.INCOMPLETE, target.path, "signed, and not there")
    length = begun
    with part.open("ab" if begun else "wb") as stream:
        for piece in pieces:
            length += len(piece)
            if length > target.length:
                part.unlink()
                raise RefusedError(
                    Kind.TAMPERED, target.path, "longer than what was signed", expected=target.length
                )
            stream.write(piece)


def _holds(place: Path, target: TargetFile) -> bool:
    """Say whether a file is there; an archive, put there when it was verified, is not hashed again."""
    try:
        if place.stat().st_size != target.length:
            return False
        if archive_digest(target.path) is not None:
            return True
        return hashlib.sha256(place.read_bytes()).hexdigest() == target.hashes["sha256"]
    except OSError:
        return False


def _link(folder: Path, path: str) -> None:
    """Give an archive the name under which opam looks in its ``archive-mirrors``."""
    digest = archive_digest(path)
    if digest is None:
        return
    place = folder / CACHE / "sha256" / digest[:2] / digest
    if place.exists():
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(folder / path, place)
    except OSError as error:
        raise UnavailableError(f"{place} can't be made: {error.strerror}") from error


def _write_metadata(
    source: Source, folder: Path, state: Path, trusted: Trusted, kept: Mapping[str, bytes]
) -> None:
    """Write the metadata that was verified, and the index; the timestamp last."""
    named = {role: (state / f"{role}.json").read_bytes() for role in trusted.versions if role != "root"}
    all_roots = {f"{number}.root.json": data for number, data in enumerate(roots(source), 1)}
    for name, data in all_roots.items():
        replace_file(folder / FOLDER / name, data)
    for role, data in named.items():
        if role not in _UNVERSIONED:
            replace_file(folder / FOLDER / f"{trusted.versions[role]}.{role}.json", data)
    replace_file(folder / FOLDER / "root.json", all_roots[f"{trusted.versions['root']}.root.json"])
    inside = {f"{FOLDER}/{name}": data for name, data in all_roots.items()}
    inside |= {f"{FOLDER}/{role}.json": data for role, data in named.items() if role != "site"}
    replace_file(folder / INDEX, write_index({**kept, **inside}))
    replace_file(folder / FOLDER / "timestamp.json", named["timestamp"])
    versions = {f"{trusted.versions[role]}.{role}.json" for role in named} | all_roots.keys()
    for place in (folder / FOLDER).glob("*.json"):
        if place.name not in versions | {"timestamp.json", "root.json"}:
            place.unlink()


def _remove_rest(folder: Path, wanted: Collection[str]) -> int:
    """Remove definitions, archives and pages that the copy is no more to have."""
    linked = {_linked(path) for path in wanted if archive_digest(path) is not None}
    gone = 0
    for where, below, names in os.walk(folder, topdown=False):
        place = folder / os.path.relpath(where, folder)
        lead = place.relative_to(folder).as_posix()
        if lead == FOLDER or any(part.startswith(".") for part in lead.split("/") if part != "."):
            continue
        for name in names:
            path = name if lead == "." else f"{lead}/{name}"
            if path not in wanted and path not in linked and path != INDEX and not name.startswith("."):
                (place / name).unlink()
                gone += not path.startswith(f"{CACHE}/")
        if below or names:
            _remove_if_empty(place, folder)
    return gone


def _linked(path: str) -> str:
    digest = archive_digest(path) or ""
    return f"{CACHE}/sha256/{digest[:2]}/{digest}"


def _remove_if_empty(place: Path, folder: Path) -> None:
    if place != folder and not any(place.iterdir()):
        place.rmdir()


@contextmanager
def _mine(folder: Path, name: str) -> Iterator[None]:
    """Keep others out of the copy, and refuse a folder that is something else."""
    from filelock import FileLock, Timeout

    about = folder / ABOUT
    if folder.exists() and not folder.is_dir():
        raise MisuseError(f"{folder} is no folder: name an empty or new one")
    if folder.exists() and any(folder.iterdir()):
        before = about.read_text("utf-8").strip() if about.is_file() else None
        if before is None:
            raise MisuseError(f"{folder} holds something that is no mirror: name an empty or new folder")
        if before != name:
            raise MisuseError(f"{folder} is a mirror of {before}, not of {name}: name another folder")
    replace_file(about, f"{name}\n".encode())
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise UnavailableError(f"{folder} is being written by another program") from error
    try:
        yield
    finally:
        lock.release()
