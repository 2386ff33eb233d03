"""The page of a package, and of one build where there are several."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from opambin.publish.pages import graph, listing, packages, rendering, wording
from opambin.publish.pages.files import FOLDER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opambin.publish.catalogue import Build, Catalogue
    from opambin.publish.pages.listing import Listing
    from opambin.publish.pages.packages import PackageView
    from opambin.publish.pages.signatures import Signed

MOST_USERS = 60  # named on a page; more are counted


@dataclass(frozen=True)
class Setting:
    """What all pages of packages share.

    Attributes:
        catalogue: What the repository holds.
        shared: Values for the frame of a page.
        files: Names the files of builds.
        signed: Who signs them, when the repository is signed.
    """

    catalogue: Catalogue
    shared: Mapping[str, object]
    files: Listing
    signed: Signed | None

    @cached_property
    def published(self) -> graph.Published:
        """Builds by name and published version."""
        return {(it.name, it.published): it for it in self.catalogue.builds}


def path(view: PackageView, build: Build) -> str:
    """Return where the page of one of several builds is."""
    return f"{FOLDER}/p/{view.page}/{wording.file_of(build.published)}.html"


def render(setting: Setting, view: PackageView, build: Build, at: str) -> bytes:
    """Make the page that shows a build.

    Args:
        setting: What all pages share.
        view: The package.
        build: One of its builds.
        at: Path of the page.
    """
    from markupsafe import Markup

    up = "../" * at.count("/")
    closure = graph.closure(build, setting.published)
    drawing, not_drawn = graph.draw(closure, up)
    signatory = None if setting.signed is None else setting.signed.of(build)
    names = setting.files(build) if build.archive else ()
    files, not_listed = listing.drawn(names or ())
    return rendering.render(
        "package.html",
        **setting.shared,
        up=up,
        view=view,
        build=build,
        own_page=at != f"{FOLDER}/p/{view.page}.html",
        chips=packages.chips(build, signatory),
        signatory=signatory,
        commands=packages.commands(build, setting.catalogue.mode),
        graph=Markup(drawing),  # noqa: S704 - made by graph.draw, which escapes
        not_drawn=not_drawn,
        direct=[(name, closure.builds.get(name)) for name in closure.direct],
        indirect=[(name, closure.builds.get(name)) for name in closure.indirect],
        files=Markup(files),  # noqa: S704 - made by listing.drawn, which escapes
        files_known=names is not None,
        not_listed=not_listed,
        users=view.users[:MOST_USERS],
        users_left=max(0, len(view.users) - MOST_USERS),
        badge_address=f"{setting.catalogue.base_url}/{FOLDER}/badge/{view.page}.svg",
        page_address=f"{setting.catalogue.base_url}/{FOLDER}/p/{view.page}.html",
    )
