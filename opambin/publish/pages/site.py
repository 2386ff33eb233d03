"""The pages of a repository: only those that changed are made, each whole or not at all.

What belongs to the pages is ``index.html`` and everything in ``pages/``; what is there and is no page any
more is removed at the end. ``pages/pages.json`` says what each page was made of, so that a page whose input
is the same is not even rendered. The same catalogue gives the same bytes, wherever and whenever.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from opambin.errors import UnavailableError
from opambin.publish import catalogue as catalogues
from opambin.publish.pages import crew, files, listing
from opambin.publish.pages.contents import pages
from opambin.publish.pages.signatures import signers

if TYPE_CHECKING:
    from pathlib import Path

    from opambin.publish.catalogue import Catalogue
    from opambin.publish.pages.listing import Listing
    from opambin.publish.pages.signatures import Signed


@dataclass(frozen=True, slots=True)
class Prepared:
    """Pages that are made, and lie beside the repository for who publishes it.

    Attributes:
        files: Where the new ones are, or what they hold, by path in the repository; the last is the state.
        gone: Paths of files that are no pages any more.
    """

    files: dict[str, bytes | Path]
    gone: tuple[str, ...]


def prepare(
    work: Path,
    catalogue: Catalogue,
    state: bytes | None,
    *,
    signed: Signed | None = None,
    names: Listing | None = None,
) -> Prepared:
    """Make the pages that changed, in a folder of their own.

    Args:
        work: An empty folder.
        catalogue: What the repository will hold.
        state: ``pages/pages.json`` as it is in the repository; None for none.
        signed: Who signs the repository, when it is signed.
        names: Names the files of builds.

    Raises:
        UnavailableError: One can't be written.
    """
    wanted = {page.path: page for page in pages(catalogue, signed, names or listing.unknown)}
    before = files.parse_state(state)
    due = [page for path, page in wanted.items() if before.get(path) != page.digest]
    gone = tuple(sorted(path for path in before if path not in wanted and files.is_page(path)))
    if not due and not gone:
        return Prepared({}, ())
    try:
        crew.carry_out(work, due)
    except OSError as error:
        raise _unwritable(work, error) from error
    made: dict[str, bytes | Path] = {page.path: work / page.path for page in due}
    made[files.STATE] = files.render_state({path: page.digest for path, page in wanted.items()})
    return Prepared(made, gone)


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
    known = listing.from_pages(partial(files.read, root), names or listing.from_archives(root))
    wanted = {page.path: page for page in pages(catalogue, signed, known)}
    try:
        before, there = files.parse_state(files.read(root, files.STATE)), files.present(root)
        due = [page for path, page in wanted.items() if path not in there or before.get(path) != page.digest]
        written = crew.carry_out(root, due)
        files.put(root, files.STATE, files.render_state({path: page.digest for path, page in wanted.items()}))
        gone = sorted(there - set(wanted) - {files.STATE})
        files.remove(root, gone)
    except OSError as error:
        raise _unwritable(root, error) from error
    return PagesWritten(written, len(wanted) - written, len(gone))


def renew(root: Path, signed: Signed | None = None) -> PagesWritten | None:
    """Bring the pages of a published folder up to who signs it; None where there are none.

    Args:
        root: Of the repository.
        signed: Who will sign it, where that is not who does.

    Raises:
        UnavailableError: A page can't be written.
        BadDataError: The catalogue, or the metadata, can't be read.
    """
    data = files.read(root, catalogues.NAME)
    if data is None or not (root / files.STATE).is_file():
        return None
    return write_pages(root, catalogues.Catalogue.parse(data), signed=signed or signers(root))


def _unwritable(folder: Path, error: OSError) -> UnavailableError:
    return UnavailableError(f"the pages in {folder} can't be written: {error.strerror or error}")
