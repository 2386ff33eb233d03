"""A plan over a shelf with remotes: ask for everything at once, then choose one set that fits together.

What is in the store comes first. Where that leaves packages out because the outputs do not fit to each other
(a compiler built here, libraries built elsewhere), remotes are asked for further outputs, and a plan that
prefers what they have is made beside it: the one that restores more wins.
"""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from opambin.frozen import dataclass
from opambin.opam import fields
from opambin.plan import Item, Verdict, is_check, make_plan

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from opambin.exchange.catalogue import Offer
    from opambin.exchange.shelf import Shelf
    from opambin.model import ConeKey, Manifest, Package
    from opambin.plan import Site
    from opambin.universe import Universe


def plan(universe: Universe, packages: Sequence[Package], shelf: Shelf, site: Site) -> list[Item]:
    """Decide on every package, as :func:`opambin.plan.make_plan` does, over store and remotes.

    Args:
        universe: The final set.
        packages: What is to be installed, dependencies first.
        shelf: The store and the remotes.
        site: Where it goes.
    """
    if not shelf.catalogues:
        return make_plan(universe, packages, shelf, site)
    keys = _keys(universe, packages, site)
    shelf.look(keys)
    items = make_plan(universe, packages, shelf, site)
    unfit = _unfit(items, shelf)
    if unfit:
        if shelf.look_again(unfit):
            items = make_plan(universe, packages, shelf, site)
        if _unfit(items, shelf):
            shelf.look_again(keys)  # what is below them is here, but may have to be the remote's
            other = make_plan(universe, packages, _RemotesFirst(shelf), site)
            if _restored(other) > _restored(items):
                items = other
    return [_explained(item, shelf) for item in items]


def _explained(item: Item, shelf: Shelf) -> Item:
    """Say why a snapshot is a miss that a remote has, but that could not be fetched."""
    if item.verdict is not Verdict.MISS or item.keyed is None or item.keyed.key is None:
        return item
    reason = shelf.rejection(item.keyed.key)
    return replace(item, reason=f"its snapshot could not be fetched: {reason}") if reason else item


def offers(items: Iterable[Item], shelf: Shelf) -> list[Offer]:
    """Return what has to be fetched before a plan can be carried out."""
    wanted = [item.manifest for item in items if item.verdict in (Verdict.HIT, Verdict.CHECK)]
    found = [shelf.offer(manifest) for manifest in wanted if manifest is not None]
    return [offer for offer in found if offer is not None]


def _keys(universe: Universe, packages: Iterable[Package], site: Site) -> list[ConeKey]:
    """Return the keys that the store and the remotes are asked for."""
    found = []
    for package in packages:
        node = universe.node(package.name)
        if any(fnmatchcase(package.name, glob) for glob in site.exclude):
            continue
        if is_check(node) and not fields.extra_files(node.file):
            continue
        keyed = universe.key(package.name)
        if keyed.key is not None:
            found.append(keyed.key)
    return found


def _unfit(items: Iterable[Item], shelf: Shelf) -> list[ConeKey]:
    """Return the keys that have outputs, none of which fits."""
    return [
        item.keyed.key
        for item in items
        if item.verdict is Verdict.MISS
        and item.keyed is not None
        and item.keyed.key is not None
        and shelf.outputs(item.keyed.key)
    ]


def _restored(items: Iterable[Item]) -> tuple[int, float]:
    hits = [item for item in items if item.verdict in (Verdict.HIT, Verdict.CHECK)]
    return len(hits), sum(item.manifest.build.seconds for item in hits if item.manifest is not None)


@dataclass(frozen=True, slots=True)
class _RemotesFirst:
    """The same shelf, asked in the other order."""

    shelf: Shelf

    def outputs(self, key: ConeKey) -> Sequence[Manifest]:
        """Return the snapshots of a key, those of remotes first."""
        found = self.shelf.outputs(key)
        return sorted(found, key=lambda manifest: self.shelf.offer(manifest) is None)
