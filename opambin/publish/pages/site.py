"""Writes the pages of a repository: only those that changed, each beside its place and then renamed into it.

What belongs to the pages is ``index.html`` and everything in ``pages/``; what is there and is no page any
more is removed at the end. ``pages/pages.json`` says what each page was made of, so that a page whose input
is the same is not even rendered. The same catalogue gives the same bytes, wherever and whenever.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from opambin.errors import UnavailableError
from opambin.publish.pages import crew, files, listing
from opambin.publish.pages.contents import pages

if TYPE_CHECKING:
    from pathlib import Path

    from opambin.publish.catalogue import Catalogue
    from opambin.publish.pages.listing import Listing
    from opambin.publish.pages.verification import Signed


@dataclass(frozen=True, slots=True)
class PagesWritten:
    """What was done.

    Attributes:
        written: Files that are new or changed.
        unchanged: Files that were right.
        removed: Files that are no pages any more.
    """

    written: int
    unchanged: int
    removed: int


def write_pages(
    root: Path, catalogue: Catalogue, *, signed: Signed | None = None, names: Listing | None = None
) -> PagesWritten:
    """Write the pages of a repository.

    Args:
        root: Of the repository.
        catalogue: What it holds.
        signed: Who signs it, when it is signed.
        names: Names the files of builds; by default they are read from the archives.

    Raises:
        UnavailableError: A page can't be written; those that are there are whole.
    """
    wanted = {page.path: page for page in pages(catalogue, signed, names or listing.from_archives(root))}
    try:
        before, there = files.read_state(root), files.present(root)
        due = [page for path, page in wanted.items() if path not in there or before.get(path) != page.digest]
        written = crew.carry_out(root, due)
        files.write_state(root, {path: page.digest for path, page in sorted(wanted.items())})
        gone = sorted(there - set(wanted) - {files.STATE})
        files.remove(root, gone)
    except OSError as error:
        raise UnavailableError(f"the pages in {root} can't be written: {error}") from error
    return PagesWritten(written, len(wanted) - written, len(gone))
