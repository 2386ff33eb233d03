"""Who signs a repository, and the page that says how it is verified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from opambin.publish.pages import front, rendering, wording

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from opambin.publish.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Signed:
    """Who signs a repository.

    Attributes:
        keys: Name and fingerprint of the keys of the root, sorted.
        quorum: How many of them must sign it.
        validation: What opam is to ask before it takes an update.
    """

    keys: tuple[tuple[str, str], ...]
    quorum: int
    validation: str


def signers(root: Path) -> Signed | None:
    """Look who signs a repository; None when it is not signed.

    Args:
        root: Of the repository.

    Raises:
        BadDataError: The metadata can't be read.
        UnavailableError: As before.
    """
    from opambin.publish.signed.keys import key_fingerprint, key_name
    from opambin.publish.signed.metafolder import MetadataFolder
    from opambin.publish.signed.profile import TopRole
    from opambin.publish.signed.standing import VALIDATION

    folder = MetadataFolder(root)
    if not folder.exists():
        return None
    found = folder.root().signed
    role = found.roles[TopRole.ROOT]
    keys = [found.keys[it] for it in role.keyids if it in found.keys]
    named = sorted((key_fingerprint(key), key_name(key)) for key in keys if key_fingerprint(key))
    return Signed(tuple((name, str(fingerprint)) for fingerprint, name in named), role.threshold, VALIDATION)


def render(catalogue: Catalogue, signed: Signed | None, shared: Mapping[str, object]) -> bytes:
    """Make the page."""
    verify = ["opam-bin", "verify-repo", catalogue.base_url]
    add = ["opam", "repository", "add", front.REPOSITORY, catalogue.base_url]
    use = front.new_switch(catalogue, front.figures(catalogue), added=True)
    ask = ["opam", "option", "--global"]
    if signed is not None:
        prints = [fingerprint for _, fingerprint in signed.keys]
        verify += [word for it in prints for word in ("--anchor", it)] + ["--quorum", str(signed.quorum)]
        add += [str(signed.quorum), *prints, *(["--dont-select"] if use else [])]
        ask.append(f"repository-validation-command={signed.validation}")
    return rendering.render(
        "verify.html",
        **shared,
        up="../",
        trust=signed,
        verify=wording.command(*verify),
        add=wording.command(*add),
        ask=wording.command(*ask),
        use=use,
    )
