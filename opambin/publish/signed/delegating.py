"""Delegations: packages that other publishers sign for, and what the keys that are online sign; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from opambin.errors import MisuseError
from opambin.publish.signed.keys import threshold_problem
from opambin.publish.signed.profile import (
    DAYS_FIELD,
    LIFETIMES,
    SITE,
    TopRole,
    check_publisher,
    package_names,
    package_patterns,
    site_patterns,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from securesystemslib.signer import Key
    from tuf.api.metadata import DelegatedRole, Delegations, Root


@dataclass(frozen=True, slots=True)
class Delegation:
    """Packages for which another publisher signs.

    Attributes:
        publisher: Its name.
        names: Of the packages; added to those that it has.
        keys: Its public keys; empty: those that it has stay.
        threshold: How many of them must sign.
    """

    publisher: str
    names: tuple[str, ...]
    keys: tuple[Key, ...] = ()
    threshold: int = 1


def publishers(found: Delegations | None) -> list[str]:
    """Name the other publishers."""
    return [] if found is None else [name for name in found.roles or {} if name != SITE]


def delegated_names(found: Delegations | None) -> dict[str, list[str]]:
    """Return the packages of each other publisher."""
    roles = {} if found is None else found.roles or {}
    return {name: package_names(roles[name].paths or []) for name in publishers(found)}


def delegations(
    before: Delegations | None,
    root: Root,
    tops: Iterable[str],
    changes: tuple[Sequence[Delegation], Sequence[str]] = ((), ()),
) -> Delegations:
    """Return the delegations that ``targets`` is to have.

    Args:
        before: Those that it has.
        root: Names the keys that sign for ``site``: those of the snapshot.
        tops: Names at the top of the repository that ``site`` signs.
        changes: Delegations to add or alter, and publishers to drop.

    Raises:
        MisuseError: Two publishers for one package, no keys, a threshold that can't be reached.
    """
    from tuf.api.metadata import Delegations

    add, drop = changes
    roles = {name: before.roles[name] for name in publishers(before)} if before and before.roles else {}
    keys = dict(before.keys) if before else {}
    for name in drop:
        if name not in roles:
            raise MisuseError(f"nothing is delegated to {name!r:.80}")
        del roles[name]
    for wish in add:
        check_publisher(wish.publisher)
        roles[wish.publisher] = _role(wish, roles.get(wish.publisher))
        keys |= {key.keyid: key for key in wish.keys}
    _check_apart(roles)
    roles[SITE] = _site(root, tops)
    keys |= {it: root.keys[it] for it in roles[SITE].keyids}
    used = {it for role in roles.values() for it in role.keyids}
    return Delegations({it: key for it, key in keys.items() if it in used}, roles)


def _role(wish: Delegation, before: DelegatedRole | None) -> DelegatedRole:
    from tuf.api.metadata import DelegatedRole

    names = {*wish.names, *(package_names(before.paths or []) if before else ())}
    patterns = package_patterns(names)
    ids = [key.keyid for key in wish.keys] or (list(before.keyids) if before else [])
    threshold = wish.threshold if wish.keys or before is None else before.threshold
    if not 1 <= threshold <= len(set(ids)):
        problem = threshold_problem(threshold, len(set(ids)))
        raise MisuseError(f"{wish.publisher}: {problem}; give its keys with --key")
    if not names:
        raise MisuseError(f"{wish.publisher}: name the packages")
    return DelegatedRole(wish.publisher, ids, threshold, True, patterns)


def _site(root: Root, tops: Iterable[str]) -> DelegatedRole:
    from tuf.api.metadata import DelegatedRole

    online = root.roles[TopRole.SNAPSHOT]
    days = online.unrecognized_fields.get(DAYS_FIELD, LIFETIMES[SITE])
    return DelegatedRole(
        SITE, list(online.keyids), online.threshold, True, site_patterns(tops), None, {DAYS_FIELD: days}
    )


def _check_apart(roles: dict[str, DelegatedRole]) -> None:
    owner: dict[str, str] = {}
    for publisher, role in roles.items():
        for name in package_names(role.paths or []):
            if owner.setdefault(name, publisher) != publisher:
                raise MisuseError(f"package {name} is delegated to {owner[name]}; take it from there first")
