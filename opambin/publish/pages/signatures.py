"""Who signs a repository, and who signs each of its packages, for the pages that say so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from securesystemslib.signer import Key
    from tuf.api.metadata import Metadata, Targets

    from opambin.publish.catalogue import Build

    NamedKeys = tuple[tuple[str, str], ...]
    """Name and fingerprint of keys, sorted."""


@dataclass(frozen=True, slots=True)
class Signatory:
    """Who signs a package.

    Attributes:
        publisher: The name of another publisher; empty for the owner of the repository.
        keys: Its keys.
        threshold: How many of them must sign.
        definitions: Paths of the definitions that another publisher has signed.
    """

    publisher: str
    keys: NamedKeys
    threshold: int
    definitions: frozenset[str] = frozenset()

    @property
    def packages(self) -> list[str]:
        """The packages that another publisher has signed."""
        return sorted({path.split("/")[1] for path in self.definitions})


@dataclass(frozen=True, slots=True)
class Signed:
    """Who signs a repository.

    Attributes:
        keys: The keys of the root.
        quorum: How many of them must sign it.
        validation: What opam is to ask before it takes an update.
        owner: Signs the packages that no other publisher does.
        others: Other publishers, of whom something was taken over.
    """

    keys: NamedKeys
    quorum: int
    validation: str
    owner: Signatory
    others: tuple[Signatory, ...] = ()

    def of(self, build: Build) -> Signatory:
        """Return who signs a build."""
        return next((it for it in self.others if build.opam_path in it.definitions), self.owner)


def signers(
    root: Path,
    *,
    accepted: Mapping[str, Metadata[Targets]] | None = None,
    without: Collection[str] = (),
) -> Signed | None:
    """Look who signs a repository; None when it is not signed.

    Args:
        root: Of the repository.
        accepted: What other publishers have signed and is about to be taken over.
        without: Other publishers from whom their packages are about to be taken.

    Raises:
        BadDataError: The metadata can't be read.
        UnavailableError: As before.
    """
    from opambin.publish.signed.accepting import in_force
    from opambin.publish.signed.metafolder import MetadataFolder
    from opambin.publish.signed.profile import TopRole
    from opambin.publish.signed.standing import VALIDATION

    folder = MetadataFolder(root)
    if not folder.exists():
        return None
    found = folder.root().signed
    roles = {it: found.roles[it] for it in (TopRole.ROOT, TopRole.TARGETS)}
    named = {it: _named(found.keys[key] for key in role.keyids) for it, role in roles.items()}
    targets = folder.targets()
    lists = in_force(folder, targets, without) | dict(accepted or {})
    others = () if targets is None else tuple(_others(targets.signed, lists))
    owner = Signatory("", named[TopRole.TARGETS], roles[TopRole.TARGETS].threshold)
    return Signed(named[TopRole.ROOT], roles[TopRole.ROOT].threshold, VALIDATION, owner, others)


def _others(targets: Targets, lists: Mapping[str, Metadata[Targets]]) -> Iterable[Signatory]:
    delegations = targets.delegations
    if delegations is None or delegations.roles is None:
        return
    for name, metadata in sorted(lists.items()):
        role = delegations.roles[name]
        keys = _named(delegations.keys[it] for it in role.keyids)
        yield Signatory(name, keys, role.threshold, frozenset(metadata.signed.targets))


def _named(keys: Iterable[Key]) -> NamedKeys:
    from opambin.publish.signed.keys import key_fingerprint, key_name

    prints = sorted((str(key_fingerprint(key)), key_name(key)) for key in keys if key_fingerprint(key))
    return tuple((name, fingerprint) for fingerprint, name in prints)
