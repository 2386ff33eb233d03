"""What every remote can do: keep bytes under names.

A name is a relative path of plain ASCII (``keys/ab/abcd…/0``); it has no empty part, none that begins with a
dot or a hyphen, and no character outside ``[A-Za-z0-9._/-]``. What the bytes mean is none of a remote's
business, and nothing that comes from one is to be trusted.

Rules that every remote keeps:

* what was put is visible only when it is complete;
* no read is longer than the limit that the caller gives;
* "it is not there" is an answer (None, False), every other fault is an :class:`UnavailableError`, or a
  :class:`BadDataError` when the remote says something that can't be.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from opambin.errors import BadDataError, MisuseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")
FORMAT_NAME = "opam-bin-remote"
FORMAT = b"opam-bin remote 1\n"  # what is under that name in every remote that somebody wrote to
UNKNOWN_TIME = math.inf  # later than all others: what may be young is no garbage
MAX_FORMAT_BYTES = 1_000
MAX_NAME_BYTES = 120  # a tag of a registry has 128 characters at most


def check_name(name: str) -> str:
    """Return ``name`` when it is one.

    Raises:
        MisuseError: It is not.
    """
    if len(name) > MAX_NAME_BYTES or not _NAME.fullmatch(name):
        raise MisuseError(f"not a name in a remote: {name!r:.200}")
    return name


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that a remote holds.

    Attributes:
        name: Its name.
        size: In bytes.
        modified: When it was written, in seconds since 1970; :data:`UNKNOWN_TIME` where nobody knows.
    """

    name: str
    size: int
    modified: float


@dataclass(frozen=True, slots=True)
class Span:
    """A part of what a name holds.

    Attributes:
        start: First byte.
        length: In bytes; None: to the end.
    """

    start: int = 0
    length: int | None = None


class Answers(dict[str, bytes | None]):
    """What a batch of reads gave, by name.

    Attributes:
        faults: What was wrong with single names (too long, for one); their answer is None.
    """

    __slots__ = ("faults",)

    def __init__(self) -> None:
        super().__init__()
        self.faults: dict[str, BadDataError] = {}


class Remote(Protocol):
    """One remote. Its methods may be called from several threads at once."""

    @property
    def url(self) -> str:
        """Where it is, without secrets, for people."""

    def get(self, name: str, *, limit: int, span: Span | None = None) -> bytes | None:
        """Return what ``name`` holds, or a part of it; None when it is not there.

        Args:
            name: What to read.
            limit: The most bytes that the answer may have; more is a :class:`BadDataError`.
            span: A part of it. Where the remote can't give parts, what precedes is read and dropped.
        """

    def get_many(self, names: Iterable[str], *, limit: int) -> Answers:
        """Return what many names hold, asked for in one batch over few connections.

        An answer for each name; what is wrong with single ones is in the answers' ``faults``. The first
        failure that concerns the remote ends the batch.
        """

    def fetch(self, name: str, into: Callable[[bytes], object], *, size: int) -> bool:
        """Hand what ``name`` holds to ``into``, piece by piece; resumed and retried where it breaks off.

        Args:
            name: What to read.
            into: Called with each piece, in order, no byte twice.
            size: How long it has to be, in bytes; anything else is a :class:`BadDataError`.

        Returns:
            False when it is not there.
        """

    def put(self, name: str, data: bytes | Path, *, replace: bool = False) -> bool:
        """Store bytes, or the content of a file.

        Args:
            name: Where.
            data: What.
            replace: Whether something that is there already gives way.

        Returns:
            False when it was there already and was left as it is.
        """

    def entries(self, folder: str) -> Iterator[Entry]:
        """Yield everything whose name begins with ``folder/``; everything there is for an empty ``folder``.

        Raises:
            UnavailableError: This kind of remote can't list.
        """

    def remove(self, name: str) -> None:
        """Remove a name; a missing one is no error."""

    def close(self) -> None:
        """Let go of connections."""
