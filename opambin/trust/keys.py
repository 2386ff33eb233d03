"""Ed25519 keys and their text forms.

``opam-bin-public-1:NAME:BASE64`` and ``opam-bin-secret-1:NAME:BASE64``; the 32 bytes are the raw public key
and the seed. The name is for people: two keys are the same when their bytes are.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NewType

from opambin.errors import BadDataError, MisuseError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

KeyId = NewType("KeyId", str)
"""64 lower-case hexadecimal digits: sha256 of the raw public key."""

PUBLIC_TAG = "opam-bin-public-1"
SECRET_TAG = "opam-bin-secret-1"  # noqa: S105 - the name of a format
RAW_BYTES = 32
SIGNATURE_BYTES = 64
MAX_TEXT = 200  # characters

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_SMALL_ORDER = frozenset(
    bytes.fromhex(text)
    for text in (
        "00" * 32,
        "01" + "00" * 31,
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    )
)
"""Points of small order, without the sign: under such a "key" anybody can make signatures."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key.

    Attributes:
        name: For people.
        raw: Its 32 bytes.
    """

    name: str
    raw: bytes

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """Read the text form.

        Raises:
            BadDataError: It is not one, or no key that could ever be safe.
        """
        key = cls(*_parse(text, PUBLIC_TAG))
        if key.raw[:31] + bytes([key.raw[31] & 0x7F]) in _SMALL_ORDER:
            raise BadDataError(f"key {key.name}", "a weak public key: anybody could sign with it")
        return key

    @property
    def id(self) -> KeyId:
        """What it is known by."""
        return KeyId(hashlib.sha256(self.raw).hexdigest())

    def __str__(self) -> str:
        return _text(PUBLIC_TAG, self.name, self.raw)

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Say whether ``signature`` is this key's over ``message``."""
        from cryptography.exceptions import InvalidSignature

        try:
            self._loaded().verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def _loaded(self) -> Ed25519PublicKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        return Ed25519PublicKey.from_public_bytes(self.raw)


@dataclass(frozen=True, slots=True)
class SecretKey:
    """A secret key; its text form is :meth:`reveal`, so that no log gets it by accident.

    Attributes:
        name: For people.
        seed: Its 32 bytes.
    """

    name: str
    seed: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> SecretKey:
        """Read the text form.

        Raises:
            BadDataError: It is not one; the text is not in the message.
        """
        return cls(*_parse(text, SECRET_TAG))

    @classmethod
    def generate(cls, name: str) -> SecretKey:
        """Make a new key.

        Raises:
            MisuseError: The name can't be one.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls(check_name(name), Ed25519PrivateKey.generate().private_bytes_raw())

    @property
    def public(self) -> PublicKey:
        """The key that verifies what this one signs."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        raw = Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw()
        return PublicKey(self.name, raw)

    def reveal(self) -> str:
        """Return the text form."""
        return _text(SECRET_TAG, self.name, self.seed)

    def sign(self, message: bytes) -> bytes:
        """Return the signature of ``message``: 64 bytes, always the same."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self.seed).sign(message)


def check_name(name: str) -> str:
    """Return ``name`` when a key may have it.

    Raises:
        MisuseError: It may not.
    """
    if not _NAME.fullmatch(name):
        raise MisuseError(f"not a name for a key: {name!r:.80} (letters, digits and . _ + -, at most 64)")
    return name


def is_key_id(text: object) -> bool:
    """Say whether ``text`` is the id of a key."""
    return type(text) is str and len(text) == 64 and not text.strip("0123456789abcdef")


def _text(tag: str, name: str, raw: bytes) -> str:
    return f"{tag}:{name}:{base64.b64encode(raw).decode('ascii')}"


def _parse(text: str, tag: str) -> tuple[str, bytes]:
    parts = text.strip().split(":") if len(text) <= MAX_TEXT else []
    if len(parts) != 3 or parts[0] != tag:
        raise BadDataError("key", f"not of the form {tag}:NAME:BASE64")
    _, name, encoded = parts
    if not _NAME.fullmatch(name):
        raise BadDataError("key", f"not a name for a key: {name!r:.80}")
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadDataError(f"key {name}", "not in base64") from error
    if len(raw) != RAW_BYTES or base64.b64encode(raw).decode("ascii") != encoded:
        raise BadDataError(f"key {name}", f"not exactly {RAW_BYTES} bytes in base64")
    return name, raw
