"""``opam-bin cone``: cone keys, and every input of them."""

from __future__ import annotations

import json
import os

import click


@click.command("cone")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--switch", help="The switch (default: the current one).")
@click.option("--explain", is_flag=True, help="Print every input of each key.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(names: tuple[str, ...], switch: str | None, explain: bool, as_json: bool) -> int:
    """Print the cone key of packages, installed or not.

    A key is the sha256 of everything that decides what a build gives; docs/formats/cone-key.md describes
    it. Exit code 1 when one of the packages has no key.
    """
    from opambin.reports.inquiry import ask

    _, answers = ask(names, switch, os.environ)
    if as_json:
        rows = [
            {
                "package": str(answer.package),
                "key": answer.keyed.key,
                "reason": answer.keyed.reason,
                "recorded": answer.recorded or None,
                **({"inputs": json.loads(answer.keyed.inputs)} if explain and answer.keyed.inputs else {}),
            }
            for answer in answers
        ]
        print(json.dumps(rows, indent=2))
    else:
        for answer in answers:
            print(f"{answer.keyed.key or '-' * 64}  {answer.package}")
            if answer.keyed.key is None:
                print(f"  no key: {answer.keyed.reason}")
            if answer.recorded:
                print(f"  installed under {answer.recorded}")
            if explain and answer.keyed.inputs:
                for line in inputs(json.loads(answer.keyed.inputs)):
                    print(f"  {line}")
    return 0 if all(answer.keyed.key for answer in answers) else 1


def inputs(document: dict[str, object]) -> list[str]:
    """Lay the inputs of a key out, one on a line."""
    found = []
    for name, value in sorted(document.items()):
        if isinstance(value, dict):
            found += [f"{name}.{key} = {shown(item)}" for key, item in sorted(value.items())]
        elif value != "":
            found.append(f"{name} = {shown(value)}")
    return found


def shown(value: object) -> str:
    """Write a value as it stands in the canonical text, strings without quotes."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
