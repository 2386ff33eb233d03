"""``opam-bin verify-repo``: is a published repository what its publisher signed, and is it up to date?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from opambin.cli.output import counted, print_json
from opambin.cli.trusting import (
    anchor_option,
    beginning,
    partial_option,
    quorum_option,
    refusing,
    root_option,
    shown,
    soonest,
    states,
)

if TYPE_CHECKING:
    from pathlib import Path

    from opambin.publish.signed.verifying import Verified


@click.command("verify-repo")
@click.argument("url")
@root_option
@anchor_option
@quorum_option
@partial_option
@click.option("--quick", is_flag=True, help="Only metadata and definitions: no archives, no pages.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    *,
    url: str,
    root: Path | None,
    anchors: tuple[str, ...],
    quorum: int | None,
    partial: bool,
    quick: bool,
    as_json: bool,
) -> None:
    """Verify a published repository: signatures, expiry, and every file.

    URL is http, https, file, or a folder. The first time say whom you trust, with --root or --anchor; later
    that is remembered, and so is what was seen: an older state is refused.

    Exit code 3 when it does not verify, 6 when its signatures have expired, 4 when it can't be reached.
    """
    from opambin.publish.signed.sources import open_source
    from opambin.publish.signed.verifying import verify
    from opambin.summary import data_size

    start = beginning(root, anchors, quorum)
    found: list[Verified] = []

    def verified() -> dict[str, Any]:
        found.append(verify(open_source(url), states(os.environ), start, quick=quick, partial=partial))
        checked = found[0].checked
        told = {"checked": checked.files, "bytes": checked.size, "missing": checked.missing}
        return {"repository": url, "verifies": True, **shown(found[0].trusted), **told}

    answer = refusing(url, as_json, verified)
    if as_json:
        print_json(answer)
        return
    trusted, checked = found[0].trusted, found[0].checked
    lacking = f"; {counted(checked.missing, 'signed file')} not in this copy" if checked.missing else ""
    click.echo(
        f"{url} verifies: {counted(checked.files, 'file')} ({data_size(checked.size)}) as signed{lacking}; "
        f"timestamp {trusted.versions['timestamp']}, valid until {soonest(trusted)}"
    )
