"""``opam-bin selftest-relocation``: does relocation see everything in a package?"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict

import click


@click.command("selftest-relocation")
@click.argument("names", nargs=-1, required=True, metavar="PKG...")
@click.option(
    "--compiler", multiple=True, help="The compiler package to build with (default: the current switch's)."
)
@click.option("--switch", help="The switch whose root and compiler are used (default: the current one).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(names: tuple[str, ...], compiler: tuple[str, ...], switch: str | None, as_json: bool) -> int:
    """Build packages under two prefixes and two padded lengths, and compare, machine code included.

    What differs names prefixes that leave no searchable bytes, and lengths that were compiled in: such a
    package needs a recipe. Needs the hooks ('opam-bin init') and binutils; makes three local switches in a
    temporary folder, which are removed again. Exit code 1 when something was found.
    """
    from opambin.context import open_context
    from opambin.selftest import default_compiler, selftest

    context = open_context(os.environ, switch)
    context.need_store()
    chosen = list(compiler) or default_compiler(context)
    findings = selftest(context, names, chosen, lambda line: print(f"opam-bin: {line}", file=sys.stderr))
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for found in findings:
            print(f"{found.package}: {found.path}: {found.kind}: {found.detail}")
        if not findings:
            print(f"{', '.join(names)}: nothing is hidden from relocation")
    return 1 if findings else 0
