"""Files that ``install.sh`` can't move (Mach-O, which is signed): opam-bin does it at the installation.

Their archives hold ``opam-bin.helped``, and their packages depend on :data:`HELPER`, a package that
looks for opam-bin; both only where the publisher allows it.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from opambin.errors import BadDataError, MisuseError, UnavailableError
from opambin.model import Kind, Occurrence
from opambin.relocate import rendering

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

NAME = "opam-bin.helped"
HELPER, HELPER_VERSION = "conf-opambin", "1"
FORMAT = 1
MAX_BYTES = 64_000_000
COMMAND = "relocate-archive"
_DEFINITION = f"""\
opam-version: "2.0"
synopsis: "Looks for opam-bin, which some packages of this repository need at their installation"
flags: conf
build: ["opam-bin" "{COMMAND}" "--help"]
"""
PATH = f"packages/{HELPER}/{HELPER}.{HELPER_VERSION}/opam"


def definition() -> bytes:
    """Return the opam file of the package that looks for opam-bin."""
    return _DEFINITION.encode()


def render(files: Mapping[str, Sequence[Occurrence]]) -> bytes:
    """Write down where the placeholder stands in files, by their path in the archive."""
    rows = {
        path: [[str(it.kind), it.offset, it.capacity, it.functional, list(it.anchor)] for it in found]
        for path, found in files.items()
    }
    document = {"opam-bin-helped": FORMAT, "files": rows}
    return (json.dumps(document, sort_keys=True, separators=(",", ":")) + "\n").encode()


def parse(data: bytes) -> dict[str, tuple[Occurrence, ...]]:
    """Read it.

    Raises:
        BadDataError: It is not such a file.
    """
    try:
        document = json.loads(data)
        if document["opam-bin-helped"] != FORMAT:
            raise BadDataError(NAME, "another version", expected=FORMAT, observed=document["opam-bin-helped"])
        return {_checked(path): tuple(map(_occurrence, rows)) for path, rows in document["files"].items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BadDataError(NAME, f"not a list of places: {error}") from error


def _checked(path: str) -> str:
    if path.startswith("/") or ".." in path.split("/"):
        raise BadDataError(NAME, f"a path that leaves the archive: {path!r:.200}")
    return path


def _occurrence(row: Any) -> Occurrence:  # noqa: ANN401 - of a JSON document
    kind, offset, capacity, functional, anchor = row
    return Occurrence(Kind(kind), int(offset), capacity, bool(functional), tuple(map(int, anchor)))


def relocate(folder: Path, prefix: str) -> int:
    """Give the listed files of an unpacked archive their prefix; returns how many there were.

    Raises:
        MisuseError: The prefix is not absolute.
        UnavailableError: There is no list, or a file can't be read or written.
        BadDataError: The list, or a file, is damaged.
        CannotRelocateError: The prefix does not fit.
    """
    if not prefix.startswith("/") or prefix.endswith("/"):
        raise MisuseError(f"not an absolute path without slash at its end: {prefix}")
    files = _listed(folder)
    try:
        target = os.fsencode(prefix)
        new = {
            folder / path: rendering.render((folder / path).read_bytes(), found, target)
            for path, found in files.items()
        }
        for path, content in new.items():
            temporary = path.with_name(f".{path.name}.opam-bin")
            temporary.write_bytes(content)
            temporary.chmod(path.stat().st_mode)
            temporary.replace(path)
    except OSError as error:
        raise UnavailableError(f"{folder}: {error}") from error
    return len(new)


def _listed(folder: Path) -> dict[str, tuple[Occurrence, ...]]:
    try:
        with (folder / NAME).open("rb") as stream:
            return parse(stream.read(MAX_BYTES))
    except FileNotFoundError as error:
        raise UnavailableError(f"{folder} is no unpacked archive of opam-bin: {NAME} is not in it") from error
    except OSError as error:
        raise UnavailableError(f"{folder / NAME} can't be read: {error.strerror}") from error
