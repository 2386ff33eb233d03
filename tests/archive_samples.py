"""Archives for tests: honest ones, and ones that are made by hand to be bad."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import zstandard

from opambin.archive import frames as framing
from opambin.archive import tarform
from opambin.archive.frames import Frame
from opambin.archive.reader import Contents, Unpacker, read_head
from opambin.archive.tarform import Member
from opambin.archive.writer import Source, Written, write_archive
from opambin.model import Digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

MANIFEST = b'{"a manifest":"of no known kind"}\n'


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def member(data: bytes, *, executable: bool = False) -> Member:
    return Member(Digest(sha(data)), executable, len(data))


def sources(folder: Path, *contents: bytes, executable: bool = False) -> list[Source]:
    found = []
    for content in dict.fromkeys(contents):
        path = folder / sha(content)
        path.write_bytes(content)
        found.append(Source(member(content, executable=executable), path))
    return found


@dataclass
class Kept:
    """A sink that keeps what it gets."""

    objects: dict[Member, bytes] = field(default_factory=dict)

    def __call__(self, found: Member, pieces: Iterable[bytes | memoryview]) -> None:
        self.objects[found] = b"".join(pieces)


@dataclass(frozen=True)
class Archive:
    """Bytes, what a statement would say of them, and the objects of their manifest."""

    data: bytes
    written: Written
    members: tuple[Member, ...]

    def unpack(self, step: int = 1 << 20, kept: Kept | None = None) -> Kept:
        head_size = self.written.head_size
        head = read_head(self.data[:head_size], digest=self.written.head_digest)
        contents = Contents.of(head, self.members, size=self.written.size)
        kept = kept or Kept()
        unpacker = Unpacker(contents, kept)
        try:
            for at in range(head_size, len(self.data), step):
                unpacker.feed(self.data[at : at + step])
            unpacker.finish()
        finally:
            unpacker.close()
        return kept


def honest(folder: Path, *contents: bytes, jobs: int = 1) -> Archive:
    into = io.BytesIO()
    found = sources(folder, *contents)
    written = write_archive(MANIFEST, found, into, jobs=jobs)
    return Archive(into.getvalue(), written, tuple(source.member for source in found))


def tar_member(data: bytes, header: bytes = b"") -> bytes:
    return (header or member(data).header) + data + bytes(tarform.padding(len(data)))


def frame(raw: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=1, write_checksum=False).compress(raw)


def forged(
    frames: Sequence[bytes],
    members: Sequence[Member],
    *,
    raw_sizes: Sequence[int] | None = None,
    table: bytes | None = None,
    head: bytes | None = None,
) -> Archive:
    """An archive of any frames, with a table, digests and sizes that are right: as a malicious signer's."""
    rows = []
    offset = start = 0
    for at, data in enumerate(frames):
        raw_size = raw_sizes[at] if raw_sizes else len(zstandard.ZstdDecompressor().decompress(data))
        rows.append(Frame(offset, len(data), sha(data), start, raw_size))
        offset, start = offset + len(data), start + raw_size
    if head is None:
        if table is None:
            table = framing.write_table(rows)
        head = frame(
            tar_member(MANIFEST, tarform.header(tarform.MANIFEST_NAME, len(MANIFEST)))
            + tar_member(table, tarform.header(tarform.TABLE_NAME, len(table)))
        )
    data = head + b"".join(frames)
    return Archive(data, Written(sha(data), len(data), sha(head), len(head)), tuple(members))
