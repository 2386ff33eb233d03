"""What a client may trust of a repository: python-tuf's client over our sources, and what it vouches for.

The order of checks, and what is remembered from one time to the next, are those of the TUF specification:

* the roots follow each other, each signed by the keys of the one before and by its own; the last has not
  expired;
* timestamp, snapshot and lists are signed by the keys that the root names, have not expired, belong together,
  and are not older than what was seen the last time;
* a publisher's list counts for the packages that were delegated to it, and for nothing else.

Besides: paths stay within the repository, and an archive's digest is the one in its name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opambin.errors import UnavailableError
from opambin.publish.signed.metafolder import parse
from opambin.publish.signed.profile import (
    FOLDER,
    MAX_DELEGATIONS,
    MAX_ROOT_BYTES,
    MAX_ROTATIONS,
    MAX_SNAPSHOT_BYTES,
    MAX_TARGETS_BYTES,
    MAX_TIMESTAMP_BYTES,
    archive_digest,
    is_role_name,
)
from opambin.publish.signed.refusals import Kind, RefusedError, translated

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from tuf.api.metadata import Metadata, TargetFile
    from tuf.ngclient import Updater
    from tuf.ngclient.fetcher import FetcherInterface

    from opambin.publish.signed.sources import Source

_PART = re.compile(r"[A-Za-z0-9_+~@%=,-][A-Za-z0-9._+~@%=,-]*")


@dataclass(frozen=True, slots=True)
class Trusted:
    """What a repository holds, on its keys' word.

    Attributes:
        files: Length and digests, by path.
        signers: The role that signed for it, by path.
        versions: Of the metadata, by role.
        expires: When each role's metadata ends to be valid.
    """

    files: Mapping[str, TargetFile]
    signers: Mapping[str, str]
    versions: Mapping[str, int]
    expires: Mapping[str, datetime]


def refresh(
    source: Source, state: Path, bootstrap: bytes | None, *, without: Collection[str] = ()
) -> Trusted:
    """Bring the state of a repository up to what it serves now.

    Args:
        source: The repository.
        state: The folder with what is remembered of it; nobody else uses it meanwhile.
        bootstrap: A root to begin with; None: the one that is remembered.
        without: Roles whose lists are not wanted.

    Raises:
        RefusedError: It does not verify. What is remembered is none the worse.
        UnavailableError: It can't be reached.
    """
    from securesystemslib.exceptions import Error as SecureSystemsError
    from tuf.api.exceptions import DownloadError, RepositoryError
    from tuf.ngclient import Updater, UpdaterConfig

    config = UpdaterConfig(
        max_root_rotations=MAX_ROTATIONS,
        max_delegations=MAX_DELEGATIONS,
        root_max_length=MAX_ROOT_BYTES,
        timestamp_max_length=MAX_TIMESTAMP_BYTES,
        snapshot_max_length=MAX_SNAPSHOT_BYTES,
        targets_max_length=MAX_TARGETS_BYTES,
        prefix_targets_with_hash=False,  # opam asks for files by their plain names
    )
    try:
        updater = Updater(
            str(state), f"{FOLDER}/", fetcher=_fetcher(source), config=config, bootstrap=bootstrap
        )
        updater.refresh()
        return _trusted(updater, state, source.name, without)
    except (RepositoryError, DownloadError, SecureSystemsError, ValueError, KeyError, TypeError) as error:
        raise translated(error, source.name) from error
    except OSError as error:
        raise UnavailableError(f"{state} can't be used: {error.strerror or error}") from error


def _trusted(updater: Updater, state: Path, where: str, without: Collection[str]) -> Trusted:
    lists = dict(_lists(updater, state, where, without))
    files: dict[str, TargetFile] = {}
    signers: dict[str, str] = {}
    for role, metadata in lists.items():
        for path in metadata.signed.targets:
            target = updater.get_targetinfo(path)
            # another role may come first for this path, or this one may have no say in it
            if target is not None and path not in files and metadata.signed.targets[path] == target:
                files[path] = _checked(target, where)
                signers[path] = role
    versions, expires = {}, {}
    for role in ("root", "timestamp", "snapshot", *lists):
        signed = parse((state / f"{role}.json").read_bytes(), role).signed
        versions[role], expires[role] = signed.version, signed.expires
    return Trusted(files, signers, versions, expires)


def _lists(
    updater: Updater, state: Path, where: str, without: Collection[str]
) -> Iterator[tuple[str, Metadata[Any]]]:
    """Yield every list of files that is in force; to ask for a path makes python-tuf verify its list."""
    top = parse((state / "targets.json").read_bytes(), "targets")
    yield "targets", top
    named = parse((state / "snapshot.json").read_bytes(), "snapshot").signed.meta
    delegated = top.signed.delegations.roles if top.signed.delegations is not None else None
    for name, role in (delegated or {}).items():
        if not is_role_name(name):
            raise RefusedError(Kind.DAMAGED, where, f"a role that can't be: {name!r:.100}")
        if f"{name}.json" in named and role.paths and name not in without:
            updater.get_targetinfo(role.paths[0].replace("*", "x").replace("?", "0"))
            yield name, parse((state / f"{name}.json").read_bytes(), name)


def _checked(target: TargetFile, where: str) -> TargetFile:
    """Refuse paths that lead elsewhere, and archives under a wrong name."""
    path = target.path
    if not all(_PART.fullmatch(part) for part in path.split("/")) or path.split("/")[0] == FOLDER:
        raise RefusedError(Kind.DAMAGED, where, f"a path that can't be: {path!r:.200}")
    promised = archive_digest(path)
    if "sha256" not in target.hashes or promised not in {None, target.hashes["sha256"]}:
        raise RefusedError(Kind.TAMPERED, where, f"{path} is signed with another digest than its name says")
    return target


def _fetcher(source: Source) -> FetcherInterface:
    from tuf.api.exceptions import DownloadHTTPError
    from tuf.ngclient.fetcher import FetcherInterface

    class Fetcher(FetcherInterface):
        """Reads from the source what python-tuf asks for; it sees to lengths."""

        def _fetch(self, url: str) -> Iterator[bytes]:
            pieces = source.pieces(url)
            if pieces is None:
                raise DownloadHTTPError(f"there is no {url}", 404)
            return pieces

    return Fetcher()
