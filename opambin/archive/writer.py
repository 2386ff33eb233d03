"""Writing an archive: the same manifest and objects give the same bytes, whatever the number of threads.

The head names the frames after it, so these are made first, into a temporary file. Compression is one call
per frame with fixed parameters; several threads may share the frames, which changes no byte.
"""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections import deque
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from opambin.archive import frames as framing
from opambin.archive import tarform
from opambin.archive.frames import Frame
from opambin.errors import BadDataError, MisuseError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    import zstandard

    from opambin.archive.tarform import Member

MEMORY_BYTES = 64 << 20  # compressed frames beyond this wait on the disk
COPY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """An object and where its bytes are.

    Attributes:
        member: What it is.
        path: A file with its content.
    """

    member: Member
    path: Path


@dataclass(frozen=True, slots=True)
class Written:
    """An archive that was written.

    Attributes:
        digest: sha256 of all of it.
        size: Of all of it, in bytes.
        head_digest: sha256 of its head.
        head_size: Of its head, in bytes.
    """

    digest: str
    size: int
    head_digest: str
    head_size: int


def write_archive(manifest: bytes, sources: Iterable[Source], into: IO[bytes], *, jobs: int = 1) -> Written:
    """Write an archive.

    Args:
        manifest: Its bytes, as in the store.
        sources: The manifest's objects, each once, in its order (see :func:`~.tarform.unique`).
        into: Where it goes, from its present position on.
        jobs: How many threads compress.

    Raises:
        BadDataError: The bytes of an object are not what its digest says; what is in ``into`` is no archive.
        MisuseError: Something is larger than the format allows.
        UnavailableError: An object can't be read.
    """
    sources = list(sources)
    _refuse_too_large(manifest, sources)
    with tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES) as body:
        frames: list[Frame] = []
        offset = start = 0
        for raw_size, compressed in _compressed(sources, jobs):
            digest = hashlib.sha256(compressed).hexdigest()
            frames.append(Frame(offset, len(compressed), digest, start, raw_size))
            offset, start = offset + len(compressed), start + raw_size
            body.write(compressed)
        head = _compressor().compress(_head(manifest, framing.write_table(frames)))
        body.seek(0)
        state = hashlib.sha256(head)
        into.write(head)
        while piece := body.read(COPY_BYTES):
            state.update(piece)
            into.write(piece)
    return Written(state.hexdigest(), len(head) + offset, hashlib.sha256(head).hexdigest(), len(head))


def _refuse_too_large(manifest: bytes, sources: Sequence[Source]) -> None:
    if len(manifest) > framing.MAX_MANIFEST_BYTES:
        raise MisuseError(f"a manifest of {len(manifest)} bytes does not fit into an archive")
    for source in sources:
        if source.member.size > tarform.MAX_MEMBER_BYTES:
            raise MisuseError(f"{source.path}: {source.member.size} bytes do not fit into an archive")


def _head(manifest: bytes, table: bytes) -> bytes:
    parts = []
    for name, content in ((tarform.MANIFEST_NAME, manifest), (tarform.TABLE_NAME, table)):
        parts += [tarform.header(name, len(content)), content, bytes(tarform.padding(len(content)))]
    return b"".join(parts)


def _compressor() -> zstandard.ZstdCompressor:
    import zstandard

    return zstandard.ZstdCompressor(
        level=framing.LEVEL, write_checksum=False, write_content_size=True, write_dict_id=False, threads=0
    )


def _compressed(sources: Sequence[Source], jobs: int) -> Iterator[tuple[int, bytes]]:
    """Yield content size and bytes of every frame, in order, at most a few of them ahead."""
    from concurrent.futures import ThreadPoolExecutor

    own = threading.local()  # a compressor serves one thread

    def work(raw: bytes) -> tuple[int, bytes]:
        if not hasattr(own, "compressor"):
            own.compressor = _compressor()
        return len(raw), own.compressor.compress(raw)

    contents = _contents(sources)
    if jobs <= 1:
        yield from map(work, contents)
        return
    waiting: deque[Future[tuple[int, bytes]]] = deque()
    with ThreadPoolExecutor(jobs) as pool:
        for raw in contents:
            waiting.append(pool.submit(work, raw))
            if len(waiting) > 2 * jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _contents(sources: Sequence[Source]) -> Iterator[bytes]:
    """Yield the content of every frame."""
    stream = _pieces(sources)
    rest = memoryview(b"")
    for size in framing.cut([source.member for source in sources]):
        parts: list[memoryview] = []
        lacking = size
        while lacking:
            rest = rest or memoryview(next(stream))
            parts.append(rest[:lacking])
            lacking -= len(parts[-1])
            rest = rest[len(parts[-1]) :]
        yield b"".join(parts)


def _pieces(sources: Sequence[Source]) -> Iterator[bytes]:
    """Yield the tar stream after the head, piece by piece, checking each object on the way."""
    for source in sources:
        member = source.member
        yield member.header
        state = hashlib.sha256()
        try:
            with source.path.open("rb") as stream:
                while piece := stream.read(COPY_BYTES):
                    state.update(piece)
                    yield piece
        except OSError as error:
            raise UnavailableError(f"{source.path} can't be read: {error.strerror or error}") from error
        if state.hexdigest() != member.digest:
            raise BadDataError(
                source.path, "damaged object", expected=member.digest, observed=state.hexdigest()
            )
        yield bytes(tarform.padding(member.size))
    yield tarform.END_MARK
