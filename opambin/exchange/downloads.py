"""From remotes into the store: several archives at once, the largest first.

Rules:

* Every byte is checked before it is used: frames against the signed head, objects against the manifest.
* Objects that are in the store already are not written again; where that leaves out enough, only the frames
  that hold the others are fetched.
* A snapshot appears in the store when all of its objects are there. What fails leaves only objects that gc
  removes.
* One failed snapshot does not stop the others. A remote that does not answer is not asked for the rest.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from opambin import summary
from opambin.archive.reader import Contents, Unpacker
from opambin.archive.tarform import unique
from opambin.errors import BadDataError, OpambinError, UnavailableError
from opambin.remote.protocol import Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from opambin.archive.frames import Frame
    from opambin.archive.tarform import Member
    from opambin.exchange.catalogue import Offer
    from opambin.exchange.meter import Meter
    from opambin.model import Manifest
    from opambin.store.store import Store

AT_ONCE = 4
WORTH_SAVING = 200_000
"""Bytes that single frames must save before they are asked for one by one: each costs a round trip."""
SLOW_AFTER = 15.0  # seconds that a transfer may begin slowly
SLOWEST = 4_000  # bytes per second; what is slower would be built before it is here


@dataclass(slots=True)
class Pulled:
    """What a pull did.

    Attributes:
        manifests: What is in the store now.
        failed: What could not be had, with the reasons.
        problems: Wrong data, one sentence each.
        sources: Names of the remotes that sent something.
        bytes: What was transferred.
        seconds: How long it took.
    """

    manifests: list[Manifest] = field(default_factory=list)
    failed: list[tuple[Offer, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    sources: set[str] = field(default_factory=set)
    bytes: int = 0
    seconds: float = 0.0

    def lines(self) -> list[str]:
        """Sum up for people."""
        found = []
        if self.manifests:
            rate = summary.data_size(self.bytes / max(self.seconds, 0.001))
            count = f"{len(self.manifests)} snapshot{'s' if len(self.manifests) > 1 else ''}"
            found.append(
                f"opam-bin: {count} fetched from {', '.join(sorted(self.sources)) or 'remotes'}"
                f" ({summary.data_size(self.bytes)} in {summary.duration(self.seconds)}, {rate}/s)"
            )
        found += [f"opam-bin: {problem}" for problem in self.problems]
        reasons: dict[tuple[str, str], list[str]] = {}
        for offer, reason in self.failed:
            reasons.setdefault((offer.source.label, reason), []).append(str(offer.manifest.package))
        for (label, reason), packages in reasons.items():
            found.append(f"opam-bin: not fetched from {label}: {summary.names(packages)}: {reason}")
        return found


def pull(store: Store, offers: Iterable[Offer], meter: Meter) -> Pulled:
    """Fetch snapshots into the store.

    Args:
        store: Where they go.
        offers: What to fetch.
        meter: Shown the progress.

    Returns:
        What was fetched, and what failed and why.
    """
    from concurrent.futures import ThreadPoolExecutor

    wanted = sorted(offers, key=lambda offer: -offer.size)
    pulled = Pulled()
    begun = time.monotonic()
    try:
        store.staging.refuse_if_readonly()
    except UnavailableError as error:
        pulled.failed = [(offer, str(error)) for offer in wanted]
        return pulled
    meter.begin("fetching", len(wanted), sum(offer.size for offer in wanted))
    try:
        with store.writing(), ThreadPoolExecutor(min(AT_ONCE, max(1, len(wanted)))) as pool:
            try:
                for offer, size in zip(
                    wanted, pool.map(lambda it: _try(store, it, meter, pulled), wanted), strict=True
                ):
                    pulled.bytes += size
                    if size:
                        pulled.sources.add(offer.source.name)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        meter.finish()
    pulled.seconds = time.monotonic() - begun
    return pulled


def _try(store: Store, offer: Offer, meter: Meter, pulled: Pulled) -> int:
    """Fetch one snapshot; returns how many bytes came."""
    transfer = _Transfer(store, offer, meter)
    try:
        if offer.source.silent:
            raise UnavailableError(offer.source.silent)
        transfer.run()
        store.add(offer.manifest)
    except BadDataError as error:
        pulled.problems.append(f"{offer.source.label}: {error}")
        pulled.failed.append((offer, "what it sent is not what was signed"))
    except UnavailableError as error:
        if transfer.remote_failed:
            offer.source.silent = offer.source.silent or str(error)
        pulled.failed.append((offer, str(error)))
    except OpambinError as error:
        pulled.failed.append((offer, str(error)))
    else:
        pulled.manifests.append(offer.manifest)
    return transfer.received


class _Transfer:
    """One archive, on its way."""

    def __init__(self, store: Store, offer: Offer, meter: Meter) -> None:
        self._store = store
        self._offer = offer
        self._meter = meter
        self._begun = time.monotonic()
        self.received = 0
        self.remote_failed = False

    def run(self) -> None:
        """Fetch what is lacking and put the objects into the store.

        Raises:
            OpambinError: It can't be had, is not what was signed, or can't be stored.
        """
        offer = self._offer
        members = unique(offer.manifest.objects)
        contents = Contents.of(
            offer.head,
            members,
            size=offer.statement.archive.size,
            what=f"archive of {offer.manifest.package}",
        )
        lacking = {member for member in members if not self._present(member)}
        if not lacking:
            self._meter.advance(offer.size)
            return
        frames = contents.frames_with(lacking)
        if sum(frame.size for frame in frames) + WORTH_SAVING < offer.size - offer.head.size:
            self._parts(contents, frames)
        else:
            self._whole(contents)

    def _present(self, member: Member) -> bool:
        return self._store.objects.has(member.digest, executable=member.executable, size=member.size)

    def _whole(self, contents: Contents) -> None:
        unpacker = Unpacker(contents, self._keep)
        skip = self._offer.head.size  # it came before, and was checked

        def take(piece: bytes) -> None:
            nonlocal skip
            self._count(len(piece))
            dropped = min(skip, len(piece))
            skip -= dropped
            if len(piece) > dropped:
                unpacker.feed(memoryview(piece)[dropped:])

        try:
            if not self._fetch(take):
                raise UnavailableError("its archive is not there")
            unpacker.finish()
        finally:
            unpacker.close()

    def _fetch(self, take: object) -> bool:
        try:
            return self._offer.source.remote.fetch(self._offer.name, take, size=self._offer.size)  # type: ignore[arg-type]
        except UnavailableError:
            self.remote_failed = True
            raise

    def _parts(self, contents: Contents, frames: Sequence[Frame]) -> None:
        unpacker = Unpacker(contents, self._keep, frames)
        self._meter.advance(self._offer.size - sum(frame.size for frame in frames))
        try:
            for start, length in joined(frames):
                span = Span(self._offer.head.size + start, length)
                try:
                    data = self._offer.source.remote.get(self._offer.name, limit=length, span=span)
                except UnavailableError:
                    self.remote_failed = True
                    raise
                if data is None:
                    raise UnavailableError("its archive is not there")
                self._count(len(data))
                unpacker.feed(data)
            unpacker.finish()
        finally:
            unpacker.close()

    def _count(self, size: int) -> None:
        self.received += size
        self._meter.advance(size)
        elapsed = time.monotonic() - self._begun
        if elapsed > SLOW_AFTER and self.received < elapsed * SLOWEST:
            self.remote_failed = True
            raise UnavailableError(f"it sends less than {summary.data_size(SLOWEST)} in a second")

    def _keep(self, member: Member, pieces: Iterable[bytes | memoryview]) -> None:
        """Put a checked object into the store."""
        parts = list(pieces)
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        self._store.objects.put_known(data, member.digest, executable=member.executable)


def joined(frames: Sequence[Frame]) -> list[tuple[int, int]]:
    """Return offset and length of the runs that neighbouring frames make, in bytes."""
    runs: list[tuple[int, int]] = []
    for frame in frames:
        if runs and sum(runs[-1]) == frame.offset:
            runs[-1] = (runs[-1][0], runs[-1][1] + frame.size)
        else:
            runs.append((frame.offset, frame.size))
    return runs
