"""Frames: the pieces of an archive that are compressed, fetched and checked by themselves.

Rules for what is read, each enforced before the next step:

* the sha256 of a frame's compressed bytes is the one in the table (of the head: the one in the statement),
  so nothing is decompressed that was not signed;
* it is one zstd frame that states its size, which is the one in the table and at most :data:`MAX_RAW_BYTES`
  (:data:`MAX_HEAD_RAW_BYTES` for the head); a small window, no dictionary;
* it ends where the frame ends, and gives exactly the bytes that it stated.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opambin.archive.tarform import BLOCK, END_MARK
from opambin.errors import BadDataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opambin.archive.tarform import Member

LEVEL = 3  # part of the format as far as equal bytes go
GROUP_BYTES = 1 << 20  # small objects share a frame up to this
PIECE_BYTES = 8 << 20  # larger objects are cut into frames of this
MAX_RAW_BYTES = 2 * PIECE_BYTES
MAX_MANIFEST_BYTES = 64_000_000
MAX_TABLE_BYTES = 16_000_000
MAX_HEAD_RAW_BYTES = MAX_MANIFEST_BYTES + MAX_TABLE_BYTES + 4 * BLOCK
MAX_FRAMES = 150_000
MAX_WINDOW_BYTES = 128 << 20  # one-shot frames have a window of their content's size
TABLE_VERSION = 1

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = b"\x2a\x4d\x18"  # after a first byte 0x50 to 0x5f


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame after the head.

    Attributes:
        offset: Of its first byte, relative to the end of the head, in bytes.
        size: Compressed, in bytes.
        digest: sha256 of the compressed bytes.
        start: Where its content begins in the tar stream after the head, in bytes.
        raw_size: Of its content, in bytes.
    """

    offset: int
    size: int
    digest: str
    start: int
    raw_size: int

    @property
    def end(self) -> int:
        """Where its content ends in the tar stream after the head."""
        return self.start + self.raw_size


def cut(members: Sequence[Member]) -> list[int]:
    """Return how long each frame of a tar stream is, in bytes: how the writer cuts."""
    sizes: list[int] = []
    group = 0
    for member in members:
        span = member.span
        if group and group + span > GROUP_BYTES:
            sizes.append(group)
            group = 0
        if span > PIECE_BYTES:
            whole, rest = divmod(span, PIECE_BYTES)
            sizes += [PIECE_BYTES] * whole + [rest] * bool(rest)
        else:
            group += span
    return [*sizes, group + len(END_MARK)]


def write_table(frames: Sequence[Frame]) -> bytes:
    """Return the canonical form of a table of frames."""
    rows = [[frame.size, frame.raw_size, frame.digest] for frame in frames]
    document = {"frames": rows, "opam-bin-frames": TABLE_VERSION}
    return json.dumps(document, separators=(",", ":")).encode("ascii") + b"\n"


def read_table(data: bytes, what: object) -> tuple[Frame, ...]:
    """Check and read a table of frames.

    Raises:
        BadDataError: It is not one, or says something that can't be.
    """
    try:
        document = json.loads(data.decode("ascii"))
    except (ValueError, RecursionError) as error:
        raise BadDataError(what, f"the table of frames is no JSON: {error}") from error
    rows = document.get("frames") if isinstance(document, dict) else None
    if not isinstance(rows, list) or not 0 < len(rows) <= MAX_FRAMES:
        raise BadDataError(what, "no table of frames")
    frames: list[Frame] = []
    offset = start = 0
    for row in rows:
        match row:
            case [int() as size, int() as raw_size, str() as digest] if (
                0 < size <= MAX_RAW_BYTES
                and 0 < raw_size <= MAX_RAW_BYTES
                and bool not in (type(size), type(raw_size))
                and _is_digest(digest)
            ):
                frames.append(Frame(offset, size, digest, start, raw_size))
                offset, start = offset + size, start + raw_size
            case _:
                raise BadDataError(what, f"not a frame: {row!r:.120}")
    if write_table(frames) != data:  # another version, other members, other spelling
        raise BadDataError(what, "the table of frames is not in canonical form, or of another version")
    return tuple(frames)


def check_digest(data: bytes | bytearray | memoryview, digest: str, what: object) -> None:
    """Compare the sha256 of compressed bytes with what was promised.

    Raises:
        BadDataError: They differ.
    """
    observed = hashlib.sha256(data).hexdigest()
    if observed != digest:
        raise BadDataError(what, "wrong digest", expected=digest, observed=observed)


def decompress(
    data: bytes | bytearray | memoryview, limit: int, what: object, *, size: int | None = None
) -> bytes:
    """Decompress one whole frame, never giving more than it may.

    Args:
        data: The frame.
        limit: How long the content may be, in bytes.
        what: Its name, for the error.
        size: How long the content has to be, in bytes; None: as long as the frame states.

    Raises:
        BadDataError: It is no zstd frame of our kind, or anything follows or lacks.
    """
    import zstandard

    if bytes(data[:4]) != _ZSTD_MAGIC:
        skippable = data[:1] and data[0] & 0xF0 == 0x50 and bytes(data[1:4]) == _SKIPPABLE
        raise BadDataError(what, "a skippable frame" if skippable else "no zstd frame")
    try:
        stated = zstandard.get_frame_parameters(data)
    except zstandard.ZstdError as error:
        raise BadDataError(what, f"no zstd frame: {error}") from error
    if stated.dict_id:
        raise BadDataError(what, "compressed with a dictionary", expected=0, observed=stated.dict_id)
    if stated.window_size > MAX_WINDOW_BYTES or stated.content_size > limit:
        # an unknown size reads as 2^64-1
        raise BadDataError(
            what, "larger than it may be", expected=f"<= {limit} bytes", observed=_size(stated)
        )
    if size is not None and stated.content_size != size:
        raise BadDataError(what, "a frame of another size", expected=size, observed=_size(stated))
    try:
        # what is stated here was checked above; zstd refuses to write past it
        content = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES).decompress(
            data, max_output_size=stated.content_size, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise BadDataError(what, f"damaged: {error}") from error
    if len(content) != stated.content_size:
        raise BadDataError(what, "cut off", expected=stated.content_size, observed=len(content))
    return content


def _size(stated: object) -> object:
    size = getattr(stated, "content_size", 0)
    return "no size stated" if size == 2**64 - 1 else size


def _is_digest(text: str) -> bool:
    return len(text) == 64 and not text.strip("0123456789abcdef")
