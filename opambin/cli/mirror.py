"""``opam-bin mirror``: a verified copy of a published repository, or of a part."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from opambin.cli.output import counted, print_json
from opambin.cli.trusting import (
    anchor_option,
    beginning,
    now,
    partial_option,
    quorum_option,
    refusing,
    root_option,
    sign_option,
    signers,
    states,
)
from opambin.errors import MisuseError


@click.command("mirror")
@click.argument("url")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--closure-of", multiple=True, metavar="PKG", help="Only PKG and what it may depend on.")
@click.option("--own-keys", is_flag=True, help="Without the publisher's metadata: you sign the copy.")
@root_option
@anchor_option
@quorum_option
@partial_option
@sign_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    *,
    url: str,
    folder: Path,
    closure_of: tuple[str, ...],
    own_keys: bool,
    root: Path | None,
    anchors: tuple[str, ...],
    quorum: int | None,
    partial: bool,
    keys: tuple[str, ...],
    as_json: bool,
) -> None:
    """Copy a published repository, or a part of it, into a folder to be served.

    All that is copied is verified, as with 'opam-bin verify-repo'. The copy verifies with the publisher's
    root; that of a part with --partial. Run it again before the signatures expire: it fetches what is new.
    """
    from opambin.publish.mirror import Extent, Mirrored, mirror
    from opambin.publish.signed.sources import open_source
    from opambin.publish.tufmeta import check_signers, is_signed, sign_repository
    from opambin.summary import data_size

    if keys and not own_keys:
        raise MisuseError("--sign-with goes with --own-keys: a copy has the publisher's signatures or yours")
    own = signers(keys)
    signed = own_keys and is_signed(folder)
    if signed:
        check_signers(folder, own, now())
    start = beginning(root, anchors, quorum)
    extent = Extent(closure_of, not own_keys, partial)
    found: list[Mirrored] = []

    def copied() -> dict[str, Any]:
        found.append(mirror(open_source(url), folder, states(os.environ), start, extent))
        if signed:
            sign_repository(folder, own, now())
        it = found[0]
        told = {"packages": it.packages, "files": it.files, "fetched": it.fetched, "bytes": it.size}
        return {
            "repository": url,
            "mirror": str(folder),
            **told,
            "removed": it.removed,
            "timestamp": it.timestamp,
        }

    answer = refusing(url, as_json, copied)
    if as_json:
        print_json(answer)
        return
    it = found[0]
    click.echo(
        f"{folder}: {counted(it.packages, 'package')} of {url}, timestamp {it.timestamp}; "
        f"{counted(it.fetched, 'file')} fetched ({data_size(it.size)}), {it.removed} removed"
    )
    if own_keys and not signed:
        click.echo(
            f"Next: opam-bin tuf init {folder} --root-key KEY --sign-with KEY, then --sign-with here, too"
        )
