"""Reading an archive that nobody vouches for until its bytes are checked.

Steps, each of which refuses with :class:`BadDataError` before the next:

1. :func:`read_head`: the head's digest is the signed one; it holds ``manifest.json`` and ``frames.json``,
   nothing else.
2. The caller reads the manifest and hands its objects to :meth:`Contents.of`: the frames hold exactly these,
   and the sizes add up to that of the archive.
3. :class:`Unpacker`: each frame is as the table says (see :mod:`~.frames`); its tar members are, byte for
   byte, those that follow from the manifest; each object has its size and digest. Only then the sink gets it.

Names from an archive are never used as paths: there is nothing that could be escaped from.
"""

from __future__ import annotations

import bisect
import hashlib
import tempfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Self

from opambin.archive import frames as framing
from opambin.archive import tarform
from opambin.archive.tarform import BLOCK, END_MARK
from opambin.errors import BadDataError, MisuseError

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Sequence

    from opambin.archive.frames import Frame
    from opambin.archive.tarform import Member

    Sink = Callable[[Member, Iterable[bytes | memoryview]], object]
    """Takes an object whose bytes were checked, in pieces."""

MEMORY_BYTES = 64 << 20  # an object beyond this waits on the disk until its digest is known
READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Head:
    """What an archive begins with.

    Attributes:
        manifest: The manifest's bytes.
        frames: The frames that follow.
        size: Of the head itself, compressed, in bytes.
    """

    manifest: bytes
    frames: tuple[Frame, ...]
    size: int


def read_head(data: bytes, *, digest: str, what: object = "archive") -> Head:
    """Check and read the head of an archive.

    Args:
        data: All of it, and nothing else.
        digest: Its sha256, from the signed statement.
        what: The archive's name, for the error.

    Raises:
        BadDataError: Anything is not as it should be.
    """
    framing.check_digest(data, digest, f"{what} (head)")
    raw = framing.decompress(data, framing.MAX_HEAD_RAW_BYTES, f"{what} (head)")
    manifest, after = _head_member(raw, 0, tarform.MANIFEST_NAME, what)
    table, after = _head_member(raw, after, tarform.TABLE_NAME, what)
    if after != len(raw):
        raise BadDataError(what, f"{len(raw) - after} bytes too many in the head")
    if len(manifest) > framing.MAX_MANIFEST_BYTES or len(table) > framing.MAX_TABLE_BYTES:
        raise BadDataError(what, "the manifest or the table of frames is too large")
    return Head(manifest, framing.read_table(table, what), len(data))


def _head_member(raw: bytes, at: int, name: str, what: object) -> tuple[bytes, int]:
    """Return the content of the member at ``at``, and where the next one begins."""
    block = raw[at : at + BLOCK]
    size = tarform.size_in(block)
    expected = tarform.header(name, size or 0)
    if block != expected:
        problem = tarform.explain(block, expected) if len(block) == BLOCK else f"no {name} in the head"
        raise BadDataError(what, problem)
    start = at + BLOCK
    end = start + (size or 0)
    after = end + tarform.padding(size or 0)
    if after > len(raw) or raw[end:after].strip(b"\0"):
        raise BadDataError(what, f"{name} is cut off or badly padded")
    return raw[start:end], after


@dataclass(frozen=True, slots=True)
class Contents:
    """What the frames of an archive hold.

    Attributes:
        members: The objects, in the order of the tar stream.
        starts: Where each begins in the tar stream after the head, and as the last one where the end mark is.
        frames: The frames.
        what: The archive's name, for errors.
    """

    members: tuple[Member, ...]
    starts: tuple[int, ...]
    frames: tuple[Frame, ...]
    what: str

    @classmethod
    def of(cls, head: Head, members: Sequence[Member], *, size: int, what: object = "archive") -> Self:
        """Lay the manifest's objects over the frames.

        Args:
            head: Of the archive.
            members: The manifest's objects (see :func:`~.tarform.unique`).
            size: Of the whole archive, from the signed statement, in bytes.
            what: The archive's name, for errors.

        Raises:
            BadDataError: They do not fit.
        """
        starts = [0]
        for member in members:
            if member.size > tarform.MAX_MEMBER_BYTES:
                raise BadDataError(what, f"an object of {member.size} bytes can't be in an archive")
            starts.append(starts[-1] + member.span)
        total = starts[-1] + len(END_MARK)
        last = head.frames[-1]
        if last.end != total:
            raise BadDataError(
                what, "the frames do not hold the manifest's objects", expected=total, observed=last.end
            )
        if head.size + last.offset + last.size != size:
            raise BadDataError(
                what, "another size than stated", expected=size, observed=head.size + last.offset + last.size
            )
        found = cls(tuple(members), tuple(starts), head.frames, str(what))
        found._check_cuts()
        return found

    def _check_cuts(self) -> None:
        """Check that each frame holds whole objects, or a part of one only: so that it can be read alone."""
        total = self.starts[-1] + len(END_MARK)
        for frame in self.frames:
            first = self._at(frame.start)
            whole = self.starts[first] == frame.start
            ends = frame.end in (total, self.starts[self._at(frame.end)])
            inside = first < len(self.members) and frame.end <= self.starts[first + 1]
            if not (whole and ends) and not inside:
                raise BadDataError(self.what, f"the frame at {frame.offset} cuts through objects")

    def _at(self, position: int) -> int:
        """Return which member a position of the tar stream is in."""
        return bisect.bisect_right(self.starts, position) - 1

    def frames_with(self, wanted: Container[Member]) -> list[Frame]:
        """Return the frames that hold any of the objects ``wanted``, in order."""
        found: dict[int, Frame] = {}
        frame_starts = [frame.start for frame in self.frames]
        for at, member in enumerate(self.members):
            if member in wanted:
                first = bisect.bisect_right(frame_starts, self.starts[at]) - 1
                after = bisect.bisect_left(frame_starts, self.starts[at + 1])
                found |= {number: self.frames[number] for number in range(first, after)}
        return [found[number] for number in sorted(found)]


