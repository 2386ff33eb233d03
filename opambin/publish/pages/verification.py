"""The page that says how a repository is verified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from opambin.publish.pages import rendering, wording

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opambin.publish.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Signed:
    """Who signs a repository.

    Attributes:
        keys: Names and ids of the keys of the root.
        threshold: How many of them must have signed it.
        anchor: What a user hands to opam and to ``opam-bin verify-repo`` as the beginning of trust.
    """

    keys: tuple[tuple[str, str], ...]
    threshold: int
    anchor: str


def render(catalogue: Catalogue, signed: Signed | None, shared: Mapping[str, object]) -> bytes:
    """Make the page."""
    return rendering.render(
        "verify.html",
        **shared,
        up="../",
        trust=signed,
        verify=wording.command("opam-bin", "verify-repo", catalogue.base_url),
        index_address=f"{catalogue.base_url}/opam-bin-index.json",
    )
