"""What keys that are online sign, with every change: snapshot, timestamp, index, and the site's list."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from opambin.publish.catalogue import NAME as CATALOGUE
from opambin.publish.catalogue import Catalogue
from opambin.publish.indexfile import write_index
from opambin.publish.signed.contents import target_of
from opambin.publish.signed.metafolder import render
from opambin.publish.signed.profile import FOLDER, INDEX, SITE, SPEC_VERSION, TopRole, expiry
from opambin.publish.signed.roots import lifetime
from opambin.publish.signed.signatures import sign

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from securesystemslib.signer import CryptoSigner
    from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp

    from opambin.publish.signed.contents import Contents
    from opambin.publish.signed.metafolder import MetadataFolder


@dataclass(frozen=True, slots=True)
class Current:
    """What is in force in a repository."""

    root: Metadata[Root]
    targets: Metadata[Targets] | None
    site: Metadata[Targets] | None
    snapshot: Metadata[Snapshot] | None
    timestamp: Metadata[Timestamp] | None


@dataclass(frozen=True, slots=True)
class Pen:
    """Who signs, by which root, and when."""

    root: Root
    signers: Sequence[CryptoSigner]
    now: datetime


@dataclass(frozen=True, slots=True)
class Lists:
    """The lists of files that come from others than the keys that are online.

    Attributes:
        targets: Of the owner.
        theirs: Of other publishers, by their name.
        offered: The bytes of those that are new.
    """

    targets: Metadata[Targets]
    theirs: Mapping[str, Metadata[Targets]]
    offered: Mapping[str, bytes]


class Online:
    """Makes the files of one signing.

    Args:
        folder: Where the former ones are.
        current: What is in force.
        contents: What lies in the repository.
        pen: Signs.
    """

    def __init__(self, folder: MetadataFolder, current: Current, contents: Contents, pen: Pen) -> None:
        self.folder, self.current, self.contents, self.pen = folder, current, contents, pen

    def make(self, lists: Lists) -> tuple[dict[str, bytes], Timestamp]:
        """Return every file that is to be written, by path, in order; and the timestamp.

        The snapshot names the site's list by its version alone: that list names the index, and the index
        holds the snapshot.

        Raises:
            MisuseError: A key is missing.
        """
        lists_bytes = {"targets": self._bytes_of_targets(lists)} | {
            name: self._bytes_of_publisher(lists, name) for name in lists.theirs
        }
        site_version = next_version(self.current.site)
        snapshot = self._snapshot(lists, lists_bytes, site_version)
        timestamp = self._timestamp(snapshot)
        inside = {f"{name}.json": data for name, data in lists_bytes.items()}
        inside |= {"snapshot.json": render(snapshot), "timestamp.json": render(timestamp)}
        index = self._index(inside)
        catalogue = self._catalogue(index)
        site = self._site(lists.targets.signed, {INDEX: index, **catalogue}, site_version)
        new = {
            f"{lists.theirs[name].signed.version}.{name}.json": data for name, data in lists.offered.items()
        }
        if lists.targets is not self.current.targets:
            new[f"{lists.targets.signed.version}.targets.json"] = lists_bytes["targets"]
        new[f"{site_version}.{SITE}.json"] = render(site)
        new[f"{snapshot.signed.version}.snapshot.json"] = inside["snapshot.json"]
        files = {f"{FOLDER}/{name}": data for name, data in new.items()} | {INDEX: index, **catalogue}
        return files | {f"{FOLDER}/timestamp.json": inside["timestamp.json"]}, timestamp.signed

    def _bytes_of_targets(self, lists: Lists) -> bytes:
        if lists.targets is self.current.targets:
            return self.folder.bytes_of(f"{lists.targets.signed.version}.targets.json")
        return render(lists.targets)

    def _bytes_of_publisher(self, lists: Lists, name: str) -> bytes:
        if name in lists.offered:
            return lists.offered[name]
        return self.folder.bytes_of(f"{lists.theirs[name].signed.version}.{name}.json")

    def _snapshot(self, lists: Lists, data: Mapping[str, bytes], site_version: int) -> Metadata[Snapshot]:
        """Sign the versions of all lists. One that was named once is named for ever: the clients insist."""
        from tuf.api.metadata import Metadata, MetaFile, Snapshot

        before = self.current.snapshot
        meta = dict(before.signed.meta) if before is not None else {}
        for name, metadata in {"targets": lists.targets, **lists.theirs}.items():
            meta[f"{name}.json"] = _meta_file(metadata.signed.version, data[name])
        meta[f"{SITE}.json"] = MetaFile(site_version)
        expires = expiry(self.pen.now, lifetime(self.pen.root, TopRole.SNAPSHOT))
        found = Metadata(Snapshot(next_version(before), SPEC_VERSION, expires, meta))
        sign(found, self.pen.root, TopRole.SNAPSHOT, self.pen.signers)
        return found

    def _timestamp(self, snapshot: Metadata[Snapshot]) -> Metadata[Timestamp]:
        from tuf.api.metadata import Metadata, Timestamp

        named = _meta_file(snapshot.signed.version, render(snapshot))
        expires = expiry(self.pen.now, lifetime(self.pen.root, TopRole.TIMESTAMP))
        found = Metadata(Timestamp(next_version(self.current.timestamp), SPEC_VERSION, expires, named))
        sign(found, self.pen.root, TopRole.TIMESTAMP, self.pen.signers)
        return found

    def _index(self, inside: Mapping[str, bytes]) -> bytes:
        roots = {
            f"{version}.root.json": self.folder.bytes_of(f"{version}.root.json")
            for version in self.folder.versions(TopRole.ROOT)
        }
        metadata = {f"{FOLDER}/{name}": data for name, data in {**roots, **inside}.items()}
        return write_index(self.contents.indexed | metadata)

    def _catalogue(self, index: bytes) -> dict[str, bytes]:
        """Return the catalogue, which has to name the index; nothing where there is none."""
        if self.contents.catalogue is None:
            return {}
        found = Catalogue.parse(self.contents.catalogue)
        return {CATALOGUE: replace(found, index_sha256=hashlib.sha256(index).hexdigest()).render()}

    def _site(self, targets: Targets, made: Mapping[str, bytes], version: int) -> Metadata[Targets]:
        from tuf.api.metadata import Metadata, Targets

        files = self.contents.site | {path: target_of(path, data) for path, data in made.items()}
        expires = expiry(self.pen.now, lifetime(self.pen.root, TopRole.SNAPSHOT))
        found = Metadata(Targets(version, SPEC_VERSION, expires, files))
        sign(found, targets, SITE, self.pen.signers)
        return found


def next_version(found: Metadata[Any] | None) -> int:
    """Return the version that follows."""
    return 1 if found is None else int(found.signed.version) + 1


def _meta_file(version: int, data: bytes) -> MetaFile:
    from tuf.api.metadata import MetaFile

    return MetaFile(version, len(data), {"sha256": hashlib.sha256(data).hexdigest()})
