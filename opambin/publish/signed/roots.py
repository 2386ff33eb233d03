"""Root metadata: the keys and thresholds of every role, and how one root follows another; pure.

A root counts when enough of *its own* root keys have signed it and, unless it is the first, enough of the
root keys before it. So keys that are kept apart sign a *draft*, one after the other, on machines that need no
network.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from opambin.errors import MisuseError
from opambin.publish.signed.keys import key_name, threshold_problem
from opambin.publish.signed.profile import DAYS_FIELD, LIFETIMES, SPEC_VERSION, TopRole, expiry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from securesystemslib.signer import CryptoSigner, Key, SSlibKey
    from tuf.api.metadata import Metadata, Root

MAX_DAYS = 3660


@dataclass(frozen=True, slots=True)
class RoleKeys:
    """Who signs for a role.

    Attributes:
        keys: The public keys.
        threshold: How many of them must sign.
        days: How long what they sign is valid.
    """

    keys: tuple[SSlibKey, ...]
    threshold: int
    days: int


@dataclass(frozen=True, slots=True)
class RootChange:
    """What the next root does differently; with nothing in it, it only lasts longer.

    Attributes:
        add: Keys that are added, by role.
        remove: Ids of keys that are taken away, by role.
        thresholds: New thresholds, by role.
        days: New lifetimes, by role.
    """

    add: Sequence[tuple[TopRole, SSlibKey]] = ()
    remove: Sequence[tuple[TopRole, str]] = ()
    thresholds: Mapping[TopRole, int] = field(default_factory=dict)
    days: Mapping[TopRole, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a draft is.

    Attributes:
        signed: Keys that have signed.
        missing: Keys that may still sign.
        lacking: What is missing, in words; empty when it is complete.
    """

    signed: tuple[str, ...]
    missing: tuple[str, ...]
    lacking: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return not self.lacking


def first_root(roles: Mapping[TopRole, RoleKeys], now: datetime) -> Root:
    """Return the first root of a repository.

    Raises:
        MisuseError: A threshold or a lifetime can't be.
    """
    from tuf.api.metadata import Role, Root

    keys = {key.keyid: key for role in roles.values() for key in role.keys}
    root = Root(
        version=1,
        spec_version=SPEC_VERSION,
        expires=expiry(now, roles[TopRole.ROOT].days),
        keys=dict(keys),
        roles={
            role: Role([key.keyid for key in it.keys], max(it.threshold, 1), {DAYS_FIELD: it.days})
            for role, it in roles.items()
        },
        consistent_snapshot=True,
    )
    _check(root)
    return root


def next_root(current: Root, change: RootChange, now: datetime) -> Root:
    """Return the root that follows, unsigned; ``current`` is not altered.

    Raises:
        MisuseError: A key that is taken away is not there, or what is left can't be a root.
    """
    root = copy.deepcopy(current)
    for role, key_id in change.remove:
        if key_id not in root.roles[role].keyids:
            raise MisuseError(f"{key_id[:16]}… is no key of {role}")
        root.revoke_key(key_id, role)
    for role, key in change.add:
        root.add_key(key, role)
    for role, threshold in change.thresholds.items():
        root.roles[role].threshold = threshold
    for role, days in change.days.items():
        root.roles[role].unrecognized_fields[DAYS_FIELD] = days
    root.version += 1
    root.expires = expiry(now, lifetime(root, TopRole.ROOT))
    _check(root)
    return root


def lifetime(root: Root, role: TopRole) -> int:
    """Return how long metadata of a role lasts, in days."""
    days = root.roles[role].unrecognized_fields.get(DAYS_FIELD)
    return days if isinstance(days, int) and 0 < days <= MAX_DAYS else LIFETIMES[role]


def sign_all(metadata: Metadata[Root], signers: Sequence[CryptoSigner], previous: Root | None) -> list[str]:
    """Add the signatures of those keys that have a say in a root; return the names of these keys."""
    wanted = set(metadata.signed.roles["root"].keyids)
    if previous is not None:
        wanted |= set(previous.roles["root"].keyids)
    used = [signer for signer in signers if signer.public_key.keyid in wanted]
    for signer in used:
        metadata.sign(signer, append=True)
    return [key_name(signer.public_key) for signer in used]


def standing(metadata: Metadata[Root], previous: Root | None) -> Standing:
    """Say how far a root is signed."""
    root = metadata.signed
    if previous is not None and root.version != previous.version + 1:
        return Standing((), (), (f"it is version {root.version}, and {previous.version + 1} comes next",))
    result = root.get_root_verification_result(previous, metadata.signed_bytes, metadata.signatures)
    parts = [("former root keys", result.first)] if previous is not None else []
    lacking = [
        f"{part.threshold} {what} must sign, {len(part.signed)} did"
        for what, part in [*parts, ("root keys", result.second)]
        if not part.verified
    ]
    names = _names([*result.signed.values()]), _names([*result.unsigned.values()])
    return Standing(names[0], names[1], tuple(lacking))


def _names(keys: Sequence[Key]) -> tuple[str, ...]:
    return tuple(sorted(key_name(key) for key in keys))


def _check(root: Root) -> None:
    """Refuse a root that no one could fulfil."""
    problems = []
    for name in TopRole:
        role = root.roles[name]
        if not 1 <= role.threshold <= len(role.keyids):
            problems.append(f"{name}: {threshold_problem(role.threshold, len(role.keyids))}")
        if not 1 <= lifetime(root, name) <= MAX_DAYS or lifetime(root, name) != role.unrecognized_fields.get(
            DAYS_FIELD
        ):
            problems.append(f"{name}: a lifetime is from 1 to {MAX_DAYS} days")
    if problems:
        raise MisuseError("; ".join(problems))
