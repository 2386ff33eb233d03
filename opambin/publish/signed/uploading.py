"""A signed folder, copied to where it is served from: an object store, a web server, another machine.

Rules:

* What is copied is what was signed, every file of it; a folder that has changed since is not copied.
* The order is TUF's: archives, then the metadata that has versions in its names (roots, lists, snapshot),
  pages and definitions, the index, the catalogue, and last the timestamp, which makes all of it count.
* What is there is known from the metadata that is there, which our keys have signed; nothing else is read
  back. What is not listed any more is removed at the end.
* Somebody else's repository is not written over, and neither is a state that is newer than ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from opambin.errors import BadDataError, MisuseError, UnavailableError
from opambin.publish.catalogue import NAME as CATALOGUE
from opambin.publish.signed.contents import digest_of, same
from opambin.publish.signed.metafolder import KEPT, MetadataFolder
from opambin.publish.signed.profile import (
    ARCHIVES,
    ELSEWHERE,
    FOLDER,
    INDEX,
    TopRole,
    is_archive,
)
from opambin.publish.signed.served import TIMESTAMP, State, in_force, state_at
from opambin.replacing import replace_file

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from opambin.publish.places import Place

NEWEST_ROOT = f"{FOLDER}/root.json"
_LAST = (INDEX, CATALOGUE)


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What was done.

    Attributes:
        files: How many were copied.
        size: Their bytes.
        removed: How many files were removed.
        timestamp: The version that is there now.
        expires: When it ends to be valid.
        changed: Whether it was another before.
    """

    files: int
    size: int
    removed: int
    timestamp: int
    expires: datetime
    changed: bool = True


def upload(
    repository: Path, place: Place, now: datetime, *, dry_run: bool = False, drop: bool = False
) -> Uploaded:
    """Bring a place up to what a folder holds.

    Args:
        repository: The folder; it is signed, and nobody writes to it meanwhile.
        place: Where to.
        now: The time.
        dry_run: Whether nothing is written.
        drop: Whether archives, once they are there, are removed from the folder.

    Raises:
        MisuseError: The signatures have expired, or the place holds something else, or something newer.
        BadDataError: The folder is not what was signed.
        UnavailableError: The place can't be reached or written, or somebody else is writing to it.
    """
    folder = MetadataFolder(repository)
    ours, expires = in_force(folder, now)
    there = state_at(folder, place)
    if there.timestamp == ours.timestamp:
        done = Uploaded(0, 0, 0, ours.version, expires, changed=False)
    elif dry_run:
        return _Upload(repository, place, ours, there).done(expires)
    else:
        with place.lock():
            # as it is now that others are kept out
            found = _Upload(repository, place, ours, state_at(folder, place))
            place.write(found.steps(), found.gone())
        done = found.done(expires)
    if drop and not dry_run:
        _drop_archives(repository, ours, place.shown)
    return done


def _drop_archives(repository: Path, uploaded: State, where: str) -> None:
    """Remove the archives that were uploaded; the mark comes first, so that signing goes on without them."""
    replace_file(repository / ELSEWHERE, f"{where}\n".encode("utf-8", "surrogateescape"))
    try:
        for path in filter(is_archive, uploaded.files):
            (repository / path).unlink(missing_ok=True)
        for folder in (repository / ARCHIVES).glob("*"):
            if not any(folder.iterdir()):
                folder.rmdir()
    except OSError as error:
        raise UnavailableError(f"archives in {repository} can't be removed: {error.strerror}") from error


class _Upload:
    """One upload."""

    def __init__(self, repository: Path, place: Place, ours: State, there: State) -> None:
        self._repository, self._place, self._ours, self._there = repository, place, ours, there
        self._folder = MetadataFolder(repository)
        if there.version >= ours.version:
            raise MisuseError(
                f"{place.shown} holds timestamp {there.version}, and {repository} is at {ours.version}: "
                "somebody has uploaded another folder; go on from that one"
            )
        wanted, known = (
            {path: it for path, it in state.files.items() if place.has_tree or not _in_tree(path)}
            for state in (ours, there)
        )
        self._new = {
            path: repository / path
            for path in sorted(wanted)
            if path not in known or not same(known[path], wanted[path])
        }
        self._unlisted = sorted(known.keys() - wanted.keys())
        self._check_dropped()
        for path, source in self._new.items():
            if digest_of(source) != ours.files[path].hashes.get("sha256"):
                raise BadDataError(source, "not what was signed; opam-bin tuf sign signs what has changed")

    def _check_dropped(self) -> None:
        mark = self._repository / ELSEWHERE
        lost = [it for path, it in self._new.items() if is_archive(path) and not it.exists()]
        if lost and mark.is_file():
            where = mark.read_text("utf-8", "surrogateescape").strip()
            raise MisuseError(
                f"{lost[0]} was dropped after an upload to {where}: it can't go to {self._place.shown}"
            )

    def steps(self) -> list[dict[str, bytes | Path]]:
        """Return what is to be written, in this order."""
        archives: dict[str, bytes | Path] = {}
        rest: dict[str, bytes | Path] = {}
        for path, source in self._new.items():
            if path not in _LAST:
                (archives if is_archive(path) else rest)[path] = source
        last: list[dict[str, bytes | Path]] = [{it: self._new[it]} for it in _LAST if it in self._new]
        steps = [it for it in (archives, self._versioned(), rest, *last) if it]
        return [*steps, {TIMESTAMP: self._ours.timestamp}]

    def _versioned(self) -> dict[str, bytes | Path]:
        """Return the metadata that has its version in its name, and the copy of the newest root."""
        roots = [f"{version}.root.json" for version in self._folder.versions(TopRole.ROOT)]
        newest = self._folder.bytes_of(roots[-1])
        if self._place.read(NEWEST_ROOT) == newest:
            roots = []
        names = [*roots]
        for role, version in self._ours.metadata.items():
            if self._there.metadata.get(role) != version:
                names.append(f"{version}.{role}.json")
        found: dict[str, bytes | Path] = {f"{FOLDER}/{name}": self._folder.bytes_of(name) for name in names}
        return found | ({NEWEST_ROOT: newest} if roots else {})

    def gone(self) -> list[str]:
        """Return what is to be removed: what is not listed any more, and metadata that no client needs."""
        old = [
            f"{FOLDER}/{version}.{role}.json"
            for role, before in self._there.metadata.items()
            for version in range(max(1, before - KEPT), self._ours.metadata.get(role, before) - KEPT + 1)
        ]
        return self._unlisted + old

    def done(self, expires: datetime) -> Uploaded:
        """Sum up."""
        size = sum(self._ours.files[path].length for path in self._new)
        return Uploaded(len(self._new), size, len(self._unlisted), self._ours.version, expires)


def _in_tree(path: str) -> bool:
    """Say whether opam needs a file only where it reads the folder itself; else it is in the index."""
    return path.startswith("packages/")
