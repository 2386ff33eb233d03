"""Signed bytes, in the form of DSSE (Dead Simple Signing Envelope, version 1).

What is signed is not the payload but ``DSSEv1 LEN TYPE LEN PAYLOAD``: a signature for one kind of statement
is none for another. The payload is parsed only by who has looked at the signatures.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from opambin.errors import BadDataError
from opambin.trust.keys import SIGNATURE_BYTES, KeyId, is_key_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opambin.trust.keys import SecretKey

MAX_BYTES = 64_000  # of a slot
MAX_STATE_BYTES = 4_000_000  # of the statement about a whole remote
MAX_SIGNATURES = 16


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature.

    Attributes:
        key: Who says to have made it; only a check tells whether it is true.
        value: Its 64 bytes.
    """

    key: KeyId
    value: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload with signatures.

    Attributes:
        type: What the payload is.
        payload: Its bytes.
        signatures: Sorted by key, one for each.
    """

    type: str
    payload: bytes
    signatures: tuple[Signature, ...] = ()

    @property
    def signed_bytes(self) -> bytes:
        """What signatures are made over."""
        kind = self.type.encode("ascii")
        return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(self.payload), self.payload)

    def with_signature(self, secret: SecretKey) -> Envelope:
        """Return the envelope with one more signature; an earlier one by the same key gives way."""
        made = Signature(secret.public.id, secret.sign(self.signed_bytes))
        others = [old for old in self.signatures if old.key != made.key]
        return replace(self, signatures=tuple(sorted([*others, made], key=lambda it: it.key)))

    def to_json(self) -> bytes:
        """Return its text form."""
        content = {
            "payload": base64.b64encode(self.payload).decode("ascii"),
            "payloadType": self.type,
            "signatures": [
                {"keyid": it.key, "sig": base64.b64encode(it.value).decode("ascii")} for it in self.signatures
            ],
        }
        return json.dumps(content, separators=(",", ":")).encode("ascii") + b"\n"

    @classmethod
    def from_json(cls, data: bytes, what: object, *, limit: int = MAX_BYTES) -> Envelope:
        """Read the text form; nothing is verified.

        Args:
            data: Its bytes.
            what: Its name, for the error.
            limit: How long it may be, in bytes.

        Raises:
            BadDataError: It is no envelope.
        """
        if len(data) > limit:
            raise BadDataError(
                what, "too large for an envelope", expected=f"<= {limit} bytes", observed=len(data)
            )
        try:
            content = json.loads(data.decode("ascii"))
        except (ValueError, RecursionError) as error:
            raise BadDataError(what, f"not an envelope, or cut off: {error}") from error
        match content:
            case {"payload": str(payload), "payloadType": str(kind), "signatures": [*found]} if (
                len(content) == 3 and len(found) <= MAX_SIGNATURES and kind.isascii() and kind.isprintable()
            ):
                envelope = cls(kind, _bytes(payload, what), tuple(_signature(it, what) for it in found))
            case _:
                raise BadDataError(what, "not an envelope")
        keys = [it.key for it in envelope.signatures]
        if keys != sorted(set(keys)) or envelope.to_json() != data:
            raise BadDataError(what, "not an envelope in canonical form")
        return envelope


def seal(kind: str, payload: bytes, secrets: Iterable[SecretKey]) -> Envelope:
    """Return an envelope of ``payload`` with a signature by each key."""
    envelope = Envelope(kind, payload)
    for secret in secrets:
        envelope = envelope.with_signature(secret)
    return envelope


def _signature(row: Any, what: object) -> Signature:  # noqa: ANN401 - JSON
    match row:
        case {"keyid": key, "sig": str(text)} if len(row) == 2 and is_key_id(key):
            value = _bytes(text, what)
            if len(value) == SIGNATURE_BYTES:
                return Signature(KeyId(key), value)
    raise BadDataError(what, "not a signature")


def _bytes(text: str, what: object) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadDataError(what, "not in base64") from error
