"""The profile of TUF that published repositories follow: roles, names, paths and lifetimes; pure.

* ``root``, ``targets``, ``snapshot`` and ``timestamp`` are those of the specification;
* ``targets`` signs what opam installs from: ``repo``, ``packages/…``, ``archives/…``;
* ``site``, delegated by ``targets`` to the keys that are online, signs what changes with every signature or
  is made for people: ``index.tar.gz`` (which holds the metadata of the other roles, and so can't be named
  by them), the catalogue, pages. Its paths are named one by one and never reach definitions;
* another publisher has a role of its own, for the names of packages that were delegated to it; terminating.
  The archives that its opam files name by their sha256 are listed by ``site``: a file whose name is its
  digest can be listed by anyone, it is the opam file that says it is wanted.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from opambin.errors import MisuseError

if TYPE_CHECKING:
    from collections.abc import Iterable

FOLDER = "tuf"  # of the metadata, in a published repository
INDEX = "index.tar.gz"
SITE = "site"
CACHE = "cache"  # archives under the names that opam's archive-mirrors have; never signed, never published
ELSEWHERE = (
    ".opam-bin-uploaded"  # marks a folder without the archives that were uploaded from it; says where to
)
ARCHIVES = "archives"
ARCHIVE_PATTERN = "archives/??/*.tar.gz"
PACKAGE_DEPTHS = ("*/*", "*/*/*")  # opam files, and files beside them
SITE_DEPTH = 6  # levels of folders that pages may have
DAYS_FIELD = "x-opam-bin-days"  # lifetime of a role's metadata, for whoever signs next
NAME_FIELD = "x-opam-bin-name"  # a key's name, for people
SPEC_VERSION = "1.0.31"

MAX_ROOT_BYTES = 512_000
MAX_TIMESTAMP_BYTES = 16_384
MAX_SNAPSHOT_BYTES = 2_000_000
MAX_TARGETS_BYTES = 128_000_000  # 10,000 packages take some 6 MB
MAX_ROTATIONS = 256  # roots that a client follows in one go
MAX_DELEGATIONS = 256

_ARCHIVE = re.compile(r"archives/([0-9a-f]{2})/([0-9a-f]{62})\.tar\.gz")
_NAMED = re.compile(rb"archives/[0-9a-f]{2}/[0-9a-f]{62}\.tar\.gz")
_PUBLISHER = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_PACKAGE = re.compile(r"[A-Za-z0-9_+-]+")


class TopRole(StrEnum):
    """The roles that the root names."""

    ROOT = "root"
    TARGETS = "targets"
    SNAPSHOT = "snapshot"
    TIMESTAMP = "timestamp"


LIFETIMES = {"root": 365, "targets": 180, SITE: 14, "snapshot": 14, "timestamp": 7}
"""How long metadata is valid when nothing else is said, in days."""


def is_archive(path: str) -> bool:
    """Say whether a path is that of an archive, which is named by its sha256."""
    return _ARCHIVE.fullmatch(path) is not None


def archive_digest(path: str) -> str | None:
    """Return the sha256 that an archive's path promises; None for another path."""
    found = _ARCHIVE.fullmatch(path)
    return None if found is None else found[1] + found[2]


def is_installed_from(path: str) -> bool:
    """Say whether a path is one that opam installs from, which only ``targets`` and publishers may sign."""
    return path == "repo" or path.startswith(("packages/", "archives/"))


def archives_named(text: bytes) -> set[str]:
    """Return the paths of archives that an opam file names."""
    return {found.decode() for found in _NAMED.findall(text)}


def is_indexed(path: str) -> bool:
    """Say whether a path belongs into ``index.tar.gz``, from which opam takes its definitions."""
    return path == "repo" or path.startswith("packages/")


def package_patterns(names: Iterable[str]) -> list[str]:
    """Return the paths of a delegation of packages.

    Raises:
        MisuseError: One is no name of a package.
    """
    patterns = []
    for name in sorted(set(names)):
        if not _PACKAGE.fullmatch(name):
            raise MisuseError(f"not the name of a package: {name!r:.100}")
        patterns += [f"packages/{name}/{depth}" for depth in PACKAGE_DEPTHS]
    return patterns


def package_names(patterns: Iterable[str]) -> list[str]:
    """Return the packages that the paths of a delegation stand for."""
    return sorted({pattern.split("/")[1] for pattern in patterns if pattern.startswith("packages/")})


def site_patterns(tops: Iterable[str]) -> list[str]:
    """Return the paths of the role ``site``: archives, and what is at the top, but no definitions."""
    reserved = {"repo", "packages", "archives", FOLDER}
    found = [ARCHIVE_PATTERN]
    for top in sorted((set(tops) | {INDEX}) - reserved):
        if any(char in top for char in "*?[]"):
            raise MisuseError(f"a published file may not be called {top!r:.100}")
        found += [top] + ["/".join((top, *["*"] * depth)) for depth in range(1, SITE_DEPTH)]
    return found


def is_role_name(name: str) -> bool:
    """Say whether a delegated role may have a name: it becomes the name of a file."""
    return name == SITE or (_PUBLISHER.fullmatch(name) is not None and name not in {*TopRole})


def check_publisher(publisher: str) -> str:
    """Return the name of another publisher, which is that of its role.

    Raises:
        MisuseError: It can't be one.
    """
    if not is_role_name(publisher) or publisher == SITE:
        raise MisuseError(f"not a name for a publisher: {publisher!r:.100} (letters, digits, - and _)")
    return publisher


def expiry(now: datetime, days: float) -> datetime:
    """Return when what is signed now ends to be valid, to the second."""
    return (now.astimezone(UTC) + timedelta(days=days)).replace(microsecond=0)


def moment(time: datetime) -> str:
    """Write a time for people."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
