"""What stays of an earlier publication, how many versions are kept, and the short names; pure."""

from __future__ import annotations

from collections import defaultdict
from functools import cmp_to_key
from typing import TYPE_CHECKING

from opambin.opam.version import compare
from opambin.publish import definition, helped

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from opambin.publish.catalogue import Build

    Spot = tuple[str, str]


def merged(
    new: Sequence[Build], old: Sequence[Build], *, keep_old: bool, others: Collection[str] = ()
) -> tuple[Build, ...]:
    """Put what is published now and what was before together.

    What was stays where it is wanted and stands on the very builds that it stood on; what other publishers
    have signed stays anyhow: it is theirs.
    """
    found = {_spot(row): row for row in new}
    if keep_old:
        before = {_spot(row): row for row in old}
        staying = {spot: row for spot, row in before.items() if spot not in found}
        while True:
            there = {**staying, **found}
            broken = [spot for spot, row in staying.items() if not _stands(row, before, there)]
            if not broken:
                break
            for spot in broken:
                del staying[spot]
        found = there
    theirs = {_spot(row): row for row in old if row.name in others}
    return _ordered({**theirs, **found}.values())


def _stands(row: Build, before: dict[Spot, Build], there: dict[Spot, Build]) -> bool:
    for needed in row.dependencies:
        spot = needed.name, needed.published
        was, now = before.get(spot), there.get(spot)
        if needed.post or needed.name == helped.HELPER:
            continue
        if was is None or now is None or (was.key, was.output) != (now.key, now.output):
            return False
    return True


def pruned(rows: Sequence[Build], keep: int) -> tuple[Build, ...]:
    """Keep the newest versions of each package, and whatever one of them stands on; 0 keeps all."""
    if not keep:
        return _ordered(rows)
    by_name: dict[str, list[Build]] = defaultdict(list)
    for row in rows:
        by_name[row.name].append(row)
    by_spot = {_spot(row): row for row in rows}
    todo = [row for name in by_name for row in sorted(by_name[name], key=cmp_to_key(_later_first))[:keep]]
    kept: dict[Spot, Build] = {}
    while todo:
        row = todo.pop()
        if _spot(row) not in kept:
            kept[_spot(row)] = row
            todo += [by_spot[spot] for it in row.dependencies if (spot := (it.name, it.published)) in by_spot]
    return _ordered(kept.values())


def short_names(rows: Iterable[Build]) -> dict[str, bytes]:
    """Return the definitions of the short names that lead to the builds of a mixed repository."""
    found = {}
    for row in rows:
        text = definition.short_definition(row.name, row.published, row.synopsis)
        short = f"{row.name}{definition.SHORT}"
        found[f"packages/{short}/{short}.{row.published}/opam"] = text.encode("utf-8", "surrogateescape")
    return found


def _spot(row: Build) -> Spot:
    return row.name, row.published


def _later_first(one: Build, other: Build) -> int:
    return compare(other.published, one.published)


def _ordered(rows: Iterable[Build]) -> tuple[Build, ...]:
    return tuple(sorted(rows, key=lambda row: (row.name, row.published, row.key, row.output)))
