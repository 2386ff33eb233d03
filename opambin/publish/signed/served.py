"""The signed states of a repository: of the folder where it is made, and of the place where it is served.

A state follows from its timestamp: that names the snapshot, the snapshot the lists, and the lists every file.
What is at a place is believed as far as our keys have signed it. Its lists mostly lie in the folder, too, and
are read where they are only when they don't.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from opambin.errors import MisuseError
from opambin.publish.catalogue import NAME as CATALOGUE
from opambin.publish.catalogue import Catalogue
from opambin.publish.pages import files as pagefiles
from opambin.publish.places import check_empty
from opambin.publish.signed.delegating import publishers
from opambin.publish.signed.metafolder import parse
from opambin.publish.signed.profile import FOLDER, SITE, TopRole, moment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from tuf.api.metadata import Metadata, MetaFile, TargetFile, Timestamp

    from opambin.publish.places import Place
    from opambin.publish.signed.metafolder import MetadataFolder

    Reader = Callable[[str, MetaFile], bytes | None]
    """Returns a file of the metadata, as the timestamp or the snapshot describes it; None when it is lost."""

TIMESTAMP = f"{FOLDER}/timestamp.json"


@dataclass(frozen=True, slots=True)
class State:
    """A signed state of a repository.

    Attributes:
        timestamp: The bytes of its timestamp; empty for none.
        version: Of the timestamp.
        metadata: Versions of snapshot and lists.
        files: What is listed, by path.
    """

    timestamp: bytes = b""
    version: int = 0
    metadata: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, TargetFile] = field(default_factory=dict)


def in_force(folder: MetadataFolder, now: datetime) -> tuple[State, datetime]:
    """Return the state of a folder, and when its signatures end.

    Raises:
        MisuseError: It is not signed, or no longer.
        UnavailableError: It has no keys.
    """
    folder.root()  # says how a folder without keys gets some
    timestamp = folder.timestamp()
    if timestamp is None:
        raise MisuseError(f"{folder.path.parent} is not signed yet: opam-bin tuf sign does it")
    if timestamp.signed.is_expired(now):
        raise MisuseError(
            f"the signatures of {folder.path.parent} expired on {moment(timestamp.signed.expires)}: "
            f"opam-bin tuf refresh makes new ones"
        )
    data = folder.bytes_of("timestamp.json")
    found = _state(data, timestamp, lambda name, _: folder.bytes_of(name))
    return found, timestamp.signed.expires


def state_at(folder: MetadataFolder, place: Place) -> State:
    """Return what a place holds, as far as our keys have signed it.

    Raises:
        MisuseError: It holds something else.
    """
    data = place.read(TIMESTAMP)
    if data is None:
        return _unsigned(place)
    timestamp = parse(data, f"{place.shown}/{TIMESTAMP}")
    if not _is_ours(folder, timestamp):
        raise MisuseError(
            f"{place.shown} holds a repository that is signed with other keys; "
            f"name another place, or remove {TIMESTAMP} there if it is to be replaced"
        )

    def read(name: str, named: MetaFile) -> bytes | None:
        """Take the file that lies here where it is the one that is there."""
        for look in (folder.find, lambda it: place.read(f"{FOLDER}/{it}")):
            found = look(name)
            if found is not None and _fits(named, found):
                return found
        return None

    return _state(data, timestamp, read)


def _unsigned(place: Place) -> State:
    """Return what a place holds that has a repository without signatures, or nothing."""
    from tuf.api.metadata import TargetFile

    data = place.read(CATALOGUE)
    if data is None:
        check_empty(place)
        return State()
    builds = Catalogue.parse(data, f"{place.shown}/{CATALOGUE}").builds
    paths = {it.archive.path for it in builds if it.archive is not None} | {it.opam_path for it in builds}
    paths |= pagefiles.parse_state(place.read(pagefiles.STATE)).keys()
    return State(files={path: TargetFile(0, {"sha256": ""}, path) for path in paths})  # to be written anew


def _is_ours(folder: MetadataFolder, timestamp: Metadata[Timestamp]) -> bool:
    """Say whether the keys of one of our roots have signed a timestamp; they may have changed since."""
    roots = (folder.root(version).signed for version in reversed(folder.versions(TopRole.ROOT)))
    return any(
        root.get_verification_result(TopRole.TIMESTAMP, timestamp.signed_bytes, timestamp.signatures)
        for root in roots
    )


def _state(data: bytes, timestamp: Metadata[Timestamp], read: Reader) -> State:
    """Follow a timestamp to the files that it stands for; where a list is lost, none of it is known."""
    snapshot_meta = timestamp.signed.snapshot_meta
    versions = {str(TopRole.SNAPSHOT): snapshot_meta.version}
    files: dict[str, TargetFile] = {}
    snapshot = _parsed(read, "snapshot", snapshot_meta)
    named = {} if snapshot is None else snapshot.signed.meta
    todo = [str(TopRole.TARGETS)]
    for role in todo:
        meta = named.get(f"{role}.json")
        found = None if meta is None else _parsed(read, role, meta)
        if meta is None or found is None:
            continue
        versions[role] = meta.version
        files |= {path: it for path, it in found.signed.targets.items() if path not in files}
        if role == TopRole.TARGETS and found.signed.delegations is not None:
            todo += [*publishers(found.signed.delegations), SITE]
    return State(data, timestamp.signed.version, versions, files)


def _parsed(read: Reader, role: str, named: MetaFile) -> Metadata[Any] | None:
    name = f"{named.version}.{role}.json"
    data = read(name, named)
    return None if data is None else parse(data, name)


def _fits(named: MetaFile, data: bytes) -> bool:
    """Say whether bytes are what is named; of the site's list only the version is."""
    return not named.hashes or named.hashes.get("sha256") == hashlib.sha256(data).hexdigest()
