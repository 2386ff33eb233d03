"""How a signed repository stands: roles, keys, ends; and what its users have to be told."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from opambin.errors import MisuseError
from opambin.publish.options import checked_url
from opambin.publish.signed.anchors import root_fingerprints
from opambin.publish.signed.delegating import delegated_names, publishers
from opambin.publish.signed.keys import key_name
from opambin.publish.signed.metafolder import MetadataFolder
from opambin.publish.signed.profile import SITE, TopRole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path

    from tuf.api.metadata import Metadata, Root, Targets

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")  # other names opam refuses, or a shell takes apart
VALIDATION = (
    '["opam-bin" "verify-update" "--anchors" anchors "--quorum" quorum "--repo" repo '
    '"--patch" {incremental} patch {incremental} "--dir" {!incremental} dir {!incremental}]'
)
"""For opam's field ``repository-validation-command``."""


@dataclass(frozen=True, slots=True)
class RoleState:
    """A role.

    Attributes:
        role: Its name.
        version: Of what it has signed; 0 for nothing yet.
        threshold: How many keys must sign.
        keys: Names and beginnings of fingerprints.
        expires: When what it signed ends to be valid.
        packages: Those delegated to it, for another publisher.
    """

    role: str
    version: int
    threshold: int
    keys: tuple[str, ...]
    expires: datetime | None
    packages: tuple[str, ...] = ()

    def row(self, moment: Callable[[int], str]) -> list[str]:
        """Return its line in a table."""
        end = moment(int(self.expires.timestamp())) if self.expires is not None else "not signed yet"
        need = f"{self.threshold} of {len(self.keys)}"
        return [self.role, str(self.version), need, end, ", ".join(self.keys)]


@dataclass(frozen=True, slots=True)
class State:
    """All roles, at a time."""

    roles: tuple[RoleState, ...]
    now: datetime

    def ends_within(self, days: int) -> bool:
        """Say whether something has expired, or will soon, or was never signed."""
        end = self.now + timedelta(days=days)
        return any(it.expires is None or it.expires <= end for it in self.roles)

    def told(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "roles": [
                {
                    "role": it.role,
                    "version": it.version,
                    "threshold": it.threshold,
                    "keys": list(it.keys),
                    "expires": int(it.expires.timestamp()) if it.expires is not None else None,
                    "expired": it.expires is not None and it.expires <= self.now,
                    "packages": list(it.packages),
                }
                for it in self.roles
            ]
        }


def look(repository: Path, now: datetime) -> State:
    """Look at the metadata of a repository.

    Raises:
        UnavailableError: It has none.
    """
    folder = MetadataFolder(repository)
    root = folder.root()
    found: dict[str, Metadata[Any] | None] = {
        TopRole.ROOT: root,
        TopRole.TARGETS: folder.targets(),
        TopRole.SNAPSHOT: folder.snapshot(),
        TopRole.TIMESTAMP: folder.timestamp(),
    }
    states = [_state(role, found[role], root.signed) for role in TopRole]
    targets = folder.targets()
    if targets is not None:
        states += _delegated(folder, targets.signed)
    return State(tuple(states), now)


def instructions(repository: Path, url: str | None, name: str, *, partial: bool = False) -> str:
    """Return what users have to do, for the publisher's own page.

    Args:
        repository: The folder that is published.
        url: Where it is served.
        name: What users call it in opam.
        partial: It is a mirror of a part.

    Raises:
        UnavailableError: The repository has no keys.
        MisuseError: opam knows no such names or URLs.
    """
    if not _NAME.fullmatch(name):
        raise MisuseError(f"not a name for a repository: {name!r:.100} (letters, digits, - and _)")
    folder = MetadataFolder(repository)
    data = folder.bytes_of(f"{folder.root().signed.version}.root.json")
    prints, quorum = root_fingerprints(data, str(repository))
    address = checked_url(url) if url else "URL"
    anchors = " ".join(prints)
    flags = " ".join(f"--anchor {it}" for it in prints) + " --partial" * partial
    command = VALIDATION.removesuffix("]") + ' "--partial"' * partial + "]"
    return f"""\
# Once: opam asks opam-bin before it takes an update. Without fingerprints opam never asks.
opam option --global 'repository-validation-command={command}'

# The repository, its quorum, and the fingerprints of its root keys:
opam repository add {name} {address} {quorum} {anchors}
# or, where 'opam init {name} {address}' took it before it could ask:
#   opam repository set-url {name} {address} {quorum} {anchors}

# From time to time (opam does not notice when newer states are held back):
opam-bin verify-repo {address} {flags} --quorum {quorum}
"""


def _state(role: str, metadata: Metadata[Any] | None, root: Root) -> RoleState:
    who = root.roles[role]
    keys = tuple(key_name(root.keys[it]) for it in who.keyids if it in root.keys)
    if metadata is None:
        return RoleState(role, 0, who.threshold, keys, None)
    return RoleState(role, metadata.signed.version, who.threshold, keys, metadata.signed.expires)


def _delegated(folder: MetadataFolder, targets: Targets) -> Iterator[RoleState]:
    delegations = targets.delegations
    if delegations is None or delegations.roles is None:
        return
    names = delegated_names(delegations)
    for name in (*publishers(delegations), SITE):
        role = delegations.roles[name]
        keys = tuple(key_name(delegations.keys[it]) for it in role.keyids if it in delegations.keys)
        theirs = folder.targets(name)
        version, expires = (theirs.signed.version, theirs.signed.expires) if theirs else (0, None)
        yield RoleState(name, version, role.threshold, keys, expires, tuple(names.get(name, ())))
