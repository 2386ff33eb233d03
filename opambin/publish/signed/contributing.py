"""Another publisher's packages: what it signs of its own repository, and how the owner takes that over."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from opambin.errors import BadDataError, MisuseError, UnavailableError
from opambin.publish.catalogue import NAME as CATALOGUE
from opambin.publish.catalogue import Catalogue
from opambin.publish.pages.signatures import signers as page_signers
from opambin.publish.pages.site import renew as renew_pages
from opambin.publish.signed.accepting import accepted, in_force
from opambin.publish.signed.contents import files, same, target_of
from opambin.publish.signed.delegating import publishers
from opambin.publish.signed.metafolder import MetadataFolder, check_parent, parse, render
from opambin.publish.signed.profile import (
    LIFETIMES,
    SPEC_VERSION,
    archive_digest,
    archives_named,
    check_publisher,
    expiry,
    is_indexed,
    package_names,
    package_patterns,
)
from opambin.publish.tufmeta import ONLINE, Wishes, check_signers, sign_repository
from opambin.replacing import replace_file

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from securesystemslib.signer import CryptoSigner

    from opambin.publish.catalogue import Build
    from opambin.publish.tufmeta import Signing

SUFFIX = ".contribution.json"


def contribute(
    repository: Path,
    publisher: str,
    names: Iterable[str],
    signers: Sequence[CryptoSigner],
    now: datetime,
) -> Path:
    """Sign packages of one's own repository for another's.

    Args:
        repository: One's own published folder; it need not be signed itself.
        publisher: The name under which the other's owner has delegated to us.
        names: The packages.
        signers: Our keys.
        now: The time.

    Returns:
        The file that was written, in the folder.

    Raises:
        MisuseError: There are no such packages, or no keys.
        UnavailableError: Something can't be read or written.
    """
    from tuf.api.metadata import Metadata, Targets

    check_parent(repository)
    wanted = set(package_names(package_patterns(names)))
    if not signers:
        raise MisuseError("nothing to sign with: give --sign-with KEY")
    found = {
        path: target_of(path, place.read_bytes())
        for path, place in files(repository)
        if path.startswith("packages/") and path.split("/")[1] in wanted
    }
    lacking = wanted - {path.split("/")[1] for path in found}
    if lacking:
        raise MisuseError(f"{repository} has no package {', '.join(sorted(lacking))}")
    place = repository / (check_publisher(publisher) + SUFFIX)
    version = parse(place.read_bytes(), str(place)).signed.version + 1 if place.is_file() else 1
    metadata = Metadata(Targets(version, SPEC_VERSION, expiry(now, LIFETIMES["targets"]), found))
    for signer in signers:
        metadata.sign(signer, append=True)
    replace_file(place, render(metadata))
    return place


def take_over(
    repository: Path, publisher: str, theirs: Path, signers: Sequence[CryptoSigner], now: datetime
) -> Signing:
    """Take over what another publisher has signed: its definitions, and the archives that they name.

    Args:
        repository: The owner's published folder.
        publisher: Who.
        theirs: The other's published folder.
        signers: The owner's keys that are online.
        now: The time.

    Raises:
        MisuseError: Nothing is delegated to it, or keys are missing.
        BadDataError: It is not signed as it must be, or its files are not what it signed.
        UnavailableError: Something can't be read or written.
    """
    folder = MetadataFolder(repository)
    place = theirs / (check_publisher(publisher) + SUFFIX)
    try:
        data = place.read_bytes()
    except OSError as error:
        raise UnavailableError(
            f"{place}: {error.strerror}; {publisher} makes it with opam-bin tuf contribute"
        ) from error
    targets = folder.targets()
    before = in_force(folder, targets)
    offered = accepted(targets, {publisher: data}, before, now)[publisher]
    contents = {path: _signed_content(theirs, path, it.length) for path, it in offered.signed.targets.items()}
    for path, content in contents.items():
        if not same(target_of(path, content), offered.signed.targets[path]):
            raise BadDataError(theirs / path, f"not what {publisher} has signed")
    _check_not_ours(repository, targets.signed.targets if targets is not None else {}, contents)
    check_signers(repository, signers, now, ONLINE)
    archives = {path for content in contents.values() for path in archives_named(content)}
    for path in sorted(archives):
        _copy(theirs, repository, path)
    for path, content in contents.items():
        replace_file(repository / path, content)
    former = before[publisher].signed.targets if publisher in before else {}
    _withdraw(repository, former.keys() - contents.keys())
    _merge_catalogue(repository, theirs, contents)
    renew_pages(repository, page_signers(repository, accepted={publisher: offered}))
    return sign_repository(repository, signers, now, Wishes(accept={publisher: data}))


def take_back(repository: Path, publisher: str, signers: Sequence[CryptoSigner], now: datetime) -> Signing:
    """Take the packages back from another publisher, and remove what it has published.

    Raises:
        MisuseError: Nothing is delegated to it, or keys are missing.
        UnavailableError: Something can't be read or written.
    """
    folder = MetadataFolder(repository)
    targets = folder.targets()
    delegated = targets.signed.delegations if targets is not None else None
    if publisher not in publishers(delegated):
        raise MisuseError(f"nothing is delegated to {publisher!r:.80}")
    check_signers(repository, signers, now)
    theirs = folder.targets(publisher)
    paths = theirs.signed.targets.keys() if theirs is not None else ()
    _withdraw(repository, paths)
    _drop_from_catalogue(repository, {path.split("/")[1] for path in paths})
    renew_pages(repository, page_signers(repository, without=(publisher,)))
    return sign_repository(repository, signers, now, Wishes(undelegate=(publisher,)))


def _signed_content(theirs: Path, path: str, length: int) -> bytes:
    place = theirs / path
    try:
        if place.is_symlink() or place.stat().st_size != length:
            raise BadDataError(place, "not what was signed")
        return place.read_bytes()
    except OSError as error:
        raise UnavailableError(f"{place}: {error.strerror}") from error


def _check_not_ours(repository: Path, own: Iterable[str], theirs: Iterable[str]) -> None:
    both = sorted(set(own) & set(theirs))
    if both:
        raise MisuseError(
            f"{repository / both[0]} is published under the owner's own signature; remove it first, then sign"
        )


def _copy(theirs: Path, repository: Path, path: str) -> None:
    """Copy an archive that is what its name says.

    Raises:
        BadDataError: It is not; nothing is left of it.
        UnavailableError: It can't be read or written.
    """
    origin, place = theirs / path, repository / path
    if place.exists():
        return
    beside = place.with_name(f".new-{place.name}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        if origin.is_symlink():
            raise BadDataError(origin, "a symbolic link is no archive")
        shutil.copyfile(origin, beside)
        with beside.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if digest != archive_digest(path):
            raise BadDataError(
                origin, "not what its name says", expected=archive_digest(path), observed=digest
            )
        beside.replace(place)
    except OSError as error:
        raise UnavailableError(f"{origin} can't be copied to {place}: {error.strerror}") from error
    finally:
        beside.unlink(missing_ok=True)


def _withdraw(repository: Path, paths: Collection[str]) -> None:
    """Remove definitions, and the archives that no other definition names."""
    gone = {it for path in paths if (repository / path).is_file() for it in _archives(repository / path)}
    for path in paths:
        _remove(repository / path)
    if gone:
        left = [place for path, place in files(repository) if is_indexed(path)]
        for path in gone.difference(*map(_archives, left)):
            _remove(repository / path)


def _archives(definition: Path) -> set[str]:
    return archives_named(definition.read_bytes())


def _remove(place: Path) -> None:
    """Remove a file, and its folders when nothing else is in them."""
    place.unlink(missing_ok=True)
    for folder in list(place.parents)[:2]:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _merge_catalogue(repository: Path, theirs: Path, contents: Mapping[str, bytes]) -> None:
    """Bring the other's entries into our catalogue, in place of what it says of these packages.

    The catalogue itself is not signed: an entry counts when it is of a definition that is.
    """
    ours, other = repository / CATALOGUE, theirs / CATALOGUE
    if not (ours.is_file() and other.is_file()):
        return
    _drop_from_catalogue(repository, {path.split("/")[1] for path in contents})
    signed = {path: hashlib.sha256(content).hexdigest() for path, content in contents.items()}
    mine, found = Catalogue.parse(ours.read_bytes()), Catalogue.parse(other.read_bytes(), str(other))
    taken = [it for it in found.builds if signed.get(it.opam_path) == it.opam]
    _put_catalogue(ours, mine, [*mine.builds, *taken])


def _drop_from_catalogue(repository: Path, names: Collection[str]) -> None:
    place = repository / CATALOGUE
    if place.is_file():
        found = Catalogue.parse(place.read_bytes())
        _put_catalogue(place, found, [it for it in found.builds if it.name not in names])


def _put_catalogue(place: Path, found: Catalogue, builds: Iterable[Build]) -> None:
    ordered = tuple(sorted(builds, key=lambda it: (it.name, it.published)))
    if ordered != found.builds:
        replace_file(place, replace(found, builds=ordered).render())
