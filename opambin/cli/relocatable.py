"""``opam-bin relocatable``: how far packages can be moved."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from opambin.cli.output import Column, print_json, print_problems, print_table, printable

if TYPE_CHECKING:
    from opambin.reports.reach import Limit, Reach

TABLE = (Column("PACKAGE"), Column("ALONE"), Column("WITH CLOSURE"), Column("BECAUSE OF"))
SHOWN = 20  # limits of one package in words; --json has them all


@click.command("relocatable")
@click.argument("names", nargs=-1, metavar="[PKG]...")
@click.option("--switch", help="The switch (default: the current one).")
@click.option("--store", "in_store", is_flag=True, help="Look in the store, not in a switch.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(names: tuple[str, ...], switch: str | None, in_store: bool, as_json: bool) -> int:
    """Say how far packages can be moved: anywhere, to prefixes of up to N bytes, or not at all.

    For each package of the switch (or for those that are named) alone, and together with everything that it
    needs at run time; then the files that limit it. With --store the newest snapshot of each PKG, with what
    it was built with; a PKG is a NAME or NAME.VERSION there. Exit code 5 when one can't be moved at all.
    """
    from opambin.config import load
    from opambin.context import open_context
    from opambin.errors import CannotRelocateError, MisuseError
    from opambin.reports import reach
    from opambin.store.store import Store

    if in_store:
        if switch is not None or not names:
            raise MisuseError("--store needs the names of packages, and no --switch")
        store = Store.open(load(os.environ).cache, create=False)
        found = reach.of_store(store, names)
        problems = store.problems
    else:
        context = open_context(os.environ, switch, readonly=True)
        found = reach.of_switch(context, names)
        problems = context.store.problems if context.store is not None else []
    if as_json:
        print_json([values(one) for one in found])
    else:
        print_table(TABLE, [_row(one) for one in found])
        for line in [line for one in found for line in _reasons(one)] if names else []:
            click.echo(printable(line))
    print_problems(problems)
    return CannotRelocateError.exit_code if any(one.together == 0 for one in found) else 0


def distance(longest: int | None) -> str:
    """Say how far something can be moved."""
    if longest is None:
        return "anywhere"
    return f"up to {longest} bytes" if longest else "bound"


def _row(one: Reach) -> tuple[str, ...]:
    because = f"{one.all[0].package}: {one.all[0].path}" if one.all else ""
    if one.unknown:
        because += f"{'; ' if because else ''}not known: {', '.join(one.unknown)}"
    return str(one.package), distance(one.alone), distance(one.together), because


def _reasons(one: Reach) -> list[str]:
    if not one.all:
        return []
    lines = ["", f"{one.package} ({one.source}, {len(one.closure)} packages below it):"]
    lines += [f"  {_limit(limit)}" for limit in one.all[:SHOWN]]
    if len(one.all) > SHOWN:
        lines.append(f"  and {len(one.all) - SHOWN} more")
    return lines


def _limit(limit: Limit) -> str:
    return f"{limit.package}: {limit.path}: {distance(limit.longest)}: {limit.reason}"


def values(one: Reach) -> dict[str, object]:
    """Return a package as plain values."""
    return {
        "package": str(one.package),
        "source": one.source,
        "movable": _word(one.alone),
        "longest_prefix": one.alone or None,
        "limits": [asdict(limit) for limit in one.own],
        "closure": {
            "packages": list(one.closure),
            "unknown": list(one.unknown),
            "movable": _word(one.together),
            "longest_prefix": one.together or None,
            "limits": [asdict(limit) for limit in one.all],
        },
    }


def _word(longest: int | None) -> str:
    if longest is None:
        return "anywhere"
    return "limited" if longest else "bound"
