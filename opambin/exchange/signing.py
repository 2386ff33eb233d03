"""Statements about snapshots, and who signs them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opambin import __version__
from opambin.trust.envelope import seal
from opambin.trust.statement import TYPE, Origin, Packed, Statement

if TYPE_CHECKING:
    from opambin.archive.writer import Written
    from opambin.model import Manifest
    from opambin.trust.keys import SecretKey
    from opambin.trust.statement import Channel


@dataclass(frozen=True, slots=True)
class Signer:
    """Makes statements about snapshots.

    Attributes:
        secrets: The keys that sign; empty: statements are not signed.
        channel: What the snapshots were built for; None: for staging.
        builder: Who built them, in words.
    """

    secrets: tuple[SecretKey, ...] = ()
    channel: Channel | None = None
    builder: str = f"opam-bin {__version__}"

    def envelope(self, manifest: Manifest, data: bytes, written: Written) -> bytes:
        """Return what goes into the slot of a snapshot.

        Args:
            manifest: The snapshot.
            data: The manifest's bytes.
            written: Its archive.

        Raises:
            BadDataError: The inputs of its key are not what they should be.
        """
        packed = Packed(written.digest, written.size, written.head_digest, written.head_size)
        now = int(time.time())
        origin = Origin(self.builder, now, self.channel) if self.channel else Origin(self.builder, now)
        statement = Statement.of(manifest, data, packed, origin)
        return seal(TYPE, statement.to_json(), self.secrets).to_json()
