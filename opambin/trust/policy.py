"""Whether signatures are enough, for what a user has decided to trust.

Rules:

* A key's role comes from the user's own list, never from what is signed.
* A policy for releases counts release keys only; one for staging counts both.
* A key counts once, however often it signed; a revoked key never counts, nor is its signature looked at.
* A signature that names a counted key and is wrong is bad data, whatever else the envelope holds.
* What is not trusted is a miss with a reason; what is wrong is an error.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from opambin.errors import BadDataError, MisuseError
from opambin.trust.statement import Statement

if TYPE_CHECKING:
    from opambin.model import ConeKey, Package
    from opambin.trust.envelope import Envelope
    from opambin.trust.keys import KeyId, PublicKey
    from opambin.trust.remotestate import RemoteState

SHOWN_DIGITS = 16  # of the id of a key
MAX_SKEW = 86_400  # seconds that a builder's clock may be ahead of ours


class Role(StrEnum):
    """What a key may vouch for."""

    STAGING = "staging"
    RELEASE = "release"

    def covers(self, wanted: Role) -> bool:
        """Say whether a key of this role counts where ``wanted`` is asked for."""
        return self is wanted or self is Role.RELEASE


class Mode(StrEnum):
    """How many signatures a remote needs."""

    UNSIGNED = "unsigned"
    ANY = "any"
    THRESHOLD = "threshold"


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A key on a user's list.

    Attributes:
        public: The key.
        role: What it may vouch for.
    """

    public: PublicKey
    role: Role = Role.RELEASE


@dataclass(frozen=True, slots=True)
class Policy:
    """What a user asks of one remote.

    Attributes:
        mode: How many signatures: none, one by any key, or ``threshold``.
        keys: The keys that may count.
        threshold: How many different keys must have signed, for :attr:`Mode.THRESHOLD`.
        role: What the keys have to be for.
        revoked: Keys that never count.
        state_required: Whether the remote has to carry a valid statement about itself.
    """

    mode: Mode
    keys: tuple[TrustedKey, ...] = ()
    threshold: int = 1
    role: Role = Role.RELEASE
    revoked: frozenset[KeyId] = field(default_factory=frozenset)
    state_required: bool = False

    @property
    def needed(self) -> int:
        """How many keys must have signed."""
        return {Mode.UNSIGNED: 0, Mode.ANY: 1, Mode.THRESHOLD: self.threshold}[self.mode]

    @property
    def countable(self) -> dict[KeyId, TrustedKey]:
        """The keys that count under this policy, by id."""
        return {
            key.public.id: key
            for key in self.keys
            if key.role.covers(self.role) and key.public.id not in self.revoked
        }

    def check(self) -> None:
        """Find out whether anything can ever satisfy it.

        Raises:
            MisuseError: Nothing can.
        """
        if self.mode is Mode.THRESHOLD and self.threshold < 1:
            raise MisuseError(f"a threshold of {self.threshold} signatures is none: use the mode unsigned")
        if len(self.countable) < self.needed:
            raise MisuseError(
                f"trusted keys that have to sign: {self.needed}, but only {len(self.countable)} can count"
                " (opam-bin key list shows them, opam-bin key trust adds one)"
            )


@dataclass(frozen=True, slots=True)
class Untrusted:
    """Not to be used; no error, but a miss.

    Attributes:
        reason: In words.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Verified:
    """To be used.

    Attributes:
        statement: What was said.
        signers: Names of the keys that count and signed it; may be empty where none has to.
    """

    statement: Statement
    signers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked of a remote; an answer to anything else is none.

    Attributes:
        key: The cone key.
        now: Seconds since 1970.
        package: Name and version, where they are known.
        state: What the remote says of itself, verified; None when it says nothing.
    """

    key: ConeKey
    now: int
    package: Package | None = None
    state: RemoteState | None = None


def judge(envelope: Envelope, policy: Policy, question: Question, what: object) -> Verified | Untrusted:
    """Decide whether a statement about an output may be used.

    Args:
        envelope: What the remote gave.
        policy: What the user asks of it.
        question: What was asked.
        what: Its name, for errors.

    Raises:
        BadDataError: A signature of a key that counts is wrong, or the statement is malformed or answers
            another question.
    """
    signers = signatures(envelope, policy, what)
    if isinstance(signers, Untrusted):
        return signers
    statement = Statement.read(envelope, what)
    if statement.key != question.key:
        raise BadDataError(
            what, "a statement about another key", expected=question.key, observed=statement.key
        )
    if question.package is not None and statement.package != question.package:
        raise BadDataError(
            what, "a statement about another package", expected=question.package, observed=statement.package
        )
    if statement.origin.time > question.now + MAX_SKEW:
        return Untrusted("its statement is from the future; is this machine's clock right?")
    if question.state is None:
        return (
            Untrusted("the remote has no valid snapshot.json")
            if policy.state_required
            else Verified(statement, signers)
        )
    refusal = question.state.refuses(statement)
    return Untrusted(refusal) if refusal else Verified(statement, signers)


def signatures(envelope: Envelope, policy: Policy, what: object) -> tuple[str, ...] | Untrusted:
    """Verify the signatures of the keys that count.

    Returns:
        The names of those that signed, when they are enough.

    Raises:
        BadDataError: One of them is wrong.
    """
    countable = policy.countable
    good: dict[KeyId, str] = {}
    message = envelope.signed_bytes
    for found in envelope.signatures:
        key = countable.get(found.key)
        if key is None:
            continue
        if not key.public.verifies(found.value, message):
            raise BadDataError(
                what, f"wrong signature by the key {key.public.name} ({found.key[:SHOWN_DIGITS]})"
            )
        good[found.key] = key.public.name
    if len(good) < policy.needed:
        return Untrusted(_reason(envelope, policy, len(good)))
    return tuple(sorted(good.values()))


def _reason(envelope: Envelope, policy: Policy, good: int) -> str:
    if not envelope.signatures:
        return "not signed"
    if good:
        return f"signed by {good} of the {policy.needed} keys that have to"
    named = {key.public.id: key for key in policy.keys}
    reasons = []
    for found in envelope.signatures:
        key = named.get(found.key)
        if found.key in policy.revoked:
            reasons.append(
                f"the key {key.public.name if key else found.key[:SHOWN_DIGITS]}, which is revoked"
            )
        elif key:
            reasons.append(f"the key {key.public.name}, which is for {key.role} only")
        else:
            reasons.append(f"the key {found.key[:SHOWN_DIGITS]}, which is not trusted here")
    return f"signed by {' and '.join(reasons)}"
