"""``index.tar.gz``: the definitions of a repository in one file, for opam over http; bytes in, bytes out."""

from __future__ import annotations

import gzip
import io
import tarfile
from typing import TYPE_CHECKING

from opambin.errors import BadDataError

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "index.tar.gz"
REPO = "repo"
MAX_BYTES = 1 << 30  # of all definitions together, unpacked; the public repository has 60 MB
_TIME = 946_684_800  # of every member; see the published archives
_LEVEL = 9


def repo_file(base_url: str) -> bytes:
    """Return opam's description of the repository."""
    return f'opam-version: "2.0"\nbrowse: "{base_url}/"\n'.encode()


def write(files: Mapping[str, bytes]) -> bytes:
    """Return the index of files, by their names relative to the repository; the same for the same files."""
    buffer = io.BytesIO()
    with (
        gzip.GzipFile("", "wb", _LEVEL, buffer, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(content), 0o644, _TIME
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def read(data: bytes, what: str = NAME) -> dict[str, bytes]:
    """Return the files of an index.

    Raises:
        BadDataError: It is none, holds something else than files, or is too large.
    """
    found: dict[str, bytes] = {}
    size = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as tar:
            for member in tar:
                size += member.size
                stream = tar.extractfile(member) if member.isreg() else None
                if stream is None or size > MAX_BYTES or ".." in member.name.split("/"):
                    raise BadDataError(what, f"unexpected member {member.name!r:.200}")
                found[member.name] = stream.read()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise BadDataError(what, f"no index: {error}") from error
    return found
