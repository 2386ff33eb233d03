"""Every page of a repository: its path, a digest of what it is made of, and how it is rendered.

The digest of a package's page covers the build that it shows with all that is below it, the rows of the other
builds, and who depends on it: when one of them changes, so does the page, and no other does.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING

from opambin.publish.pages import badge, front, lists, packagepage, packages, rendering, search, verification
from opambin.publish.pages.files import FOLDER, FRONT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opambin.publish.catalogue import Build, Catalogue
    from opambin.publish.pages.listing import Listing
    from opambin.publish.pages.packages import PackageView
    from opambin.publish.pages.signatures import Signed


@dataclass(frozen=True, slots=True)
class Page:
    """A file of the site.

    Attributes:
        path: Relative to the root of the repository.
        digest: Of everything that its bytes depend on.
        render: Makes the bytes.
    """

    path: str
    digest: str
    render: Callable[[], bytes]


def pages(catalogue: Catalogue, signed: Signed | None, files: Listing) -> Iterator[Page]:
    """Return every file of the site; none is rendered yet.

    Args:
        catalogue: What the repository holds.
        signed: Who signs it, when it is signed.
        files: Names the files of builds.
    """
    views = packages.views(catalogue)
    rows = [(it.name, it.newest.published, len(it.users), it.newest.synopsis) for it in views]
    names = search.names((name, version, users) for name, version, users, _ in rows)
    words = search.words([synopsis for *_, synopsis in rows])
    marks = {name: _digest(rendering.asset(name))[:12] for name in rendering.ASSETS}
    shared = {
        "marks": marks,
        "host": front.host(catalogue),
        "signed": signed is not None,
    }
    site = _digest(rendering.generator(), shared, catalogue.base_url, catalogue.mode)
    for name in rendering.ASSETS:
        yield Page(f"{FOLDER}/{name}", marks[name], partial(rendering.asset, name))
    yield Page(f"{FOLDER}/names.txt", _digest(site, names), lambda: names)
    yield Page(f"{FOLDER}/words.txt", _digest(site, words), lambda: words)
    yield from _of_packages(catalogue, views, packagepage.Setting(catalogue, shared, files, signed), site)
    for at in lists.pages(views):
        rendered = partial(lists.render, at, shared)
        yield Page(at.path, _digest(site, at.letter, at.number, at.others, _rows(at.packages)), rendered)
    index = {"names": _digest(names)[:12], "words": _digest(words)[:12]}
    whole = _digest(site, catalogue.serial, catalogue.time, rows, front.figures(catalogue), index)
    yield Page(FRONT, whole, partial(front.render, catalogue, views, {**shared, "index": index}))
    yield Page(
        f"{FOLDER}/verify.html",
        _digest(site, _verified(signed), front.compiler(front.figures(catalogue))),
        partial(verification.render, catalogue, signed, shared),
    )
    yield Page(
        f"{FOLDER}/left-out.html",
        _digest(site, catalogue.left_out),
        partial(lists.render_left_out, catalogue, shared),
    )


def _of_packages(
    catalogue: Catalogue, views: list[PackageView], setting: packagepage.Setting, site: str
) -> Iterator[Page]:
    below = _below(catalogue)
    for it in views:
        rows = _digest(site, it.users, [_row(build) for build in it.builds] if len(it.builds) > 1 else "")
        shown = [(f"{FOLDER}/p/{it.page}.html", it.newest)]
        if len(it.builds) > 1:
            shown += [(packagepage.path(it, build), build) for build in it.builds]
        for path, build in shown:
            digest = _digest(rows, below[build.name, build.published], _signature(setting.signed, build))
            yield Page(path, digest, partial(packagepage.render, setting, it, build, path))
        yield Page(
            f"{FOLDER}/badge/{it.page}.svg",
            _digest(site, it.newest.version),
            partial(badge.badge, it.newest.version),
        )


def _signature(signed: Signed | None, build: Build) -> object:
    """Return what a page says of who signed a build."""
    if signed is None:
        return None
    found = signed.of(build)
    return found.publisher, found.keys, found.threshold


def _verified(signed: Signed | None) -> object:
    """Return what is told of signatures in one place."""
    if signed is None:
        return None
    others = [(it.publisher, it.keys, it.threshold, it.packages) for it in signed.others]
    return signed.keys, signed.quorum, signed.validation, others


def _row(build: Build) -> str:
    return repr(
        (
            build.published,
            build.compiler,
            build.platform,
            build.size,
            build.archive,
            build.outputs,
            build.published_at,
        )
    )


def _rows(views: list[PackageView]) -> str:
    return repr([(it.name, it.newest.published, it.newest.synopsis) for it in views])


def _below(catalogue: Catalogue) -> dict[tuple[str, str], str]:
    """Return, for each build, a digest of it and of all builds that it needs."""
    published: dict[tuple[str, str], Build] = {(it.name, it.published): it for it in catalogue.builds}
    found: dict[tuple[str, str], str] = {}
    for start in published:
        stack = [start]
        open_builds: set[tuple[str, str]] = set()
        while stack:
            now = stack[-1]
            if now in found:
                stack.pop()
                continue
            build = published[now]
            needed = [
                (each.name, each.published)
                for each in build.dependencies
                if not each.post and (each.name, each.published) in published
            ]
            waiting = [each for each in needed if each not in found and each not in open_builds]
            open_builds.add(now)
            if waiting:
                stack += waiting
                continue
            found[now] = _digest(build, [found.get(each, each) for each in needed])
            stack.pop()
    return found


def _digest(*parts: object) -> str:
    digest = sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else repr(part).encode("utf-8", "backslashreplace")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:32]
