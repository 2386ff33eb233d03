"""Opam files on disk. ``python -m opambin.opam.file FILE...`` checks their syntax.

The accessors of :mod:`opambin.opam.fields` are here too, under the names that callers know.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from opambin.errors import BadDataError, UnavailableError
from opambin.opam.fields import checksums, extra_files, extra_sources, flags, name, url, version
from opambin.opam.parser import parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opambin.opam.ast import OpamFile

__all__ = [
    "checksums",
    "extra_files",
    "extra_sources",
    "flags",
    "load",
    "main",
    "name",
    "url",
    "version",
]

MAX_BYTES = 16_000_000  # the largest opam file of the public repository has about 100 kB


def load(path: str) -> OpamFile:
    """Read and parse an opam file.

    Raises:
        UnavailableError: It can't be read.
        BadDataError: It is no opam file.
    """
    try:
        # Without Path: reading hundreds of small files, its construction costs more than the reading.
        with open(path, "rb") as stream:  # noqa: PTH123  # as said above
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise UnavailableError(f"{path}: {error.strerror or error}") from error
    if len(data) > MAX_BYTES:
        raise BadDataError(path, f"longer than {MAX_BYTES} bytes")
    return parse(data.decode("utf-8", "surrogateescape"), path)


def main(arguments: Sequence[str]) -> int:
    """Check files and say for each whether it parses.

    Returns:
        0 when all do, 1 when one doesn't, 2 without arguments.
    """
    if not arguments:
        sys.stderr.write("usage: python -m opambin.opam.file FILE...\n")
        return 2
    failed = False
    for path in arguments:
        try:
            load(path)
            report = f"{path}: ok"
        except (BadDataError, UnavailableError) as error:
            failed = True
            report = str(error)
        sys.stdout.write(report.encode("utf-8", "backslashreplace").decode() + "\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
