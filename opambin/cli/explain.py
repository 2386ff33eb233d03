"""``opam-bin explain``: hit or miss, and why."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from opambin.context import Context
    from opambin.reports.inquiry import Answer


@click.command("explain")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--switch", help="The switch (default: the current one).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(names: tuple[str, ...], switch: str | None, as_json: bool) -> None:
    """Say whether packages would be restored, and for a miss which input differs from the closest one."""
    from opambin.reports.inquiry import ask

    context, answers = ask(names, switch, os.environ)
    if as_json:
        print(json.dumps([as_values(context, answer) for answer in answers], indent=2))
        return
    for answer in answers:
        for line in lines(context, answer):
            print(line)


def as_values(context: Context, answer: Answer) -> dict[str, object]:
    """Return an answer as plain values."""
    from opambin.reports.inquiry import verdict

    return {
        "package": str(answer.package),
        "installed": answer.installed,
        "verdict": verdict(context, answer),
        "key": answer.keyed.key,
        "reason": answer.keyed.reason,
        "outputs": [
            {
                "output": manifest.output,
                "bytes": manifest.size,
                "build_seconds": manifest.build.seconds,
                "refusal": refusal,
                "remote": origin.name if origin else None,
            }
            for manifest, refusal, origin in zip(answer.outputs, answer.refusals, answer.origins, strict=True)
        ],
        "compared_with": answer.compared or None,
        "differences": list(answer.closest),
        "problems": context.store.problems if context.store is not None else [context.store_problem],
    }


def lines(context: Context, answer: Answer) -> list[str]:
    """Lay an answer out for people."""
    from opambin.reports.inquiry import verdict
    from opambin.summary import data_size, duration

    found = [f"{answer.package}: {verdict(context, answer)}"]
    found.append(f"  key     {answer.keyed.key or 'none: ' + answer.keyed.reason}")
    if answer.recorded:
        found.append(f"  record  {answer.recorded} (the key it was installed under; the inputs differ now)")
    for manifest, refusal, origin in zip(answer.outputs, answer.refusals, answer.origins, strict=True):
        where = f", on {origin.label}" if origin else ""
        took = f", built in {duration(manifest.build.seconds)}" if manifest.build.seconds else ""
        found.append(f"  output  {manifest.output[:12]} ({data_size(manifest.size)}{took}{where})")
        if refusal and not answer.installed:
            found.append(f"          not usable in this switch as it is now: {refusal}")
    if answer.closest:
        found.append(f"  closest snapshot: {answer.compared}, which differs in")
        found += [f"    {word}" for word in answer.closest]
    elif not answer.outputs and answer.keyed.key is not None:
        found.append("  no snapshot of any other key to compare with")
    if context.store is None:
        found.append(f"  {context.store_problem}")
    else:
        found += [f"  {problem}" for problem in context.store.problems]
    return found
