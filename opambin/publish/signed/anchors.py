"""Where trust begins: a root that the user has, or fingerprints of root keys and how many must have signed.

Fingerprints are what opam can hand over (``anchors``, ``quorum``). A root is trusted through them when that
many of *its own root keys* are among them and have signed it. From there the roots lead to the newest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opambin.errors import BadDataError, MisuseError
from opambin.publish.signed.keys import key_fingerprint
from opambin.publish.signed.metafolder import parse_root
from opambin.publish.signed.profile import FOLDER, MAX_ROOT_BYTES, MAX_ROTATIONS, TopRole
from opambin.publish.signed.refusals import Kind, RefusedError
from opambin.publish.signed.sources import read

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tuf.api.metadata import Metadata, Root

    from opambin.publish.signed.sources import Source

_FINGERPRINT = re.compile(r"(?:sha256[:=])?([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Anchors:
    """Fingerprints that a user trusts.

    Attributes:
        fingerprints: Of root keys.
        quorum: How many of these keys must have signed a root.
    """

    fingerprints: frozenset[str]
    quorum: int

    @classmethod
    def parse(cls, texts: Iterable[str], quorum: int) -> Anchors:
        """Read what the user, or opam, says.

        Raises:
            MisuseError: A text is no fingerprint, or the quorum can't be reached.
        """
        found = set()
        for text in texts:
            match = _FINGERPRINT.fullmatch(text.strip().lower())
            if match is None:
                raise MisuseError(f"not the fingerprint of a key: {text!r:.100} (64 hexadecimal digits)")
            found.add(match[1])
        if not 1 <= quorum <= len(found):
            raise MisuseError(f"a quorum of {quorum} can't be reached with {len(found)} anchors")
        return cls(frozenset(found), quorum)

    def vouch_for(self, metadata: Metadata[Root]) -> bool:
        """Say whether enough of these keys have signed a root that names them as its root keys."""
        from securesystemslib.exceptions import UnverifiedSignatureError

        root, payload = metadata.signed, metadata.signed_bytes
        signed = set()
        for key_id in root.roles[TopRole.ROOT].keyids:
            key, signature = root.keys.get(key_id), metadata.signatures.get(key_id)
            print_ = key_fingerprint(key) if key is not None else None
            if key is None or signature is None or print_ not in self.fingerprints:
                continue
            try:
                key.verify_signature(signature, payload)
            except UnverifiedSignatureError:
                continue
            signed.add(print_)
        return len(signed) >= self.quorum


def anchored_root(source: Source, anchors: Anchors) -> bytes:
    """Return the first root of a repository for which the anchors vouch.

    Raises:
        RefusedError: There is none, or the repository has no roots at all.
    """
    seen = 0
    for data in roots(source):
        seen += 1
        try:
            metadata = parse_root(data, f"{source.name}: root {seen}")
        except BadDataError as error:
            raise RefusedError(Kind.DAMAGED, source.name, str(error)) from error
        if anchors.vouch_for(metadata):
            return data
    if not seen:
        raise RefusedError(
            Kind.UNSIGNED,
            source.name,
            f"it has no {FOLDER}/1.root.json: it is not signed, or not by opam-bin",
        )
    wanted = ", ".join(f"{it[:16]}…" for it in sorted(anchors.fingerprints))
    raise RefusedError(
        Kind.UNSIGNED, source.name, f"none of its roots is signed by {anchors.quorum} of the anchors {wanted}"
    )


def roots(source: Source) -> Iterator[bytes]:
    """Yield the roots of a repository, from the first on."""
    for version in range(1, MAX_ROTATIONS + 1):
        data = read(source, f"{FOLDER}/{version}.root.json", MAX_ROOT_BYTES)
        if data is None:
            return
        yield data


def root_fingerprints(data: bytes, what: str) -> tuple[list[str], int]:
    """Return the fingerprints of a root's root keys, and its threshold: anchors and quorum for users."""
    root = parse_root(data, what).signed
    role = root.roles[TopRole.ROOT]
    found = {key_fingerprint(root.keys[it]) for it in role.keyids if it in root.keys}
    return sorted(it for it in found if it is not None), role.threshold
