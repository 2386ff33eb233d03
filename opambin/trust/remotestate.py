"""What a remote says of itself as a whole: ``snapshot.json``, signed and expiring.

It stops an old state from being served as the new one: a version lower than one that was seen is a rollback,
a statement past its end a freeze. And it takes things back: single outputs, or all that was signed before a
time.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opambin.errors import BadDataError
from opambin.model import ConeKey, OutputId
from opambin.trust import document
from opambin.trust.envelope import MAX_STATE_BYTES
from opambin.trust.payload import Shape, row_problems
from opambin.trust.policy import MAX_SKEW, Untrusted, signatures

if TYPE_CHECKING:
    from opambin.trust.envelope import Envelope
    from opambin.trust.policy import Policy
    from opambin.trust.statement import Statement

TYPE = "application/vnd.opam-bin.remote-state.v1+json"
VERSION = 1

_ID = re.compile(r"[0-9a-f]{32}")
_SHAPE = Shape(
    TYPE,
    "remote-state",
    VERSION,
    MAX_STATE_BYTES,
    counts=("serial", "issued", "expires", "minimum-time"),
    others=("remote", "withdrawn"),
)


@dataclass(frozen=True, slots=True)
class RemoteState:
    """The state of a remote.

    Attributes:
        remote: 32 hexadecimal digits, chosen once: a statement of one remote is none of another.
        serial: Rises by one with each statement.
        issued: When it was made, in seconds since 1970.
        expires: When it is no longer to be believed, in seconds since 1970.
        minimum_time: Statements about outputs that are older do not count, in seconds since 1970.
        withdrawn: Outputs that were taken back.
    """

    remote: str
    serial: int
    issued: int
    expires: int
    minimum_time: int = 0
    withdrawn: frozenset[tuple[ConeKey, OutputId]] = frozenset()

    def refuses(self, statement: Statement) -> str:
        """Say why an output was taken back; empty when it was not."""
        if (statement.key, statement.output) in self.withdrawn:
            return "it was withdrawn by its publisher"
        if statement.origin.time < self.minimum_time:
            return "its statement is older than the remote's publisher still stands for"
        return ""

    def to_json(self) -> bytes:
        """Return the canonical form, which is what gets signed."""
        return _SHAPE.write(
            {
                "remote": self.remote,
                "serial": self.serial,
                "issued": self.issued,
                "expires": self.expires,
                "minimum-time": self.minimum_time,
                "withdrawn": [list(pair) for pair in sorted(self.withdrawn)],
            }
        )

    @classmethod
    def read(cls, envelope: Envelope, what: object) -> RemoteState:
        """Read the payload of an envelope, whether it is signed or not.

        Raises:
            BadDataError: It is no statement of this kind and version.
        """
        body = _SHAPE.read(envelope, what, _problems)
        withdrawn = frozenset((ConeKey(key), OutputId(output)) for key, output in body["withdrawn"])
        return cls(
            body["remote"],
            body["serial"],
            body["issued"],
            body["expires"],
            body["minimum-time"],
            withdrawn,
        )


@dataclass(frozen=True, slots=True)
class Seen:
    """What a client has seen last of a remote.

    Attributes:
        remote: Its id.
        serial: Of the statement.
        digest: sha256 of the statement.
    """

    remote: str
    serial: int
    digest: str

    @classmethod
    def of(cls, state: RemoteState) -> Seen:
        """Return what has to be remembered of a state."""
        return cls(state.remote, state.serial, hashlib.sha256(state.to_json()).hexdigest())


def judge_state(
    envelope: Envelope, policy: Policy, now: int, seen: Seen | None, what: object
) -> RemoteState | Untrusted:
    """Decide whether what a remote says of itself may be believed.

    Args:
        envelope: What the remote gave.
        policy: What the user asks of it; the same keys that vouch for outputs vouch for the whole.
        now: Seconds since 1970.
        seen: What was seen last; None when nothing was.
        what: Its name, for errors.

    Raises:
        BadDataError: A wrong signature, a malformed statement, another remote's, or a rollback.
    """
    signers = signatures(envelope, policy, what)
    if isinstance(signers, Untrusted):
        return Untrusted(f"its snapshot.json is {signers.reason}")
    state = RemoteState.read(envelope, what)
    if seen is not None:
        _check_seen(state, seen, what)
    if state.issued > now + MAX_SKEW:
        return Untrusted("its snapshot.json is from the future; is this machine's clock right?")
    if now >= state.expires:
        return Untrusted("its snapshot.json has expired: nobody vouches that this is its present state")
    return state


def _check_seen(state: RemoteState, seen: Seen, what: object) -> None:
    if state.remote != seen.remote:
        raise BadDataError(
            what, "the statement of another remote", expected=seen.remote, observed=state.remote
        )
    if state.serial < seen.serial:
        raise BadDataError(
            what, "rolled back to an older state", expected=f">= {seen.serial}", observed=state.serial
        )
    if state.serial == seen.serial and Seen.of(state).digest != seen.digest:
        raise BadDataError(what, f"two different statements have the serial {state.serial}")


def _problems(body: dict[str, Any]) -> list[str]:
    problems = []
    if type(body["remote"]) is not str or not _ID.fullmatch(body["remote"]):
        problems.append("remote: not 32 hexadecimal digits")
    rows = body["withdrawn"]
    return problems + row_problems("withdrawn", rows, _is_pair, "keys and outputs", lambda row: row)


def _is_pair(row: object) -> bool:
    match row:
        case [key, output]:
            return document.is_hex64(key) and document.is_hex64(output)
    return False
