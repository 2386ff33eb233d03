"""Is what a repository serves what was signed? Every file, or the definitions alone."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opambin.publish.indexfile import read_index
from opambin.publish.signed.profile import FOLDER, INDEX, is_indexed
from opambin.publish.signed.refusals import Kind, RefusedError
from opambin.publish.signed.sources import CONNECTIONS, TooLongError, read

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tuf.api.metadata import TargetFile

    from opambin.publish.signed.client import Trusted
    from opambin.publish.signed.sources import Source

MAX_INDEX_BYTES = 256_000_000


@dataclass(frozen=True, slots=True)
class Checked:
    """What was looked at.

    Attributes:
        files: How many.
        size: Their bytes.
        missing: Files that were signed and are not there; only a partial copy may lack some.
    """

    files: int
    size: int
    missing: int


def check(source: Source, trusted: Trusted, *, quick: bool = False, partial: bool = False) -> Checked:
    """Compare what is served with what was signed.

    Args:
        source: The repository.
        trusted: What was signed.
        quick: Only the index, which holds all definitions; archives and pages are not fetched.
        partial: It is a copy of a part: files may be missing, and the index may be one for the part.

    Raises:
        RefusedError: Something is not what was signed, or missing.
        UnavailableError: It can't be read.
    """
    index = check_index(source, trusted, partial=partial)
    wanted = [path for path in trusted.files if path != INDEX and (path == "repo" or not quick)]
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        found = list(pool.map(lambda path: file_matches(source, trusted.files[path]), wanted))
    missing = [
        path
        for path, there in zip(wanted, found, strict=True)
        if not there and (source.has_tree or path == "repo" or path not in index)
    ]
    if missing and (not partial or "repo" in missing):
        raise RefusedError(Kind.INCOMPLETE, source.name, _listed(missing, "missing"))
    size = sum(trusted.files[path].length for path, there in zip(wanted, found, strict=True) if there)
    lacking = sum(1 for path in trusted.files if is_indexed(path) and path not in index) if partial else 0
    return Checked(sum(found) + 1, size + sum(map(len, index.values())), max(len(missing), lacking))


def check_index(source: Source, trusted: Trusted, *, partial: bool) -> dict[str, bytes]:
    """Return the content of the index, which is what was signed.

    Raises:
        RefusedError: It is not.
        UnavailableError: It can't be read.
    """
    signed = trusted.files.get(INDEX)
    if signed is None:
        raise RefusedError(Kind.INCOMPLETE, source.name, f"nobody has signed {INDEX}")
    try:
        data = read(source, INDEX, MAX_INDEX_BYTES if partial else signed.length)
    except TooLongError as error:
        raise RefusedError(
            Kind.TAMPERED, INDEX, "longer than what was signed", expected=signed.length
        ) from error
    if data is None:
        raise RefusedError(Kind.INCOMPLETE, source.name, f"{INDEX} is missing")
    if not partial:
        matches(signed, data)
    members = {path: it for path, it in read_index(data).items() if not path.startswith(f"{FOLDER}/")}
    check_members(members, trusted, partial=partial)
    return members


def check_members(members: Mapping[str, bytes], trusted: Trusted, *, partial: bool) -> None:
    """Compare the definitions that opam gets with those that were signed.

    Raises:
        RefusedError: One is not what was signed, nobody signed it, or one is missing.
    """
    signed = {path: it for path, it in trusted.files.items() if is_indexed(path)}
    foreign = sorted(path for path in members if path not in signed)
    if foreign:
        raise RefusedError(Kind.TAMPERED, foreign[0], "nobody has signed it")
    for path in sorted(members):
        matches(signed[path], members[path])
    missing = sorted(path for path in signed if path not in members and signed[path].length)
    if missing and (not partial or "repo" in missing):
        raise RefusedError(Kind.INCOMPLETE, INDEX, _listed(missing, "missing"))


def matches(signed: TargetFile, data: bytes) -> None:
    """Compare bytes with what was signed.

    Raises:
        RefusedError: They are others.
    """
    _same(signed, len(data), hashlib.sha256(data).hexdigest())


def file_matches(source: Source, signed: TargetFile) -> bool:
    """Compare a file with what was signed.

    Returns:
        False when it is not there.

    Raises:
        RefusedError: It is another.
        UnavailableError: It can't be read.
    """
    pieces = source.pieces(signed.path)
    if pieces is None:
        return False
    digest, length = hashlib.sha256(), 0
    for piece in pieces:
        digest.update(piece)
        length += len(piece)
        if length > signed.length:
            raise RefusedError(
                Kind.TAMPERED, signed.path, "longer than what was signed", expected=signed.length
            )
    _same(signed, length, digest.hexdigest())
    return True


def _same(signed: TargetFile, length: int, digest: str) -> None:
    if length != signed.length:
        raise RefusedError(
            Kind.TAMPERED,
            signed.path,
            "not as long as what was signed",
            expected=signed.length,
            observed=length,
        )
    if digest != signed.hashes["sha256"]:
        raise RefusedError(
            Kind.TAMPERED,
            signed.path,
            "not what was signed",
            expected=signed.hashes["sha256"],
            observed=digest,
        )


def _listed(paths: Iterable[str], problem: str) -> str:
    found = list(paths)
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return f"{found[0]}{more} {problem}"
