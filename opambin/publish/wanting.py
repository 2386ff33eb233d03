"""What a publication is asked for, as snapshots; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opambin.errors import MisuseError
from opambin.opam import filters, formula
from opambin.publish.selection import matching, newest_first

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from opambin.publish.options import Asked
    from opambin.publish.selection import Candidate, Identity, Selection


def wanted(candidates: Sequence[Candidate], asked: Asked) -> list[Candidate]:
    """Return what was asked for, the newest first.

    Raises:
        MisuseError: Something that was named has no snapshot, or nothing has.
    """
    found = newest_first(candidates)
    if asked.snapshots is not None:
        found = [candidate for candidate in found if candidate.identity in asked.snapshots]
    if not found:
        raise MisuseError(
            "there is nothing to publish: nothing of it has been captured; `opam install` with the hooks of "
            "`opam-bin init` does that, and so does `opam-bin capture`"
        )
    if asked.only:
        found = matching(found, asked.only)
        if not found:
            raise MisuseError(f"--only {' --only '.join(asked.only)}: no snapshot fits; see `opam-bin list`")
    if not asked.names:
        return found
    picked = []
    for name in asked.names:
        fits = [it for it in found if name in (it.manifest.package.name, str(it.manifest.package))]
        if not fits:
            raise MisuseError(f"{name} is not among the snapshots: build it, or see 'opam-bin list'")
        picked.append(fits[0])
    return _closure(picked, candidates) if asked.closure else picked


def _closure(picked: list[Candidate], candidates: Sequence[Candidate]) -> list[Candidate]:
    """Add what was needed only to build."""
    by_key: dict[str, Candidate] = {}
    for candidate in newest_first(candidates):
        by_key.setdefault(candidate.manifest.key, candidate)
    seen = {candidate.manifest.key: candidate for candidate in picked}
    todo = list(picked)
    while todo:
        for key in todo.pop().needed.values():
            if key in by_key and key not in seen:
                seen[key] = by_key[key]
                todo.append(by_key[key])
    return list(seen.values())


def with_it(
    selection: Selection, candidates: Sequence[Candidate], tried: Container[Identity]
) -> list[Candidate]:
    """Return what chosen packages want with them (``{post}``) and that is not chosen yet.

    Of several builds the newest that stands on the package, or on nothing at all.

    Args:
        selection: What is chosen.
        candidates: All that there is.
        tried: Those that were asked for in vain.
    """
    names = {chosen.manifest.package.name for chosen in selection.chosen}
    found: dict[str, Candidate] = {}
    for chosen in selection.chosen:
        if "post" not in chosen.manifest.opam:
            continue
        for name in _post(chosen.candidate):
            if name not in names and name not in found:
                fits = (it for it in newest_first(candidates) if it.manifest.package.name == name)
                best = next((it for it in fits if _stands(it, chosen.candidate, candidates)), None)
                if best is not None and best.identity not in tried:
                    found[name] = best
    return list(found.values())


def _post(candidate: Candidate) -> Iterator[str]:
    """Yield the names that stand in ``depends`` with ``post`` in their braces."""
    for name, braces in formula.atoms(candidate.file.get("depends")):
        if any("post" in filters.variables(value) for value in braces):
            yield name


def _stands(one: Candidate, other: Candidate, candidates: Sequence[Candidate]) -> bool:
    """Tell whether a snapshot stands on another one, or on nothing."""
    if not one.needed:
        return True
    by_key = {candidate.manifest.key: candidate for candidate in candidates}
    seen: set[str] = set()
    todo = [one]
    while todo:
        for key in todo.pop().needed.values():
            if key == other.manifest.key:
                return True
            if key in by_key and key not in seen:
                seen.add(key)
                todo.append(by_key[key])
    return False
