"""Verify a published repository from outside, with a memory of what it was before."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from opambin.errors import MisuseError
from opambin.publish.signed.anchors import Anchors, anchored_root, root_fingerprints, roots
from opambin.publish.signed.checking import Checked, check
from opambin.publish.signed.client import Trusted, refresh
from opambin.publish.signed.memory import Memory
from opambin.publish.signed.profile import FOLDER, MAX_TIMESTAMP_BYTES
from opambin.publish.signed.refusals import Kind, RefusedError
from opambin.publish.signed.sources import TooLongError, read

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from opambin.publish.signed.sources import Source

Answer = TypeVar("Answer")

ATTEMPTS = 3
PAUSE_SECONDS = 2  # while a publication is being written
_PASSING = {Kind.TAMPERED, Kind.MIXED, Kind.INCOMPLETE}


@dataclass(frozen=True, slots=True)
class Start:
    """Where trust begins, the first time; later it is remembered.

    Attributes:
        root: The bytes of a root that the user got from elsewhere.
        anchors: Keys that the user trusts.
    """

    root: bytes | None = None
    anchors: Anchors | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """A repository that verifies.

    Attributes:
        trusted: What it holds.
        checked: What was compared.
    """

    trusted: Trusted
    checked: Checked


def verify(
    source: Source, states: Path, start: Start, *, quick: bool = False, partial: bool = False
) -> Verified:
    """Verify a repository.

    Args:
        source: The repository.
        states: Where states of repositories are remembered.
        start: Where trust begins.
        quick: Only the definitions; archives and pages are not fetched.
        partial: It is a copy of a part.

    Raises:
        RefusedError: It does not verify.
        UnavailableError: It can't be reached.
        MisuseError: It is seen for the first time, and nothing is there to begin trust with.
    """
    with Memory(states, source.name, source.name) as memory:

        def look() -> Verified:
            trusted = trust(source, memory, start)
            return Verified(trusted, check(source, trusted, quick=quick, partial=partial))

        return patiently(source, look)


def patiently(source: Source, look: Callable[[], Answer]) -> Answer:
    """Look at a repository, and look anew when it was refused while a publication was being written.

    That may look like an attack; what tells them apart is that the timestamp has changed since.

    Raises:
        RefusedError: It does not verify.
    """
    for _ in range(ATTEMPTS - 1):
        seen = _glimpse(source)
        try:
            return look()
        except RefusedError as error:
            if error.kind not in _PASSING or _glimpse(source) == seen:
                raise
        time.sleep(PAUSE_SECONDS)
    return look()


def trust(source: Source, memory: Memory, start: Start) -> Trusted:
    """Return what a repository holds, on the word of keys in which trust began.

    Raises:
        RefusedError: It does not verify.
        UnavailableError: It can't be reached.
        MisuseError: Nothing is there to begin trust with.
    """
    if start.root is not None:
        return refresh(source, memory.folder, start.root)
    if start.anchors is not None:
        return refresh(source, memory.folder, anchored_root(source, start.anchors))
    if memory.has_root():
        return refresh(source, memory.folder, None)
    first = next(roots(source), None)
    if first is None:
        raise RefusedError(Kind.UNSIGNED, source.name, "it is not signed, or not by opam-bin")
    prints, quorum = root_fingerprints(first, source.name)
    shown = " ".join(f"--anchor {it}" for it in prints)
    raise MisuseError(
        f"{source.name} is seen for the first time, and nothing says that its keys are the right ones. "
        f"Give the publisher's root with --root FILE, or the fingerprints of the root keys; it claims: "
        f"{shown} --quorum {quorum} (compare with what the publisher has told elsewhere)"
    )


def _glimpse(source: Source) -> bytes | None:
    """Return the timestamp as it is served, only to see whether it changes."""
    try:
        return read(source, f"{FOLDER}/timestamp.json", MAX_TIMESTAMP_BYTES)
    except TooLongError:
        return None
