"""The folder ``tuf/`` of a published repository, from its publisher's side: what is in force, what is new.

Versions are written under names of their own (``7.targets.json``), and what makes them count, the timestamp,
is written last; so a client that reads meanwhile sees the former state or the new one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from opambin.errors import BadDataError, MisuseError, UnavailableError
from opambin.publish.signed.profile import FOLDER, MAX_TARGETS_BYTES, TopRole
from opambin.replacing import replace_file

if TYPE_CHECKING:
    from pathlib import Path

    from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

KEPT = 8  # former versions of a role that stay, for clients that are in the middle of it
_VERSIONED = re.compile(r"([1-9][0-9]{0,9})\.(.+)\.json")


class MetadataFolder:
    """The metadata of one repository.

    Args:
        repository: The folder that is published.
    """

    def __init__(self, repository: Path) -> None:
        self.path = repository / FOLDER

    def exists(self) -> bool:
        """Say whether the repository is one that is signed."""
        return (self.path / "1.root.json").is_file()

    def root(self, version: int = 0) -> Metadata[Root]:
        """Return a root; the newest, when no version is given.

        Raises:
            UnavailableError: There is none.
            MisuseError: The folder is no repository.
            BadDataError: It can't be read.
        """
        versions = self.versions(TopRole.ROOT)
        if not versions:
            check_parent(self.path.parent)
            raise UnavailableError(
                f"{self.path.parent} has no keys yet: opam-bin tuf init {self.path.parent} gives it some"
            )
        return self._read(f"{version or versions[-1]}.root.json")

    def timestamp(self) -> Metadata[Timestamp] | None:
        """Return the timestamp; None before the first signature."""
        return self._read("timestamp.json") if (self.path / "timestamp.json").is_file() else None

    def snapshot(self) -> Metadata[Snapshot] | None:
        """Return the snapshot that the timestamp names; None before the first signature."""
        timestamp = self.timestamp()
        return (
            None
            if timestamp is None
            else self._read(f"{timestamp.signed.snapshot_meta.version}.snapshot.json")
        )

    def targets(self, role: str = "targets") -> Metadata[Targets] | None:
        """Return what the snapshot names for a role that lists files; None when it names nothing."""
        snapshot = self.snapshot()
        named = None if snapshot is None else snapshot.signed.meta.get(f"{role}.json")
        return None if named is None else self._read(f"{named.version}.{role}.json")

    def versions(self, role: str) -> list[int]:
        """Return the versions of a role that lie here, rising."""
        return self._all().get(role, [])

    def bytes_of(self, name: str) -> bytes:
        """Return the content of a file of the folder.

        Raises:
            UnavailableError: It can't be read.
        """
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise UnavailableError(f"{self.path / name}: {error.strerror}") from error

    def find(self, name: str) -> bytes | None:
        """Return the content of a file of the folder; None when there is none."""
        return self.bytes_of(name) if (self.path / name).is_file() else None

    def write(self, name: str, data: bytes) -> None:
        """Write a file of the folder: all of it, or nothing."""
        self.path.mkdir(exist_ok=True)
        replace_file(self.path / name, data)

    def prune(self) -> None:
        """Remove versions that no client needs any more; roots stay for ever."""
        for role, versions in self._all().items():
            if role != TopRole.ROOT:
                for version in versions[:-KEPT]:
                    (self.path / f"{version}.{role}.json").unlink(missing_ok=True)

    def _all(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        names = [path.name for path in self.path.iterdir()] if self.path.is_dir() else []
        for name in names:
            match = _VERSIONED.fullmatch(name)
            if match:
                found.setdefault(match[2], []).append(int(match[1]))
        return {role: sorted(versions) for role, versions in found.items()}

    def _read(self, name: str) -> Metadata[Any]:
        return parse(self.bytes_of(name), str(self.path / name))


def parse(data: bytes, what: str) -> Metadata[Any]:
    """Read metadata; who signed it is not looked at.

    Raises:
        BadDataError: It is none.
    """
    from tuf.api.metadata import Metadata
    from tuf.api.serialization import DeserializationError

    if len(data) > MAX_TARGETS_BYTES:
        raise BadDataError(
            what, "too large", expected=f"at most {MAX_TARGETS_BYTES} bytes", observed=len(data)
        )
    try:
        return Metadata.from_bytes(data)
    except DeserializationError as error:
        raise BadDataError(what, f"no TUF metadata: {error.__cause__ or error}") from error


def parse_root(data: bytes, what: str) -> Metadata[Root]:
    """Read root metadata, as :func:`parse`.

    Raises:
        BadDataError: It is none.
    """
    found = parse(data, what)
    if found.signed.type != "root":
        raise BadDataError(what, "not the metadata of a root", expected="root", observed=found.signed.type)
    return found


def render(metadata: Metadata[Any]) -> bytes:
    """Return the bytes of a metadata file: one value a line, so that opam's patches stay small."""
    from tuf.api.serialization.json import JSONSerializer

    return metadata.to_bytes(JSONSerializer()) + b"\n"


def check_parent(repository: Path) -> None:
    """Refuse what is no published repository.

    Raises:
        MisuseError: It is none.
    """
    if not repository.is_dir():
        what = "is no folder" if repository.exists() else "does not exist"
        raise MisuseError(f"{repository} {what}: name one that opam-bin publish has made")
    if not (repository / "repo").is_file():
        raise MisuseError(
            f"{repository} is no opam repository (it has no file repo): opam-bin publish makes one"
        )
