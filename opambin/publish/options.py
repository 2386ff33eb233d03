"""What a publication is asked to do; frozen values."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Protocol

from opambin.errors import MisuseError
from opambin.publish import archive, catalogue
from opambin.publish.licences import Policy
from opambin.publish.privacy import Identity

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from opambin.model import Manifest
    from opambin.publish.catalogue import Mode
    from opambin.publish.selection import Identity as Snapshot

DEFINITIONS = 1
"""Version of what :mod:`opambin.publish.definition` writes; a higher one lets all be written again."""
_URL = re.compile(r"(?:https?://[^\s/?#\"\\%{}]+|file://)(?:/[^\s/?#\"\\%{}]+)*")
_MAX_URL = 1000


@dataclass(frozen=True, slots=True)
class Asked:
    """Which snapshots are wanted.

    Attributes:
        snapshots: Key and output of those that are; None means the whole store.
        names: ``NAME`` or ``NAME.VERSION`` to pick among them; none means all.
        closure: Whether what was needed only to build is wanted as well.
        only: Globs on ``NAME.VERSION``: what fits them, or stands on what does.
        missing: What was asked for and has no snapshot, with the reason.
    """

    snapshots: frozenset[Snapshot] | None = None
    names: tuple[str, ...] = ()
    closure: bool = False
    only: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether it is clear without opening a snapshot what is wanted."""
        return not (self.names or self.closure or self.only)


class Signed(Protocol):
    """Signs publications to a place that has keys; see :mod:`opambin.publish.tufmeta`."""

    @property
    def others(self) -> frozenset[str]:
        """Names of packages that other publishers sign there; they stay as they are."""

    def sign(self, new: Mapping[str, bytes | Path], gone: Collection[str]) -> Mapping[str, bytes]:
        """Sign what is about to be there.

        Returns:
            The index, the catalogue and the metadata, in the order in which they have to be written, after
            all that is new; the last one makes them count.
        """


@dataclass(frozen=True, slots=True)
class Options:
    """How it is published.

    Attributes:
        mode: How versions are spelled; None: as before, at first alone.
        base_url: Where it will be served; empty: as before, or what the place suggests.
        rebase: Whether another base URL than before is meant.
        merge: Whether what is there and not wanted now stays.
        keep: How many versions of a package are kept; 0: all.
        policy: Which licences allow publication.
        identity: What tells who the publisher is.
        accepted: Globs on ``PACKAGE:PATH`` of files in which anything may stand.
        older: Whether a place that is older than what we last put there is fine.
        dry_run: Whether nothing is written.
        jobs: How many archives are made at once.
        now: Seconds since 1970.
        licence_files: Finds licence files of a package's source, for those that install none.
        tell: Called with a line when something takes a while.
        signed: Signs the publication; None where the place has no keys.
        allow_helper: Whether packages may need opam-bin at their installation.
    """

    mode: Mode | None = None
    base_url: str = ""
    rebase: bool = False
    merge: bool = False
    keep: int = 0
    policy: Policy = field(default_factory=Policy)
    identity: Identity = field(default_factory=Identity)
    accepted: tuple[str, ...] = ()
    older: bool = False
    dry_run: bool = False
    jobs: int = 1
    now: int = 0
    licence_files: Callable[[Manifest], Mapping[str, bytes]] = lambda _: {}
    tell: Callable[[str], None] = lambda _: None
    signed: Signed | None = None
    allow_helper: bool = False

    def rules(self) -> str:
        """Return the sha256 of what decides on the content beside the snapshots."""
        policy = asdict(self.policy)
        versions = [catalogue.FORMAT, archive.FORMAT, DEFINITIONS, self.keep, self.allow_helper]
        text = json.dumps([versions, archive.script(), policy], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def checked_url(url: str) -> str:
    """Return a base URL without slash at its end.

    Raises:
        MisuseError: opam could not fetch archives from it.
    """
    bare = url.rstrip("/")
    if len(bare) > _MAX_URL or not _URL.fullmatch(bare):
        raise MisuseError(
            f"not a base URL that opam can fetch from: {url!r:.200}; "
            "give the one that the repository is served at, such as https://example.org/opam"
        )
    return bare
