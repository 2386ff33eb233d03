"""Fetching snapshots into the store without installing anything: for packages, or for what a switch holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from opambin import gather, request
from opambin.context import open_context
from opambin.door.decision import decide
from opambin.errors import MisuseError, UnavailableError
from opambin.exchange import downloads, planning
from opambin.exchange.downloads import Pulled
from opambin.exchange.opening import open_shelf
from opambin.model import Package, PackageName
from opambin.opam.client import PlanFailed
from opambin.remotes_config import configured

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opambin.context import Context
    from opambin.exchange.catalogue import Offer
    from opambin.exchange.meter import Meter
    from opambin.exchange.shelf import Shelf


@dataclass(frozen=True, slots=True)
class Answer:
    """What a pull found and did.

    Attributes:
        shelf: The store and the remotes.
        pulled: What was fetched.
        here: Packages whose snapshots were in the store already.
        nowhere: Packages without one, with the reasons.
    """

    shelf: Shelf
    pulled: Pulled
    here: tuple[str, ...]
    nowhere: Mapping[str, str]


def pull(
    names: Sequence[str],
    switch: str | None,
    environ: Mapping[str, str],
    meter: Meter,
    *,
    dry_run: bool = False,
) -> Answer:
    """Fetch what the installation of packages would fetch; without names, what the switch holds.

    Args:
        names: Packages, as one gives them to ``opam install``.
        switch: The switch; None for the current one.
        environ: The environment.
        meter: Shown the progress.
        dry_run: Fetch nothing; what would be fetched counts as such.

    Raises:
        MisuseError: opam could not install the packages.
        OpambinError: No opam, no such switch, no store, no remote, or remotes that are configured wrongly.
    """
    context = open_context(environ, switch)
    context.need_store()
    shelf = open_shelf(context)
    if not shelf.catalogues:
        configured(environ)  # what is wrong with the file is an error of its own
        why = "remotes are switched off (offline)" if context.config.offline else "; ".join(shelf.faults)
        raise UnavailableError(why or "no remote is configured: see opam-bin remote add")
    installed = context.switch.state().installed
    there = [PackageName(name) for name in names if PackageName(name) in installed]
    new = [name for name in names if PackageName(name) not in installed]
    offers, here, nowhere = _installed(context, shelf, there if names else list(installed))
    if new:
        more = _planned(context, shelf, new)
        offers, here, nowhere = [*offers, *more[0]], [*here, *more[1]], {**nowhere, **more[2]}
    pulled = downloads.pull(shelf.store, offers, meter) if offers and not dry_run else Pulled()
    if dry_run:
        pulled.manifests = [offer.manifest for offer in offers]
        pulled.bytes = sum(offer.size for offer in offers)
    return Answer(shelf, pulled, tuple(here), nowhere)


_Found = tuple[list["Offer"], list[str], dict[str, str]]


def _planned(context: Context, shelf: Shelf, names: Sequence[str]) -> _Found:
    plan = context.opam.plan(["install", *names])
    if isinstance(plan, PlanFailed):
        words = plan.stderr.strip() or plan.stdout.strip()
        raise MisuseError(f"opam can't install {' '.join(names)}: {words}")
    decision = decide(context, request.parse(names, context.environ), plan, shelf=shelf)
    offers = planning.offers(decision.items, shelf)
    away = {offer.manifest.package for offer in offers}
    here = [str(it.package) for it in decision.items if it.manifest is not None and it.package not in away]
    return offers, here, {str(it.package): it.reason for it in decision.items if it.reason}


def _installed(context: Context, shelf: Shelf, names: Sequence[PackageName]) -> _Found:
    """Look for the snapshots of installed packages: of the output that is on record, or of any."""
    installed = context.switch.state().installed
    if not names:
        return [], [], {}
    definitions = gather.Definitions(context, [])
    files = [definitions.file(Package(name, version)) for name, version in installed.items()]
    around = gather.surroundings(context, files)
    universe = gather.universe(context, installed, definitions, request.parse([], {}), around)
    keys = {name: universe.key(name) for name in names}
    shelf.look([keyed.key for keyed in keys.values() if keyed.key is not None])
    offers, here, nowhere = [], [], {}
    for name, keyed in keys.items():
        package = str(Package(name, installed[name]))
        record = context.record(name, installed[name])
        outputs = shelf.outputs(keyed.key) if keyed.key is not None else ()
        wanted = [it for it in outputs if record is not None and it.output == record.output] or outputs
        if not wanted:
            nowhere[package] = keyed.reason or "no snapshot has its key"
            continue
        offer = shelf.offer(wanted[0])
        if offer is not None:
            offers.append(offer)
        else:
            here.append(package)
    return offers, here, nowhere
