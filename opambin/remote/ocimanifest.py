"""How a name and its bytes look in a registry: a tag, and a manifest with one layer.

The layer is the content. A small one is in its descriptor, too (``data``), so that one request reads it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from opambin.errors import BadDataError, MisuseError
from opambin.remote.protocol import check_name

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
ARTIFACT_TYPE = "application/vnd.opambin.entry.v1"
CONTENT_TYPE = "application/octet-stream"
ARCHIVE_TYPE = "application/vnd.opambin.archive.v1.tar+zstd"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
EMPTY = b"{}"
INLINE_BYTES = 98_304  # what is not longer is in the manifest; registries take 4 MB for all of one
MAX_MANIFEST_BYTES = 400_000
TITLE = "org.opencontainers.image.title"
CREATED = "org.opencontainers.image.created"


@dataclass(frozen=True, slots=True)
class Content:
    """What a manifest says of the bytes.

    Attributes:
        digest: ``sha256:…``.
        size: In bytes.
        inline: The bytes themselves, already compared with the digest; None: they are in a blob.
        created: When it was written, in seconds since 1970; 0: unknown.
    """

    digest: str
    size: int
    inline: bytes | None
    created: float


def digest_of(data: bytes) -> str:
    """Return the digest of bytes as registries write it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def tag_of(name: str) -> str:
    """Return the tag for a name: its slashes become ``__``.

    Raises:
        MisuseError: A part of it begins or ends with ``_``, or has ``__``: the way back would not be clear.
    """
    if re.search(r"__|(^|/)_|_(/|$)", check_name(name)):
        raise MisuseError(f"not a name in a registry: {name!r}")
    return name.replace("/", "__")


def name_of(tag: str) -> str | None:
    """Return the name that a tag is for; None for a tag of somebody else."""
    try:
        name = check_name(tag.replace("__", "/"))
        return name if tag_of(name) == tag else None
    except MisuseError:
        return None


def write_manifest(name: str, digest: str, size: int, data: bytes | None, now: float) -> bytes:
    """Return the manifest for a name.

    Args:
        name: Of the entry.
        digest: Of its content.
        size: Of its content, in bytes.
        data: The content itself, where it is to be in the manifest.
        now: Seconds since 1970.
    """
    layer: dict[str, Any] = {
        "mediaType": ARCHIVE_TYPE if name.endswith(".tar.zst") else CONTENT_TYPE,
        "digest": digest,
        "size": size,
        "annotations": {TITLE: name},
    }
    if data is not None:
        layer["data"] = base64.b64encode(data).decode("ascii")
    empty = {
        "mediaType": EMPTY_TYPE,
        "digest": digest_of(EMPTY),
        "size": len(EMPTY),
        "data": base64.b64encode(EMPTY).decode("ascii"),
    }
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": ARTIFACT_TYPE,
        "config": empty,
        "layers": [layer],
        "annotations": {CREATED: datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")},
    }
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode("ascii")


def read_manifest(body: bytes, what: str) -> Content:
    """Read a manifest.

    Args:
        body: Its bytes.
        what: Where it comes from, for errors.

    Raises:
        BadDataError: It is none of ours.
    """
    try:
        document = json.loads(body)
        layers = document["layers"]
        layer = layers[0]
        digest, size, data = layer["digest"], layer["size"], layer.get("data")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise BadDataError(what, "not a manifest of a remote") from error
    if len(layers) != 1 or not isinstance(digest, str) or not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise BadDataError(what, "not a manifest of a remote: one layer with a sha256 is expected")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise BadDataError(what, "not a manifest of a remote: a layer without a size")
    inline = None if data is None else _inline(data, digest, size, what)
    return Content(digest, size, inline, _created(document))


def _inline(data: object, digest: str, size: int, what: str) -> bytes:
    try:
        inline = base64.b64decode(data, validate=True) if isinstance(data, str) else None
    except (binascii.Error, ValueError):
        inline = None
    if inline is None or len(inline) != size:
        raise BadDataError(what, "the layer's data has not its size", expected=size, observed="another")
    if (found := digest_of(inline)) != digest:
        raise BadDataError(what, "the layer's data has another digest", expected=digest, observed=found)
    return inline


def _created(document: dict[str, Any]) -> float:
    notes = document.get("annotations")
    text = notes.get(CREATED) if isinstance(notes, dict) else None
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return 0.0
    return found.replace(tzinfo=found.tzinfo or UTC).timestamp() if found else 0.0
