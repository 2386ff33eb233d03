"""``opam-bin list``: the snapshots in the store, or the packages of a switch."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from opambin.cli.output import Column, counted, date, print_json, print_problems, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opambin.config import Config
    from opambin.context import Context
    from opambin.reports.holdings import Held, Installed
    from opambin.store.records import SnapshotRecord

HELD = (
    Column("PACKAGE"),
    Column("BUILDS", right=True),
    Column("OUTPUTS", right=True),
    Column("SIZE", right=True),
    Column("BUILT"),
    Column("LAST USED"),
    Column("USES", right=True),
)
INSTALLED = (Column("PACKAGE"), Column("FROM"), Column("SINCE"), Column("KEY"), Column("OUTPUT"))
DIGITS = 12  # of keys and outputs in a table


@click.command("list")
@click.argument("globs", nargs=-1, metavar="[NAME]...")
@click.option("--switch", help="List the packages of this switch instead, and where each came from.")
@click.option("--all", "everywhere", is_flag=True, help="List the packages of all switches of the opam root.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(globs: tuple[str, ...], switch: str | None, everywhere: bool, as_json: bool) -> None:
    """List the snapshots in the store, or the packages of a switch.

    NAME is a package, a NAME.VERSION or a glob ('conf-*'); without any, everything is listed. BUILDS counts
    cone keys, OUTPUTS what they gave. A size counts files that snapshots share once for each of them.
    """
    from opambin.config import load
    from opambin.errors import MisuseError

    if switch is not None and everywhere:
        raise MisuseError("--switch and --all can't be given together")
    config = load(os.environ)
    if switch is None and not everywhere:
        _list_store(config, globs, as_json=as_json)
    else:
        _list_switches(config, globs, switch, as_json=as_json)


def _list_store(config: Config, globs: Sequence[str], *, as_json: bool) -> None:
    from opambin.errors import UnavailableError
    from opambin.reports import holdings
    from opambin.summary import data_size

    store = holdings.open_existing(config.cache)
    found = holdings.held(store, globs) if store is not None else []
    if as_json:
        print_json({"store": str(config.cache), "packages": [held_values(held) for held in found]})
    elif store is None and globs:
        raise UnavailableError(f"there is no store at {config.cache} yet: nothing was captured")
    elif store is None:
        click.echo(f"There is no store at {config.cache} yet; the first build that is captured makes it.")
    elif not found and not globs:
        click.echo("The store is empty.")
    elif found:
        print_table(HELD, [_held_row(held) for held in found])
        total = sum(len(held.snapshots) for held in found)
        size = data_size(sum(held.size for held in found))
        click.echo(
            f"{counted(total, 'snapshot')} of {counted(len(found), 'package version')}, {size}", err=True
        )
    if store is not None:
        print_problems(store.problems)
        _refuse_unknown(globs, [(held.name, held.version) for held in found], "the store has")


def _refuse_unknown(globs: Sequence[str], found: Sequence[tuple[str, str]], who: str) -> None:
    """Tell of names that nothing fits, after all else was listed.

    Raises:
        MisuseError: There are some.
    """
    from opambin.errors import MisuseError
    from opambin.reports.holdings import matches

    unknown = [glob for glob in globs if not any(matches(*package, [glob]) for package in found)]
    if unknown:
        raise MisuseError(f"{who} no package {', '.join(unknown)}")


def _held_row(held: Held) -> tuple[str, ...]:
    from opambin.summary import data_size

    return (
        f"{held.name}.{held.version}",
        str(held.keys),
        str(len(held.snapshots)),
        data_size(held.size),
        date(held.snapshots[0].built_at),
        date(held.last_used),
        str(held.uses),
    )


def held_values(held: Held) -> dict[str, object]:
    """Return a package version of the store as plain values."""
    return {
        "name": held.name,
        "version": held.version,
        "builds": held.keys,
        "outputs": len(held.snapshots),
        "bytes": held.size,
        "built_at": held.snapshots[0].built_at,
        "last_used": held.last_used,
        "uses": held.uses,
        "snapshots": [_record_values(record) for record in held.snapshots],
    }


def _record_values(record: SnapshotRecord) -> dict[str, object]:
    return {
        "key": record.key,
        "output": record.output,
        "bytes": record.size,
        "built_at": record.built_at,
        "last_used": record.last_used,
        "uses": record.uses,
    }


def _list_switches(config: Config, globs: Sequence[str], switch: str | None, *, as_json: bool) -> None:
    from opambin.errors import OpambinError
    from opambin.opam.root import Root
    from opambin.reports import holdings

    root = Root.find(os.environ)
    store = holdings.open_existing(config.cache)
    names = root.switches if switch is None else (switch,)
    found, problems = [], []
    for name in names:
        try:
            context = holdings.context_for_looking(config, root, name, store, os.environ)
            found.append((context, holdings.installed(context, globs)))
        except OpambinError as error:
            if switch is not None:
                raise
            problems.append(str(error))
    if as_json:
        print_json({"root": str(root.path), "switches": [switch_values(*each) for each in found]})
    else:
        for at, (context, packages) in enumerate(found):
            if len(found) > 1:
                click.echo(f"{chr(10) if at else ''}{context.switch.name} ({context.prefix})")
            if packages or not globs:
                print_table(INSTALLED, [_installed_row(package) for package in packages])
    print_problems([*problems, *(store.problems if store is not None else ())])
    listed = [(str(it.name), str(it.version)) for _, packages in found for it in packages]
    _refuse_unknown(globs, listed, "the root has" if switch is None else f"switch {switch} has")


def _installed_row(package: Installed) -> tuple[str, ...]:
    return (
        f"{package.name}.{package.version}",
        package.origin or "not on record",
        date(package.since),
        package.key[:DIGITS] or "-",
        package.output[:DIGITS] or "-",
    )


def switch_values(context: Context, packages: Sequence[Installed]) -> dict[str, object]:
    """Return the packages of a switch as plain values."""
    return {
        "switch": context.switch.name,
        "prefix": context.prefix,
        "packages": [
            {
                "name": package.name,
                "version": package.version,
                "origin": package.origin or None,
                "since": package.since or None,
                "key": package.key or None,
                "output": package.output or None,
            }
            for package in packages
        ],
    }
