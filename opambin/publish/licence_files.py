"""Licence files of packages that install none: taken from the source that opam has downloaded."""

from __future__ import annotations

import tarfile
import zipfile
from typing import TYPE_CHECKING

from opambin.errors import BadDataError
from opambin.opam import fields
from opambin.opam.parser import parse
from opambin.publish.licences import is_licence_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from opambin.model import Manifest

_MAX_BYTES = 1_000_000  # of one licence file
_MAX_FILES = 20
_MAX_MEMBERS = 100_000  # of an archive that are looked at
_DEPTH = 2  # folders: the one of the archive, and the file


def from_downloads(root: Path, manifest: Manifest) -> Mapping[str, bytes]:
    """Return the licence files at the top of a package's source, by their name; none where it isn't there.

    Args:
        root: opam's root; its ``download-cache`` has the sources, by checksum.
        manifest: The snapshot.
    """
    try:
        checksum = fields.checksums(parse(manifest.opam, f"{manifest.package}/opam"))
    except BadDataError:
        return {}
    if not checksum:
        return {}
    kind, _, digits = checksum.partition("=")
    path = root / "download-cache" / kind / digits[:2] / digits
    try:
        return dict(_members(path))
    except (OSError, tarfile.TarError, zipfile.BadZipFile, EOFError, ValueError):
        return {}  # an archive of another kind: then there is none to take


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist()[:_MAX_MEMBERS]:
                if _wanted(info.filename) and info.file_size <= _MAX_BYTES:
                    yield _base(info.filename), archive.read(info)
        return
    with tarfile.open(path) as tar:
        found = 0
        for number, member in enumerate(tar):
            if number >= _MAX_MEMBERS or found >= _MAX_FILES:
                return
            stream = tar.extractfile(member) if member.isreg() and _wanted(member.name) else None
            if stream is not None and member.size <= _MAX_BYTES:
                found += 1
                yield _base(member.name), stream.read()


def _wanted(name: str) -> bool:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return 0 < len(parts) <= _DEPTH and ".." not in parts and _plain(parts[-1]) and is_licence_file(name)


def _plain(base: str) -> bool:
    return base.isascii() and base.isprintable() and not set(base) & set("\\\"'")


def _base(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2]
