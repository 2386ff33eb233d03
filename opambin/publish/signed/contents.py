"""The files of a published repository, as targets: who signs which, and whether they are what was signed."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from opambin.errors import BadDataError, MisuseError, UnavailableError
from opambin.publish.catalogue import NAME as CATALOGUE
from opambin.publish.places import LOCK
from opambin.publish.signed.profile import (
    CACHE,
    ELSEWHERE,
    FOLDER,
    INDEX,
    archive_digest,
    archives_named,
    is_archive,
    is_indexed,
    is_installed_from,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from tuf.api.metadata import Metadata, TargetFile, Targets

CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Contents:
    """What lies in a repository.

    Attributes:
        own: What ``targets`` signs.
        site: What ``site`` signs, without the index.
        indexed: The content of what belongs into the index.
        tops: Names at the top of the folder that ``site`` signs.
        catalogue: The content of the catalogue; None where there is none.
    """

    own: dict[str, TargetFile]
    site: dict[str, TargetFile]
    indexed: dict[str, bytes]
    tops: tuple[str, ...]
    catalogue: bytes | None


@dataclass(frozen=True, slots=True)
class Pending:
    """What is about to be written to a repository, and is to be signed as if it were there.

    Attributes:
        new: Bytes, or a file with them, by path.
        gone: Paths that will be removed.
    """

    new: Mapping[str, bytes | Path] = field(default_factory=dict)
    gone: Collection[str] = ()

    def over(self, repository: Path) -> Iterator[tuple[str, bytes | Path]]:
        """Yield what every published file will be, but for the metadata and the index."""
        for path, place in files(repository):
            if path not in self.new and path not in self.gone:
                yield path, place
        yield from ((path, it) for path, it in self.new.items() if path != INDEX)


def look_through(
    repository: Path,
    known: Mapping[str, TargetFile],
    publishers: Mapping[str, Metadata[Targets]],
    pending: Pending,
) -> Contents:
    """Look at every file of a repository; what begins with a dot is passed over.

    Args:
        repository: The folder.
        known: What was signed before. An archive of the same length is not hashed again: a wrong one would
            only keep the digest that its name promises, and clients would refuse it. Where archives were
            dropped after an upload, those that a definition still names count as they were signed.
        publishers: What other publishers have signed, by role.
        pending: What is about to be written.

    Raises:
        BadDataError: A file of another publisher is not what that one signed, or an archive is not what its
            name says.
        MisuseError: A symbolic link, or a name that can't be published.
        UnavailableError: Something can't be read.
    """
    theirs = {path: (role, it) for role, md in publishers.items() for path, it in md.signed.targets.items()}
    found: dict[str, TargetFile] = {}
    indexed: dict[str, bytes] = {}
    catalogue: bytes | None = None
    for path, entry in pending.over(repository):
        content = _content(entry) if is_indexed(path) else None
        found[path] = _target(path, entry, content, known.get(path))
        if content is not None:
            indexed[path] = content
        if path == CATALOGUE:
            catalogue = _content(entry)
    if (repository / ELSEWHERE).is_file():
        named = {it for content in indexed.values() for it in archives_named(content)}
        found |= {path: known[path] for path in named & known.keys() - found.keys() - set(pending.gone)}
    problems = [
        f"{path} is not what {role} has signed" if path in found else f"{path}, signed by {role}, is missing"
        for path, (role, signed) in theirs.items()
        if path not in found or not same(found[path], signed)
    ]
    if problems:
        raise BadDataError(repository, "; ".join(problems[:5]))
    for_site = _archives_of_others(indexed, theirs)
    own: dict[str, TargetFile] = {}
    site: dict[str, TargetFile] = {}
    for path, target in found.items():
        if path not in theirs:
            (own if is_installed_from(path) and path not in for_site else site)[path] = target
    tops = tuple(sorted({path.split("/")[0] for path in site}))
    return Contents(own, site, indexed, tops, catalogue)


def same(left: TargetFile, right: TargetFile) -> bool:
    """Say whether two descriptions are of the same bytes."""
    return left.length == right.length and left.hashes.get("sha256") == right.hashes.get("sha256")


def _archives_of_others(indexed: Mapping[str, bytes], theirs: Mapping[str, object]) -> set[str]:
    """Return the archives that other publishers' opam files name, and none of ours."""
    named: dict[bool, set[str]] = {True: set(), False: set()}
    for path, content in indexed.items():
        named[path in theirs] |= archives_named(content)
    return named[True] - named[False]


def files(repository: Path) -> Iterator[tuple[str, Path]]:
    """Yield path and place of every file that is published, but for the metadata and the index.

    Raises:
        MisuseError: A symbolic link.
        UnavailableError: A folder can't be read.
    """
    for folder, below, names in os.walk(repository, onerror=_stop):
        place = repository / os.path.relpath(folder, repository)
        relative = place.relative_to(repository).as_posix()
        lead = "" if relative == "." else f"{relative}/"
        below[:] = sorted(
            it for it in below if not it.startswith(".") and f"{lead}{it}" not in {FOLDER, CACHE}
        )
        for name in sorted(names) + [it for it in below if (place / it).is_symlink()]:
            if (place / name).is_symlink():
                raise MisuseError(f"{place / name}: a symbolic link can't be published under a signature")
            if not name.startswith(".") and f"{lead}{name}" not in {INDEX, LOCK}:
                yield f"{lead}{name}", place / name


def target_of(path: str, data: bytes) -> TargetFile:
    """Return what metadata says of some bytes."""
    from tuf.api.metadata import TargetFile

    return TargetFile(len(data), {"sha256": hashlib.sha256(data).hexdigest()}, path)


def _target(path: str, place: Path | bytes, content: bytes | None, before: TargetFile | None) -> TargetFile:
    from tuf.api.metadata import TargetFile

    if content is not None or isinstance(place, bytes):
        return target_of(path, place if isinstance(place, bytes) else content or b"")
    length = place.stat().st_size
    if is_archive(path) and before is not None and before.length == length:
        return TargetFile(length, dict(before.hashes), path)
    digest = digest_of(place)
    if archive_digest(path) not in {None, digest}:
        raise BadDataError(place, "not what its name says", expected=archive_digest(path), observed=digest)
    return TargetFile(length, {"sha256": digest}, path)


def digest_of(place: Path) -> str:
    """Return the sha256 of a file.

    Raises:
        UnavailableError: It can't be read.
    """
    try:
        with place.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UnavailableError(f"{place}: {error.strerror}") from error


def _content(place: Path | bytes) -> bytes:
    if isinstance(place, bytes):
        return place
    try:
        return place.read_bytes()
    except OSError as error:
        raise UnavailableError(f"{place}: {error.strerror}") from error


def _stop(error: OSError) -> None:
    raise UnavailableError(f"{error.filename}: {error.strerror}") from error
