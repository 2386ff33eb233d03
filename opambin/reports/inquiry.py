"""Questions about packages, without changing anything: their keys, and whether they would be restored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from opambin import cone, gather, request
from opambin.context import open_context
from opambin.door.decision import decide
from opambin.errors import MisuseError
from opambin.fitting import refusal
from opambin.model import Package, PackageName
from opambin.opam.client import PlanFailed
from opambin.placement import placing
from opambin.plan import Verdict
from opambin.session.start import site_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opambin.context import Context
    from opambin.exchange.shelf import Shelf
    from opambin.exchange.sources import Source
    from opambin.model import Manifest
    from opambin.plan import Item
    from opambin.surroundings import Keyed

_CLOSEST = 5
"""How many snapshots of other keys are compared, the newest first."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of one package.

    Attributes:
        package: Name and version.
        installed: Whether it is in the switch.
        keyed: Its key as computed now, with its inputs.
        recorded: The key it was installed under, when that is on record and differs.
        item: What a plan decides, for packages that are not installed.
        outputs: The snapshots of its key.
        refusals: Why each of them can't be restored here; empty texts for those which can.
        closest: For a miss, what differs from the closest snapshot of another key.
        compared: That snapshot's package.
        origins: For each of the outputs, the remote that has it; None for those in the store.
    """

    package: Package
    installed: bool
    keyed: Keyed
    recorded: str = ""
    item: Item | None = None
    outputs: tuple[Manifest, ...] = ()
    refusals: tuple[str, ...] = ()
    closest: tuple[str, ...] = ()
    compared: str = ""
    origins: tuple[Source | None, ...] = ()


def ask(names: Sequence[str], switch: str | None, environ: Mapping[str, str]) -> tuple[Context, list[Answer]]:
    """Look packages up: installed ones as they are, others as opam would install them.

    Args:
        names: Packages, as one gives them to ``opam install``.
        switch: The switch; None for the current one.
        environ: The environment.

    Raises:
        MisuseError: opam knows no such package, or could not install it.
        OpambinError: No opam, no such switch, ….
    """
    context = open_context(environ, switch)
    installed = context.switch.state().installed
    missing = [name for name in names if PackageName(name) not in installed]
    found: dict[str, Answer] = {}
    here = [PackageName(name) for name in names if PackageName(name) in installed]
    if here:
        found.update(_installed(context, here))
    if missing:
        found.update(_planned(context, missing, environ))
    order = {str(answer.package.name): key for key, answer in found.items()}
    wanted = [order[name] for name in (_bare(name) for name in names) if name in order]
    return context, [found[key] for key in dict.fromkeys(wanted)]


def _bare(name: str) -> str:
    return next(iter(sorted(request.parse([name], {}).names)), name)


def _installed(context: Context, names: Sequence[PackageName]) -> dict[str, Answer]:
    installed = context.switch.state().installed
    everything = [Package(name, version) for name, version in installed.items()]
    definitions = gather.Definitions(context, [])
    around = gather.surroundings(context, [definitions.file(package) for package in everything])
    universe = gather.universe(context, installed, definitions, request.parse([], {}), around)
    found = {}
    for name in names:
        package = Package(name, installed[name])
        keyed = universe.inputs(name)
        record = context.record(name, installed[name])
        recorded = record.key if record is not None and record.key != keyed.key else ""
        found[str(package)] = _compare(context, Answer(package, True, keyed, str(recorded)))
    return found


def _planned(context: Context, names: Sequence[str], environ: Mapping[str, str]) -> dict[str, Answer]:
    plan = context.opam.plan(["install", *names])
    if isinstance(plan, PlanFailed):
        words = plan.stderr.strip() or plan.stdout.strip()
        raise MisuseError(f"opam can't install {' '.join(names)}: {words}")
    asked = request.parse(names, environ)
    decision = decide(context, asked, plan)
    said = [line.removeprefix("opam-bin: ") for line in decision.shelf.lines()]
    context.need_store().problems.extend([*decision.shelf.problems(), *said])
    found = {}
    for item in decision.items:
        name = item.package.name
        answer = Answer(item.package, False, decision.universe.key(name), item=item)
        found[str(item.package)] = _compare(context, answer, decision.shelf)
    return found


def _compare(context: Context, answer: Answer, shelf: Shelf | None = None) -> Answer:
    """Add the snapshots of the key, and for a miss the nearest one of another key."""
    store, key = context.store, answer.keyed.key
    if store is None:
        return answer
    outputs = tuple((shelf or store).outputs(key)) if key is not None else ()
    offers = [shelf.offer(manifest) if shelf is not None else None for manifest in outputs]
    kept = [Package(name, version) for name, version in context.switch.state().installed.items()]
    site = site_of(context, kept, wait=False)
    refusals = tuple(refusal(manifest, site.installed, site) for manifest in outputs)
    closest, compared = ((), "") if outputs else _closest(context, answer)
    return Answer(
        answer.package,
        answer.installed,
        answer.keyed,
        answer.recorded,
        answer.item,
        outputs,
        refusals,
        closest,
        compared,
        tuple(offer.source if offer is not None else None for offer in offers),
    )


def _closest(context: Context, answer: Answer) -> tuple[tuple[str, ...], str]:
    """Find the snapshot of the package whose inputs differ least, and name the differences."""
    if context.store is None or not answer.keyed.inputs:
        return (), ""
    best: tuple[tuple[str, ...], str] = ((), "")
    records = context.store.by_name(answer.package.name)
    records.sort(key=lambda record: record.version != answer.package.version)
    for record in records[:_CLOSEST]:
        manifest = context.store.manifests.get(record.key, record.output)
        if manifest is None or not manifest.inputs:
            continue
        words = tuple(cone.differences(answer.keyed.inputs, manifest.inputs))
        if words and (not best[0] or len(words) < len(best[0])):
            best = (words, str(manifest.package))
    return best


def verdict(context: Context, answer: Answer) -> str:
    """Say in one line what would happen to a package, or how it came to be there."""
    if answer.installed:
        record = context.record(answer.package.name, answer.package.version)
        if record is None:
            return "installed; not on record, so it came without opam-bin"
        return f"installed; its output {record.output[:12]} is on record"
    item = answer.item
    if item is None:
        return "unknown"
    match item.verdict:
        case Verdict.HIT:
            path = placing.conflicts(context.prefix, item.manifest) if item.manifest is not None else ""
            if path:
                return f"miss: {path} is in the switch already"
            origins = dict(zip([it.output for it in answer.outputs], answer.origins, strict=True))
            origin = origins.get(item.manifest.output) if item.manifest is not None else None
            return f"hit: it would be fetched from {origin.label}" if origin else "hit: it would be restored"
        case Verdict.CHECK:
            return "check: a conf package, its own commands run again"
        case Verdict.WAIT:
            return f"hit, but {item.reason}"
        case Verdict.MISS:
            return f"miss: {item.reason}"