class Unpacker:
    """Takes compressed bytes in pieces of any size and hands on checked objects.

    Args:
        contents: Of the archive.
        sink: Gets every object of the frames, once its digest was compared.
        frames: Which frames the bytes are of, in order, one after the other; None: all of them.
    """

    def __init__(self, contents: Contents, sink: Sink, frames: Iterable[Frame] | None = None) -> None:
        self._contents = contents
        self._sink = sink
        self._frames = iter(contents.frames if frames is None else frames)
        self._frame = next(self._frames, None)
        self._buffer = bytearray()
        self._open: _OpenObject | None = None
        self._position = 0

    def feed(self, piece: bytes | memoryview) -> None:
        """Take the next bytes.

        Raises:
            BadDataError: They are not what the archive has to hold.
        """
        view = memoryview(piece)
        while view:
            if self._frame is None:
                raise BadDataError(self._contents.what, "more bytes than the archive has")
            lacking = self._frame.size - len(self._buffer)
            if not self._buffer and len(view) >= lacking:
                self._take(self._frame, view[:lacking])
            else:
                self._buffer += view[:lacking]
                if len(self._buffer) == self._frame.size:
                    data, self._buffer = self._buffer, bytearray()
                    self._take(self._frame, data)
            view = view[lacking:]

    def finish(self) -> None:
        """Say that there are no more bytes.

        Raises:
            BadDataError: Some are lacking.
        """
        if self._frame is not None:
            raise BadDataError(
                self._contents.what,
                "cut off",
                expected=f"{self._frame.size} bytes in its frame at {self._frame.offset}",
                observed=len(self._buffer),
            )

    def close(self) -> None:
        """Let go of what is half done; needed after an error."""
        if self._open:
            self._open.close()
            self._open = None

    def _take(self, frame: Frame, data: bytearray | memoryview) -> None:
        what = f"{self._contents.what} (frame at {frame.offset})"
        framing.check_digest(data, frame.digest, what)
        raw = memoryview(framing.decompress(data, framing.MAX_RAW_BYTES, what, size=frame.raw_size))
        number = bisect.bisect_right(self._contents.starts, frame.start) - 1
        if (frame.start != self._position) if self._open else (self._contents.starts[number] != frame.start):
            raise MisuseError("frames of an object were left out")
        self._position = frame.end
        complete = list(self._objects(number, raw))  # all of a frame is checked before any of it is handed on
        for finished in complete:
            with finished:
                self._sink(finished.member, finished.pieces())
        self._frame = next(self._frames, None)

    def _objects(self, number: int, raw: memoryview) -> Iterator[_OpenObject]:
        """Yield the objects that are complete at the end of a frame, beginning with the one of ``number``."""
        contents = self._contents
        at = 0
        while at < len(raw):
            if number == len(contents.members):
                if raw[at:] != END_MARK:
                    raise BadDataError(contents.what, "something follows the last object")
                return
            if self._open is None:
                self._open = _OpenObject(contents.members[number], contents.what)
            at += self._open.take(raw[at:])
            if self._open.complete:
                yield self._open
                self._open = None
                number += 1


class _OpenObject:
    """An object whose header, bytes and padding are coming in; a large one waits in an unnamed file.

    Args:
        member: What it has to be.
        what: The archive's name, for errors.
    """

    def __init__(self, member: Member, what: str) -> None:
        self.member = member
        self._what = what
        self._header = b""
        self._state = hashlib.sha256()
        self._left = member.size
        self._padding = tarform.padding(member.size)
        self._parts: list[memoryview] = []
        self._file: IO[bytes] | None = tempfile.TemporaryFile() if member.size > MEMORY_BYTES else None  # noqa: SIM115 - closed by close

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        if self._file:
            self._file.close()

    @property
    def complete(self) -> bool:
        """Whether all of it is there; what is complete was checked."""
        return len(self._header) == BLOCK and not self._left and not self._padding

    def take(self, raw: memoryview) -> int:
        """Take what is its own from the start of ``raw``, and return how many bytes that was.

        Raises:
            BadDataError: They are not what they have to be.
        """
        at = 0
        if len(self._header) < BLOCK:
            at = min(BLOCK - len(self._header), len(raw))
            self._header += bytes(raw[:at])
            if len(self._header) == BLOCK and self._header != self.member.header:
                raise BadDataError(self._what, tarform.explain(self._header, self.member.header))
        content = raw[at : at + self._left]
        self._keep(content)
        self._left -= len(content)
        if not self._left and content and self._state.hexdigest() != self.member.digest:
            raise BadDataError(
                self._what, "wrong bytes", expected=self.member.digest, observed=self._state.hexdigest()
            )
        at += len(content)
        zeros = raw[at : at + self._padding] if not self._left else raw[:0]
        if bytes(zeros).strip(b"\0"):
            raise BadDataError(self._what, f"{self.member.name} is badly padded")
        self._padding -= len(zeros)
        return at + len(zeros)

    def pieces(self) -> Iterator[memoryview | bytes]:
        """Yield its bytes, once."""
        if self._file is None:
            yield from self._parts
            return
        self._file.seek(0)
        while piece := self._file.read(READ_BYTES):
            yield piece

    def _keep(self, content: memoryview) -> None:
        self._state.update(content)
        if self._file:
            self._file.write(content)
        elif content:
            self._parts.append(content)
