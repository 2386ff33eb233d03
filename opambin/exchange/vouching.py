"""A new statement of a remote about itself: what stops an old state from being served as the present one.

Rules:

* It follows the one that is there, which a release key, or the one that signs now, has to have signed:
  otherwise whoever can write to the remote could make the next serial an impossible one.
* Where a later one was seen, nothing is signed: who renews an older one would bring back what was withdrawn.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from opambin.errors import MisuseError
from opambin.exchange import names, seen
from opambin.trust.envelope import MAX_STATE_BYTES, Envelope, seal
from opambin.trust.policy import Mode, Role, TrustedKey, Untrusted, signatures
from opambin.trust.remotestate import TYPE, RemoteState, Seen, judge_state

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
        anew: Whether to begin again when the remote has lost the old one.
    """

    seconds: float
    withdraw: frozenset[tuple[ConeKey, OutputId]] = frozenset()
    minimum_time: int | None = None
    anew: bool = False


@dataclass(frozen=True, slots=True)
class Voucher:
    """Who vouches for what.

    Attributes:
        source: The remote.
        secrets: The keys that sign.
        environ: Says where is kept what was seen of remotes.
    """

    source: Source
    secrets: Sequence[SecretKey]
    environ: Mapping[str, str]

    @property
    def what(self) -> str:
        """The name of the statement, for errors."""
        return f"{names.SNAPSHOT} of {self.source.label}"

    def read(self, data: bytes) -> Envelope:
        """Read the statement's envelope."""
        return Envelope.from_json(data, self.what, limit=MAX_STATE_BYTES)

    def write(self, envelope: Envelope, state: RemoteState) -> None:
        """Put the statement on the remote, and remember it."""
        data = envelope.to_json()
        if len(data) > MAX_STATE_BYTES:
            raise MisuseError(
                f"{self.what}: too much is withdrawn; take back all that is old (--minimum-age)"
            )
        self.source.remote.put(names.SNAPSHOT, data, replace=True)
        seen.save(self.environ, self.source.url, Seen.of(state))


def vouch(voucher: Voucher, change: Change) -> RemoteState:
    """Put a new statement on a remote; what was withdrawn before stays withdrawn.

    Raises:
        BadDataError: What is there is wrong, or older than what was seen.
        MisuseError: It would be valid for too long, or not at all; or what is there is gone, or signed by
            nobody who is trusted: it has to be looked at first.
        UnavailableError: The remote can't be read or written.
    """
    if not 0 < change.seconds <= MAX_SECONDS:
        raise MisuseError(f"a statement is valid for up to {MAX_SECONDS // 86_400} days")
    now = int(time.time())
    before = _before(voucher, change, now)
    state = replace(
        before,
        serial=before.serial + 1,
        issued=now,
        expires=now + int(change.seconds),
        minimum_time=max(before.minimum_time, change.minimum_time or 0),
        withdrawn=before.withdrawn | change.withdraw,
    )
    voucher.write(seal(TYPE, state.to_json(), voucher.secrets), state)
    return state


def countersign(voucher: Voucher) -> RemoteState:
    """Add signatures to the statement that is there, for clients that want several.

    Raises:
        BadDataError: What is there is wrong, or older than what was seen.
        MisuseError: There is none that holds and that a release key has signed.
        UnavailableError: The remote can't be read or written.
    """
    data = voucher.source.remote.get(names.SNAPSHOT, limit=MAX_STATE_BYTES)
    if data is None:
        raise MisuseError(f"there is no {voucher.what} to sign")
    envelope = voucher.read(data)
    last = seen.load(voucher.environ, voucher.source.url)
    policy = replace(voucher.source.policy, mode=Mode.ANY, role=Role.RELEASE)
    verdict = judge_state(envelope, policy, int(time.time()), last, voucher.what)
    if not isinstance(verdict, RemoteState):
        raise MisuseError(f"{voucher.what}: {verdict.reason}")
    for secret in voucher.secrets:
        envelope = envelope.with_signature(secret)
    voucher.write(envelope, verdict)
    return verdict


def _before(voucher: Voucher, change: Change, now: int) -> RemoteState:
    """Return the statement to follow; one that has expired counts, one of an unknown key does not."""
    last = seen.load(voucher.environ, voucher.source.url)
    data = voucher.source.remote.get(names.SNAPSHOT, limit=MAX_STATE_BYTES)
    if data is None:
        if last and not change.anew:
            raise MisuseError(
                f"{voucher.what}: it has disappeared, with what it withdrew; --anew begins again"
            )
        return RemoteState(last.remote if last else os.urandom(16).hex(), last.serial if last else 0, 0, 0)
    envelope = voucher.read(data)
    keys = (*voucher.source.policy.keys, *(TrustedKey(secret.public) for secret in voucher.secrets))
    policy = replace(voucher.source.policy, mode=Mode.ANY, keys=keys, role=Role.RELEASE)
    enough = signatures(envelope, policy, voucher.what)
    if isinstance(enough, Untrusted):
        raise MisuseError(f"{voucher.what}: {enough.reason}; remove it first if it is to be replaced")
    found = RemoteState.read(envelope, voucher.what)
    verdict = judge_state(envelope, policy, min(now, found.expires - 1), last, voucher.what)
    if isinstance(verdict, RemoteState):
        return verdict
    raise MisuseError(f"{voucher.what}: {verdict.reason}; remove it first if it is to be replaced")
