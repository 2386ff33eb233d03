"""``index.tar.gz``: what opam downloads of a repository, its definitions; bytes in, bytes out."""

from __future__ import annotations

import gzip
import io
import tarfile
from typing import TYPE_CHECKING

from opambin.errors import BadDataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NAME = "index.tar.gz"
REPO = "repo"
LEVEL = 6  # of gzip; 9 takes three times as long and saves 1 %
TIME = 946_684_800  # of every member; 2000-01-01: some tars complain about 1970
MODE = 0o644
MAX_MEMBERS = 1_000_000
MAX_UNPACKED_BYTES = 1_000_000_000
MAX_MEMBER_BYTES = 128_000_000


def repo_file(base_url: str) -> bytes:
    """Return opam's description of the repository."""
    return f'opam-version: "2.0"\nbrowse: "{base_url}/"\n'.encode()


def write_index(members: Mapping[str, bytes]) -> bytes:
    """Return the archive of files, by path; the same content gives the same bytes.

    One time for all, no owners, sorted; folders are not listed, tar makes them.
    """
    packed = io.BytesIO()
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=LEVEL, fileobj=packed, mtime=0) as squeezed,
        tarfile.open(fileobj=squeezed, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        for path in sorted(members):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode, entry.mtime = len(members[path]), MODE, TIME
            archive.addfile(entry, io.BytesIO(members[path]))
    return packed.getvalue()


def read_index(data: bytes, what: str = NAME) -> dict[str, bytes]:
    """Return the files of such an archive, by path.

    Folders are passed over. Whoever made the archive may have wished us ill.

    Raises:
        BadDataError: It is none, or holds something that is no file, a path that leaves it, or too much.
    """
    members: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            for path, content in _files(archive, what):
                if path in members:
                    raise BadDataError(what, f"{path} stands in it twice")
                members[path] = content
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise BadDataError(what, f"no archive that tar understands: {error}") from error
    return members


def _files(archive: tarfile.TarFile, what: str) -> Iterator[tuple[str, bytes]]:
    total = 0
    for number, entry in enumerate(archive):
        path = entry.name.removeprefix("./").rstrip("/")
        if entry.isdir():
            continue
        if not entry.isreg():
            raise BadDataError(what, f"{entry.name!r:.100} is no plain file")
        if path.startswith("/") or not {"", ".", ".."}.isdisjoint(path.split("/")):
            raise BadDataError(what, f"{entry.name!r:.100} leaves the folder")
        total += entry.size
        if entry.size > MAX_MEMBER_BYTES or total > MAX_UNPACKED_BYTES or number > MAX_MEMBERS:
            raise BadDataError(what, "more than an index may hold")
        content = archive.extractfile(entry)
        yield path, b"" if content is None else content.read()
