"""``opam-bin selftest-relocation``: does relocation see everything in a package?"""

from __future__ import annotations

import os
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from opambin.cli.output import print_json, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opambin.buildcompare import Finding
    from opambin.selftest import Verdicts

_SHOWN = 3  # findings of one package in the table
_DETAIL = 160  # bytes of a finding in the table


@click.command("selftest-relocation")
@click.argument("names", nargs=-1, metavar="[PKG]...")
@click.option("--all", "whole", is_flag=True, help="Try all packages of the switch, its compiler with them.")
@click.option(
    "--compiler", multiple=True, help="The compiler package to build with (default: the current switch's)."
)
@click.option("--switch", help="The switch whose root and compiler are used (default: the current one).")
@click.option(
    "--work",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the builds in this folder, and go on with what is there.",
)
@click.option(
    "--table", "as_table", is_flag=True, help="Print a table in Markdown, packages without a fault too."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    names: tuple[str, ...],
    *,
    whole: bool,
    compiler: tuple[str, ...],
    switch: str | None,
    work: Path | None,
    as_table: bool,
    as_json: bool,
) -> int:
    """Build packages at several prefixes and padded lengths, and compare, machine code included.

    What differs names prefixes that leave no searchable bytes, and lengths that were compiled in: such a
    package needs a recipe. A build that the store has is not repeated. Needs the hooks ('opam-bin init') and
    binutils; makes two or three local switches in a temporary folder, which are removed again, or in the
    folder that --work names, where the next run finds them. Exit code 1 when something was found.
    """
    from opambin.context import open_context
    from opambin.errors import MisuseError
    from opambin.selftest import of_names, of_switch, selftest

    if whole == bool(names):
        raise MisuseError("name packages, or say --all")
    context = open_context(os.environ, switch)
    context.need_store()
    subject = of_switch(context) if whole else of_names(context, names, compiler)
    verdicts = selftest(context, subject, work, lambda line: print(f"opam-bin: {line}", file=sys.stderr))
    if as_json:
        print_json([asdict(finding) for finding in verdicts.findings])
    else:
        for line in _table(verdicts) if as_table else _lines(verdicts):
            click.echo(printable(line))
    return 1 if verdicts.findings else 0


def _lines(verdicts: Verdicts) -> Iterator[str]:
    for found in verdicts.findings:
        yield f"{found.package}: {found.path}: {found.kind}: {found.detail}"
    if not verdicts.findings:
        yield f"{', '.join(verdicts.tried)}: nothing is hidden from relocation"


def _table(verdicts: Verdicts) -> Iterator[str]:
    """Yield the rows of a table: package, verdict, what differed."""
    by_package: dict[str, list[Finding]] = {package: [] for package in verdicts.tried}
    for found in verdicts.findings:
        by_package.setdefault(found.package, []).append(found)
    yield "| package | verdict | what differed |"
    yield "|---|---|---|"
    for package, findings in sorted(by_package.items()):
        kinds = Counter(found.kind for found in findings)
        verdict = ", ".join(f"{kind} ({count})" for kind, count in sorted(kinds.items())) or "nothing hidden"
        shown = [_short(found) for found in findings[:_SHOWN]]
        more = [f"and {len(findings) - _SHOWN} more"] if len(findings) > _SHOWN else []
        yield f"| {package} | {verdict} | {'; '.join([*shown, *more])} |"


def _short(found: Finding) -> str:
    detail = found.detail if len(found.detail) <= _DETAIL else found.detail[: _DETAIL - 1] + "…"
    place = f"`{found.path}`: " if found.path else ""
    return place + detail.replace("|", "\\|")
