"""Bundles: one file with everything for a closure, laid out as a remote, for a machine without network."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opambin.errors import BadDataError, UnavailableError
from opambin.exchange import names
from opambin.exchange.sources import Source
from opambin.exchange.uploads import push
from opambin.remote.bundle import BundleRemote, BundleWriter
from opambin.remote.protocol import Answers
from opambin.trust.policy import Mode, Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from opambin.exchange.meter import Meter
    from opambin.exchange.signing import Signer
    from opambin.exchange.uploads import Pushed
    from opambin.model import Manifest
    from opambin.remote.protocol import Entry, Span
    from opambin.store.store import Store

LISTING = "bundle.json"
MAX_LISTING_BYTES = 1_000_000
_ATOM = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_+-]*\.[A-Za-z0-9_+.~-]+")  # never what opam takes for an option


@dataclass(frozen=True, slots=True)
class Contents:
    """What goes into a bundle.

    Attributes:
        manifests: Snapshots, dependencies first.
        named: What was asked for, as ``NAME.VERSION``: what an installation of the bundle installs.
    """

    manifests: tuple[Manifest, ...]
    named: tuple[str, ...]


def create(store: Store, path: Path, contents: Contents, signer: Signer, meter: Meter) -> Pushed:
    """Write a bundle.

    Args:
        store: Where the snapshots are.
        path: The file; it appears when it is whole.
        contents: What goes in.
        signer: Signs the statements.
        meter: Shown the progress.

    Raises:
        OpambinError: It can't be written, or a snapshot can't be packed: then there is no bundle.
    """
    with BundleWriter(path) as writer:
        sink = _Sink(writer, path)
        sink.put(LISTING, json.dumps({"packages": sorted(contents.named)}).encode("ascii"))
        source = Source(path.name, sink, Policy(Mode.UNSIGNED), write=True)
        done = push(store, contents.manifests, source, signer, meter)
        if done.failed:
            package, reason = next(iter(done.failed.items()))
            raise UnavailableError(f"no bundle was written: {package}: {reason}")
    return done


def listed(path: Path) -> list[str]:
    """Return what an installation of a bundle installs, as ``NAME.VERSION``; nobody has signed it.

    Raises:
        BadDataError: It is no bundle, or the list is none.
        UnavailableError: It can't be read.
    """
    data = BundleRemote(path).get(LISTING, limit=MAX_LISTING_BYTES)
    try:
        content = json.loads(data or b"{}")
    except (ValueError, RecursionError) as error:
        raise BadDataError(path, f"{LISTING} is no JSON") from error
    found = content.get("packages", []) if isinstance(content, dict) else None
    if not isinstance(found, list) or not all(isinstance(it, str) and _ATOM.fullmatch(it) for it in found):
        raise BadDataError(path, f"{LISTING} is no list of packages")
    return found


class _Sink:
    """A bundle that is being written, as a remote that has nothing yet."""

    def __init__(self, writer: BundleWriter, path: Path) -> None:
        self._writer = writer
        self._lock = threading.Lock()
        self.url = f"bundle:{path}"

    def get(self, name: str, *, limit: int, span: Span | None = None) -> bytes | None:  # noqa: ARG002 - a remote's
        """Say that it is not there."""
        return None

    def get_many(self, names: Iterable[str], *, limit: int) -> Answers:  # noqa: ARG002 - same
        """Say that nothing is there."""
        answers = Answers()
        answers.update(dict.fromkeys(names))
        return answers

    def fetch(self, name: str, into: object, *, size: int) -> bool:  # noqa: ARG002 - same
        """Say that it is not there."""
        return False

    def put(self, name: str, data: bytes | Path, *, replace: bool = False) -> bool:  # noqa: ARG002 - same
        """Append to the bundle."""
        with self._lock:
            return self._writer.add(name, data)

    def entries(self, folder: str) -> Iterator[Entry]:  # noqa: ARG002 - same
        """Yield nothing."""
        return iter(())

    def remove(self, name: str) -> None:
        """Refuse: what was written stays."""
        raise UnavailableError(f"{self.url}: {name} can't be removed")

    def close(self) -> None:
        """Do nothing."""


def rewrite(path: Path, change: Callable[[str, bytes], bytes | None]) -> int:
    """Write a bundle anew with its statements changed; returns how many were.

    Args:
        path: The bundle.
        change: Called with the name and the bytes of each slot; returns new bytes, or None to leave it.

    Raises:
        OpambinError: It is no bundle, or can't be written; it is as it was.
    """
    before = BundleRemote(path)
    count = 0
    try:
        with BundleWriter(path) as writer:
            for entry in list(before.entries("")):
                data = before.get(entry.name, limit=entry.size) or b""
                new = change(entry.name, data) if names.slot_of(entry.name) else None
                count += new is not None
                writer.add(entry.name, data if new is None else new)
    finally:
        before.close()
    return count
