"""What a malicious publisher puts on a remote: signed by a trusted key, past all of our own checks."""

from __future__ import annotations

import dataclasses
import io
from typing import TYPE_CHECKING, Any

from opambin.archive.tarform import unique
from opambin.archive.writer import Source, write_archive
from opambin.exchange import names
from opambin.exchange.signing import Signer
from opambin.store.manifest_format import to_json
from opambin.trust.envelope import Envelope, seal
from opambin.trust.statement import TYPE, Statement

if TYPE_CHECKING:
    from opambin.model import Manifest
    from opambin.store.store import Store
    from opambin.trust.keys import SecretKey


def content(
    store: Store,
    manifest: Manifest,
    secret: SecretKey,
    shown: Manifest | None = None,
    **lies: Any,  # noqa: ANN401 - any field of a statement
) -> dict[str, bytes]:
    """Return names and bytes of a snapshot on a remote.

    Args:
        store: Has the objects.
        manifest: Which objects are packed, and what the statement is made from.
        secret: Signs.
        shown: Another manifest to put into the archive.
        lies: Fields of the statement that are not what they should be.
    """
    data = to_json(shown or manifest)
    into = io.BytesIO()
    objects = [
        Source(it, store.objects.path(it.digest, executable=it.executable, size=it.size))
        for it in unique(manifest.objects)
    ]
    written = write_archive(data, objects, into)
    envelope = Signer((secret,)).envelope(manifest, data, written)
    if lies:
        false = dataclasses.replace(Statement.read(Envelope.from_json(envelope, "slot"), "slot"), **lies)
        envelope = seal(TYPE, false.to_json(), [secret]).to_json()
    return {names.archive(written.digest): into.getvalue(), names.slot(manifest.key, 0): envelope}
