"""What ``--dry-run`` shows: which packages would be restored, how much that is, and how long it takes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from opambin.cli.output import Column, counted, print_json, print_table

if TYPE_CHECKING:
    from opambin.door.front import PlainOpam, Prepared


def show(prepared: Prepared | PlainOpam, *, as_json: bool) -> int:
    """Print the forecast; returns the exit code.

    Raises:
        OpambinError: Nothing could be looked at.
    """
    from opambin.door import front
    from opambin.reports.forecast import forecast

    if isinstance(prepared, front.PlainOpam):
        return _nothing(prepared, as_json=as_json)
    found = forecast(prepared)
    if as_json:
        print_json(found.as_dict())
        return 0
    from opambin.summary import data_size, duration

    rows = [
        [
            row.package,
            row.verdict,
            data_size(row.bytes) if row.bytes else "",
            row.reason or (f"from {row.remote}" if row.remote else ""),
        ]
        for row in found.rows
    ]
    print_table([Column("PACKAGE"), Column("WHAT"), Column("SIZE", right=True), Column("WHY")], rows)
    taken = f", in about {duration(found.seconds)}" if found.restored else ""
    restored = f"{counted(found.restored, 'package')} restored ({data_size(found.bytes)}{taken})"
    print(f"{restored}, {found.left} left to opam")
    if found.download_bytes:
        print(f"fetches {data_size(found.download_bytes)} from remotes")
    if found.saved_seconds or found.saved_source_bytes:
        source = data_size(found.saved_source_bytes)
        print(f"saves {duration(found.saved_seconds)} of building and {source} of sources")
    return 0


def _nothing(plain: PlainOpam, *, as_json: bool) -> int:
    """Say why nothing would be restored; returns opam's exit code where it could make no plan."""
    if plain.error is not None:
        raise plain.error
    if plain.failed is not None:
        print(plain.failed.stderr or plain.failed.stdout, end="", file=sys.stderr)
    if as_json:
        print_json({"packages": [], "reason": plain.why})
    else:
        print(f"opam-bin: nothing would be restored: {plain.why}")
    return plain.failed.code if plain.failed is not None else 0
