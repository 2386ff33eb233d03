"""``opam-bin verify-update``: opam refuses an update that this refuses."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import click

from opambin.cli.output import printable
from opambin.cli.trusting import partial_option, states
from opambin.errors import OpambinError

REASON = "last-refusal"  # file beside the states of repositories


@click.command("verify-update")
@click.option("--anchors", required=True, help="Fingerprints of root keys, separated by commas.")
@click.option("--quorum", type=int, required=True, help="How many of them must have signed the root.")
@click.option("--repo", type=click.Path(path_type=Path), required=True, help="The former state.")
@click.option("--patch", type=click.Path(path_type=Path), help="What changes in it.")
@click.option("--dir", "whole", type=click.Path(path_type=Path), help="The new state.")
@partial_option
def command(
    *, anchors: str, quorum: int, repo: Path, patch: Path | None, whole: Path | None, partial: bool
) -> None:
    """Verify an update of a repository, for opam.

    'opam-bin tuf trust' prints the line of opam's configuration that runs this. opam runs it for repositories
    that were added with a quorum and fingerprints, when an update brings something new.
    """
    from opambin.publish.signed.anchors import Anchors
    from opambin.publish.signed.updates import Update, validate

    update = Update(repo, patch, whole)
    trusted = Anchors.parse(filter(None, anchors.split(",")), quorum)
    try:
        validate(update, trusted, states(os.environ), partial=partial)
    except OpambinError as error:
        _tell(f"opam-bin: {printable(update.name)}: update refused: {printable(str(error))}")
        raise


def _tell(line: str) -> None:
    """Say why on the terminal, if there is one, and in a file: opam keeps to itself what its hooks print."""
    from opambin.replacing import replace_file

    replace_file(states(os.environ) / REASON, f"{line}\n".encode())
    with suppress(OSError), Path("/dev/tty").open("w", encoding="utf-8") as terminal:
        terminal.write(f"{line}\n")
