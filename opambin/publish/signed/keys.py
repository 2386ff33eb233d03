"""Keys of the metadata: our Ed25519 keys, as python-tuf wants them.

A key's id in the metadata is the id that it has everywhere with us, the sha256 of its 32 public bytes: the
fingerprint that users give to opam as an anchor.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from opambin.errors import BadDataError, MisuseError, UnavailableError
from opambin.publish.signed.profile import NAME_FIELD
from opambin.trust.keys import PUBLIC_TAG, RAW_BYTES, SECRET_TAG, PublicKey, SecretKey

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner, Key, SSlibKey

MAX_FILE_BYTES = 4096
SHOWN = 16  # digits of a fingerprint, where it is only a reminder


def key_fingerprint(key: Key) -> str | None:
    """Return the fingerprint of a key in metadata, whatever id it has; None for another kind of key."""
    if key.keytype != "ed25519" or key.scheme != "ed25519":
        return None
    try:
        raw = bytes.fromhex(key.keyval["public"])
    except (KeyError, TypeError, ValueError):
        return None
    return hashlib.sha256(raw).hexdigest() if len(raw) == RAW_BYTES else None


def key_name(key: Key) -> str:
    """Return a key's name and the beginning of its fingerprint, for people."""
    name = key.unrecognized_fields.get(NAME_FIELD)
    shown = key.keyid[:SHOWN]
    return f"{name} ({shown}…)" if isinstance(name, str) and name.isprintable() and name else f"{shown}…"


def threshold_problem(threshold: int, keys: int) -> str:
    """Say why a role can't have a threshold."""
    if keys == 0:
        return "no key is left or given; at least one must sign"
    return f"{threshold} of {keys} keys can't sign; a threshold is from 1 to the number of keys"


def metadata_key(key: PublicKey) -> SSlibKey:
    """Return a public key as it stands in metadata."""
    from securesystemslib.signer import SSlibKey

    return SSlibKey(key.id, "ed25519", "ed25519", {"public": key.raw.hex()}, {NAME_FIELD: key.name})


def signer(key: SecretKey) -> CryptoSigner:
    """Return what signs metadata with a secret key."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from securesystemslib.signer import CryptoSigner

    return CryptoSigner(Ed25519PrivateKey.from_private_bytes(key.seed), metadata_key(key.public))


def read_public(text: str) -> SSlibKey:
    """Read a public key.

    Args:
        text: The path of a key file (of the public or of the secret key), or a public key itself.

    Raises:
        UnavailableError: There is no such file.
        BadDataError: It holds no key.
    """
    found = _text(text)
    if found.startswith(f"{SECRET_TAG}:"):
        return metadata_key(SecretKey.parse(found).public)
    bare = found.rpartition("@")[2]  # a file of opam-bin key trust says for what the key is trusted
    return metadata_key(PublicKey.parse(_checked(bare, text)))


def read_signer(text: str) -> CryptoSigner:
    """Read a secret key to sign with.

    Args:
        text: The path of a key file, or a secret key itself.

    Raises:
        UnavailableError: There is no such file.
        BadDataError: It holds no key.
        MisuseError: It holds a public key.
    """
    found = _text(text)
    if found.rpartition("@")[2].startswith(f"{PUBLIC_TAG}:"):
        raise MisuseError(f"{text}: that is a public key; to sign, give the file of the secret key")
    return signer(SecretKey.parse(_checked(found, text)))


def _text(text: str) -> str:
    if text.startswith((f"{PUBLIC_TAG}:", f"{SECRET_TAG}:")):
        return text
    try:
        with Path(text).open("rb") as stream:
            return stream.read(MAX_FILE_BYTES).decode("ascii", "replace").strip()
    except OSError as error:
        raise UnavailableError(
            f"key {text}: {error.strerror}; keys are made by opam-bin key generate"
        ) from error


def _checked(found: str, path: str) -> str:
    if not found.startswith((f"{PUBLIC_TAG}:", f"{SECRET_TAG}:")):
        raise BadDataError(path, "holds no key of opam-bin; keys are made by opam-bin key generate")
    return found
