"""A new statement of a remote about itself: what stops an old state from being served as the present one."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from opambin.errors import MisuseError
from opambin.exchange import names
from opambin.trust.envelope import MAX_STATE_BYTES, Envelope, seal
from opambin.trust.policy import Mode, Role, TrustedKey
from opambin.trust.remotestate import TYPE, RemoteState, judge_state

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opambin.exchange.sources import Source
    from opambin.model import ConeKey, OutputId
    from opambin.trust.keys import SecretKey

MAX_SECONDS = 400 * 86_400


@dataclass(frozen=True, slots=True)
class Change:
    """What the new statement says beyond the old one.

    Attributes:
        seconds: How long it is valid.
        withdraw: Outputs that are taken back.
        minimum_time: Statements that are older do not count any more, in seconds since 1970; None: as before.
    """

    seconds: float
    withdraw: frozenset[tuple[ConeKey, OutputId]] = frozenset()
    minimum_time: int | None = None


def vouch(source: Source, secrets: Sequence[SecretKey], change: Change) -> RemoteState:
    """Put a new statement on a remote; what was withdrawn before stays withdrawn.

    Raises:
        BadDataError: What is there is wrong, or signed by nobody who is trusted: it has to be looked at
        first.
        MisuseError: It would be valid for too long, or not at all.
        UnavailableError: The remote can't be read or written.
    """
    if not 0 < change.seconds <= MAX_SECONDS:
        raise MisuseError(f"a statement is valid for up to {MAX_SECONDS // 86_400} days")
    now = int(time.time())
    before = _before(source, secrets, now)
    state = RemoteState(
        remote=before.remote if before else os.urandom(16).hex(),
        serial=before.serial + 1 if before else 1,
        issued=now,
        expires=now + int(change.seconds),
        minimum_time=max(before.minimum_time if before else 0, change.minimum_time or 0),
        withdrawn=(before.withdrawn if before else frozenset()) | change.withdraw,
    )
    source.remote.put(names.SNAPSHOT, seal(TYPE, state.to_json(), secrets).to_json(), replace=True)
    return state


def _before(source: Source, secrets: Sequence[SecretKey], now: int) -> RemoteState | None:
    """Return the statement that is there; one that has expired counts, one of an unknown key does not."""
    data = source.remote.get(names.SNAPSHOT, limit=MAX_STATE_BYTES)
    if data is None:
        return None
    what = f"{names.SNAPSHOT} of remote {source.name}"
    keys = (*source.policy.keys, *(TrustedKey(secret.public) for secret in secrets))
    policy = replace(source.policy, mode=Mode.ANY, keys=keys, role=Role.STAGING)
    envelope = Envelope.from_json(data, what, limit=MAX_STATE_BYTES)
    found = RemoteState.read(envelope, what)
    verdict = judge_state(envelope, policy, min(now, found.expires - 1), None, what)
    if isinstance(verdict, RemoteState):
        return verdict
    raise MisuseError(f"{what}: {verdict.reason}; remove it first if it is to be replaced")
