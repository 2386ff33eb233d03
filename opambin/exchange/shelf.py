"""The store and the remotes as one shelf: what is here comes first, then the remotes by priority.

A plan asks for all its keys at once (:meth:`Shelf.look`); each remote is asked in a thread of its own, and
one that is too slow is left behind. Without remotes nothing of this costs anything.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from opambin import summary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from opambin.exchange.catalogue import Catalogue, Offer
    from opambin.exchange.memory import Memory
    from opambin.exchange.sources import Source
    from opambin.model import ConeKey, Manifest, OutputId
    from opambin.store.store import Store

PATIENCE = 20.0  # seconds that a remote may take for all the keys of a plan


@dataclass(slots=True)
class Shelf:
    """Where the snapshots of a plan come from.

    Attributes:
        store: The local store.
        catalogues: One for each remote, the preferred one first.
        faults: Why remotes that are configured can't be asked at all.
    """

    store: Store
    catalogues: Sequence[Catalogue] = ()
    faults: list[str] = field(default_factory=list)
    _rejected: dict[tuple[ConeKey, OutputId], str] = field(default_factory=dict)
    _local: dict[ConeKey, list[Manifest]] = field(default_factory=dict)

    @classmethod
    def over(
        cls, store: Store, sources: Iterable[Source], memory: Memory, environ: Mapping[str, str]
    ) -> Shelf:
        """Put a store and remotes together; nothing is asked yet.

        Args:
            store: The store.
            sources: The remotes, the preferred one first.
            memory: What they said before.
            environ: Says where is kept what was seen of remotes.
        """
        from opambin.exchange.catalogue import Catalogue

        now = time.time()
        sources = list(sources)
        for source in sources:
            source.silent = source.silent or memory.silent(source.url)
        return cls(store, [Catalogue(source, memory, now, environ) for source in sources])

    def look(self, keys: Iterable[ConeKey]) -> None:
        """Ask the remotes about those keys that the store has nothing for."""
        if self.catalogues:
            missing = [key for key in dict.fromkeys(keys) if not self._here(key)]
            if missing:
                self._each(lambda catalogue: catalogue.look(missing))

    def look_again(self, keys: Iterable[ConeKey]) -> bool:
        """Ask the remotes for other outputs than those that are known; tells whether there are any."""
        if not self.catalogues:
            return False
        wanted = list(dict.fromkeys(keys))
        before = sum(len(self._offers(key)) for key in wanted)
        self._each(lambda catalogue: catalogue.look_deeper(wanted))
        return sum(len(self._offers(key)) for key in wanted) > before

    def outputs(self, key: ConeKey) -> Sequence[Manifest]:
        """Return the snapshots of a key, those that are here first."""
        here = self._here(key)
        if not self.catalogues:
            return here
        known = {manifest.output for manifest in here}
        found = list(here)
        for offer in self._offers(key):
            if offer.manifest.output not in known:
                known.add(offer.manifest.output)
                found.append(offer.manifest)
        return found

    def offer(self, manifest: Manifest) -> Offer | None:
        """Return where to get a snapshot; None when it is here, or nowhere."""
        if any(found.output == manifest.output for found in self._here(manifest.key)):
            return None
        offers = self._offers(manifest.key)
        return next((offer for offer in offers if offer.manifest.output == manifest.output), None)

    def reject(self, manifest: Manifest, reason: str) -> None:
        """Leave a snapshot of a remote out from now on, and ask anew the next time."""
        for catalogue in self.catalogues:
            catalogue.forget(manifest.key)
        self._rejected[manifest.key, manifest.output] = reason

    def rejection(self, key: ConeKey) -> str:
        """Say why a snapshot of a key was left out; empty when none was."""
        return next((reason for (of, _), reason in self._rejected.items() if of == key), "")

    def arrived(self, manifests: Iterable[Manifest]) -> None:
        """Note that snapshots are in the store now."""
        for manifest in manifests:
            self._local.pop(manifest.key, None)

    def lines(self) -> list[str]:
        """Say what people should know: remotes that are silent, what is not trusted, what is wrong."""
        found = [f"opam-bin: {fault}" for fault in self.faults]
        for catalogue in self.catalogues:
            label = catalogue.source.label
            if catalogue.source.silent:
                found.append(f"opam-bin: going on without {label}: {catalogue.source.silent}")
            for reason, packages in sorted(catalogue.untrusted.items()):
                shown = summary.names(sorted(packages))
                found.append(f"opam-bin: not taken from {label}: {shown}: {reason}")
        return found

    def problems(self) -> list[str]:
        """Return the wrong data that remotes sent, one sentence each."""
        return [problem for catalogue in self.catalogues for problem in dict.fromkeys(catalogue.problems)]

    def _here(self, key: ConeKey) -> list[Manifest]:
        found = self._local.get(key)
        if found is None:
            found = self._local[key] = self.store.outputs(key)
        return found

    def _offers(self, key: ConeKey) -> list[Offer]:
        return [
            offer
            for catalogue in self.catalogues
            for offer in catalogue.offers.get(key, ())
            if (key, offer.manifest.output) not in self._rejected
        ]

    def _each(self, action: Callable[[Catalogue], object]) -> None:
        """Run an action on every remote that answers, each in its own thread."""
        answering = [catalogue for catalogue in self.catalogues if not catalogue.source.silent]
        threads = []
        for catalogue in answering:
            thread = threading.Thread(target=action, args=(catalogue,), daemon=True)
            thread.start()
            threads.append((thread, catalogue))
        deadline = time.monotonic() + PATIENCE
        for thread, catalogue in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                catalogue.give_up(f"no answer within {PATIENCE:.0f} s")
