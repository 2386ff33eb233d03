"""Signing metadata with the keys at hand, or saying which keys are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opambin.errors import MisuseError
from opambin.publish.signed.keys import key_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from securesystemslib.signer import CryptoSigner
    from tuf.api.metadata import Metadata, Root, Targets


def able(delegator: Root | Targets, role: str, signers: Sequence[CryptoSigner]) -> list[CryptoSigner]:
    """Return those keys at hand that may sign for a role.

    Raises:
        MisuseError: They are too few; the message names the keys that are missing.
    """
    who = delegator.get_delegated_role(role)
    found = [signer for signer in signers if signer.public_key.keyid in who.keyids]
    if len(found) < who.threshold:
        at_hand = {signer.public_key.keyid for signer in found}
        missing = ", ".join(key_name(delegator.get_key(it)) for it in who.keyids if it not in at_hand)
        need = f"{who.threshold} of the keys of role {role} must sign, {len(found)} at hand"
        raise MisuseError(f"{need}; give the secret key with --sign-with: {missing}")
    return found


def sign(
    metadata: Metadata[Any], delegator: Root | Targets, role: str, signers: Sequence[CryptoSigner]
) -> None:
    """Sign metadata for a role, in place of the signatures that it has.

    Raises:
        MisuseError: Keys are missing.
    """
    metadata.signatures.clear()
    for signer in able(delegator, role, signers):
        metadata.sign(signer, append=True)
