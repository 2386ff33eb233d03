"""Roots on disk: the first, the next ones, and drafts of them that travel to the machines of the root keys.

A repository whose keys change is not valid until everything below the root is signed by the new ones. So a
root is put into force together with these signatures, or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from opambin.errors import BadDataError, MisuseError
from opambin.publish.signed.metafolder import MetadataFolder, check_parent, parse_root, render
from opambin.publish.signed.profile import FOLDER
from opambin.publish.signed.roots import RoleKeys, Standing, first_root, next_root, sign_all, standing
from opambin.publish.tufmeta import Wishes, sign_repository

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from securesystemslib.signer import CryptoSigner
    from tuf.api.metadata import Metadata, Root

    from opambin.publish.signed.profile import TopRole
    from opambin.publish.signed.roots import RootChange
    from opambin.publish.tufmeta import Signing


@dataclass(frozen=True, slots=True)
class Draft:
    """A root that is not in force yet.

    Attributes:
        data: Its bytes.
        version: Of it.
        standing: How far it is signed.
    """

    data: bytes
    version: int
    standing: Standing


def draft_first(
    repository: Path, roles: Mapping[TopRole, RoleKeys], signers: Sequence[CryptoSigner], now: datetime
) -> Draft:
    """Make the first root of a repository; nothing is written.

    Raises:
        MisuseError: It has one already, or is no repository, or the keys can't be.
    """
    from tuf.api.metadata import Metadata

    check_parent(repository)
    if MetadataFolder(repository).exists():
        raise MisuseError(f"{repository} has keys already; opam-bin tuf rotate changes them")
    return _draft(Metadata(first_root(roles, now)), None, signers)


def draft_next(repository: Path, change: RootChange, signers: Sequence[CryptoSigner], now: datetime) -> Draft:
    """Make the root that follows the one in force; nothing is written.

    Raises:
        MisuseError: The change can't be.
        UnavailableError: There is no root yet.
    """
    from tuf.api.metadata import Metadata

    current = MetadataFolder(repository).root().signed
    return _draft(Metadata(next_root(current, change, now)), current, signers)


def countersign(data: bytes, what: str, signers: Sequence[CryptoSigner]) -> Draft:
    """Add signatures to a draft, on a machine that has nothing but the draft and a key.

    Raises:
        BadDataError: It is no root.
    """
    metadata = parse_root(data, what)
    for signer in signers:
        metadata.sign(signer, append=True)
    return Draft(render(metadata), metadata.signed.version, standing(metadata, None))


def put_in_force(
    repository: Path, data: bytes, signers: Sequence[CryptoSigner], now: datetime
) -> tuple[Draft, Signing]:
    """Put a root into force, and sign everything below it.

    Args:
        repository: The folder that is published.
        data: The root.
        signers: Secret keys for the roles below the root, as far as something has to be signed by them.
        now: The time.

    Raises:
        MisuseError: It is not signed by enough root keys, or keys below it are missing; nothing has changed.
        BadDataError: It is no root.
    """
    check_parent(repository)
    folder = MetadataFolder(repository)
    metadata = parse_root(data, "the root")
    previous = folder.root().signed if folder.exists() else None
    found = standing(metadata, previous)
    version = metadata.signed.version
    if previous is None and version != 1:
        raise BadDataError("the root", "a repository begins with version 1", expected=1, observed=version)
    if not found.complete:
        more = f"; still to sign: {', '.join(found.missing)}" if found.missing else ""
        raise MisuseError(f"root {version} can't come into force: {'; '.join(found.lacking)}{more}")
    if metadata.signed.is_expired(now):
        raise MisuseError(f"root {version} has expired already; make a new one")
    from opambin.publish.pages.site import renew as renew_pages

    name = f"{version}.root.json"
    folder.write(name, data)
    try:
        renew_pages(repository)  # they say whose keys these are
        signing = sign_repository(repository, signers, now, Wishes(renew=True))
    except BaseException:
        (repository / FOLDER / name).unlink(missing_ok=True)  # without it the former root is in force
        renew_pages(repository)
        raise
    folder.write("root.json", data)  # for people: what to hand out as --root
    return Draft(data, version, found), signing


def _draft(metadata: Metadata[Root], previous: Root | None, signers: Sequence[CryptoSigner]) -> Draft:
    sign_all(metadata, signers, previous)
    return Draft(render(metadata), metadata.signed.version, standing(metadata, previous))
