"""The list of all packages, by letter and in pages of bounded length, and the list of what was left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from opambin.publish.pages import packages, rendering
from opambin.publish.pages.files import FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from opambin.publish.catalogue import Catalogue, LeftOut
    from opambin.publish.pages.packages import PackageView

MOST_ROWS = 250  # of a page
LETTERS = "0abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class ListPage:
    """A page of the list.

    Attributes:
        letter: Of all its packages; ``0`` for those that begin with none.
        number: From 1.
        count: Pages of the letter.
        packages: On this page.
        others: The letters that have packages.
        before: Path of the page before it, beside it; empty for none.
        after: Path of the page after it.
    """

    letter: str
    number: int
    count: int
    packages: list[PackageView]
    others: str
    before: str
    after: str

    @property
    def path(self) -> str:
        """Relative to the root of the repository."""
        return f"{FOLDER}/all/{file_name(self.letter, self.number)}"


def file_name(letter: str, number: int = 1) -> str:
    """Return the file of a page of the list."""
    return f"{letter}.html" if number == 1 else f"{letter}-{number}.html"


def pages(views: Sequence[PackageView]) -> Iterator[ListPage]:
    """Split the packages into pages: a letter never shares one, so that a new package changes few."""
    if not views:
        yield ListPage(LETTERS[1], 1, 1, [], "", "", "")
        return
    letters = packages.by_letter(views)
    split = [
        (letter, at // MOST_ROWS + 1, -(-len(found) // MOST_ROWS), found[at : at + MOST_ROWS])
        for letter, found in letters.items()
        for at in range(0, len(found), MOST_ROWS)
    ]
    files = ["", *(file_name(letter, number) for letter, number, *_ in split), ""]
    for at, (letter, number, count, rows) in enumerate(split):
        yield ListPage(letter, number, count, rows, "".join(letters), files[at], files[at + 2])


def render(at: ListPage, shared: Mapping[str, object]) -> bytes:
    """Make a page of the list."""
    return rendering.render("list.html", **shared, up="../../", page=at, letters=LETTERS)


def render_left_out(catalogue: Catalogue, shared: Mapping[str, object]) -> bytes:
    """Make the page of what was not published, by reason."""
    reasons: dict[str, list[LeftOut]] = {}
    for each in catalogue.left_out:
        reasons.setdefault(each.reason, []).append(each)
    groups = sorted(reasons.items(), key=lambda it: (-len(it[1]), it[0]))
    return rendering.render("left-out.html", **shared, up="../", groups=groups, count=len(catalogue.left_out))
