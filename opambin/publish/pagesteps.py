"""The pages of a publication: made beside the repository, put in place with the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opambin.publish.pages import files, listing, site
from opambin.publish.pages.signatures import signers
from opambin.publish.places import Folder

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from opambin.model import Manifest
    from opambin.publish.catalogue import Catalogue
    from opambin.publish.pages.site import Prepared
    from opambin.publish.places import Place

MADE = "made-pages"  # folder in the publication's own


def prepare(place: Place, work: Path, found: Catalogue, manifests: Iterable[Manifest]) -> Prepared:
    """Make the pages that changed.

    Args:
        place: Where the repository is.
        work: A folder to work in.
        found: What the repository will hold.
        manifests: Snapshots that are at hand; they name the files of their builds.

    Raises:
        UnavailableError: A page can't be written, or the signatures that are there can't be read.
        BadDataError: The signatures that are there are damaged.
    """
    root = place.path if isinstance(place, Folder) else None
    elsewhere = listing.unknown if root is None else listing.from_archives(root)
    known = {(manifest.key, manifest.output): manifest for manifest in manifests}
    names = listing.from_manifests(known, listing.from_pages(place.read, elsewhere))
    signed = None if root is None else signers(root)
    return site.prepare(work / MADE, found, place.read(files.STATE), signed=signed, names=names)
