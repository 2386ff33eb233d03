"""The front page's numbers and commands: what this repository is, and how to opt in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from opambin.opam.version import sort_key
from opambin.publish.catalogue import ContentKind, Mode
from opambin.publish.pages import lists, packages, rendering, wording

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opambin.publish.catalogue import Catalogue
    from opambin.publish.pages.packages import PackageView

REPOSITORY = "bin"
"""The name that the commands give the repository on the user's side."""
MOST_LISTED = 150  # packages that are all named on the front page
MOST_USED = 24
SWITCH = "ready"
"""The name that the commands give a new switch."""
_COMPILERS = ("ocaml-base-compiler", "ocaml-variants", "ocaml-system")


@dataclass(frozen=True, slots=True)
class Figures:
    """What the front page counts.

    Attributes:
        packages: Names.
        builds: Published builds.
        archives: Different archives.
        archive_bytes: Their size.
        compilers: ``NAME.VERSION``, sorted.
        platforms: For people, sorted.
        own_compiler: Whether one of the compilers is published as a binary.
    """

    packages: int
    builds: int
    archives: int
    archive_bytes: int
    compilers: tuple[str, ...]
    platforms: tuple[str, ...]
    own_compiler: bool


def figures(catalogue: Catalogue) -> Figures:
    """Count what a repository holds."""
    archives = {it.archive.path: it.archive.size for it in catalogue.builds if it.archive}
    compilers = {it.compiler for it in catalogue.builds if it.compiler}
    binaries = [it for it in catalogue.builds if it.kind is ContentKind.BINARY]
    return Figures(
        len({it.name for it in catalogue.builds}),
        len(catalogue.builds),
        len(archives),
        sum(archives.values()),
        tuple(sorted(compilers, key=_compiler_order)),
        tuple(sorted({packages.platform(it) for it in binaries} - {""})),
        any(f"{it.name}.{it.version}" in compilers for it in binaries),
    )


def _compiler_order(compiler: str) -> tuple[str, object]:
    name, _, version = compiler.partition(".")
    return name, sort_key(version)


def compiler(found: Figures) -> str:
    """Return the compiler of the example: one that was built before the machine's, and its newest version."""
    for name in _COMPILERS:
        known = [it for it in found.compilers if it.startswith(f"{name}.")]
        if known:
            version = known[-1].partition(".")[2]
            return version if name == _COMPILERS[0] else known[-1]
    return found.compilers[-1] if found.compilers else ""


def example(views: Sequence[PackageView]) -> PackageView | None:
    """Return the package that examples name: the one with a binary that most others depend on."""
    most = packages.most_used(views, 1)
    binary = [it for it in views if it.newest.kind is ContentKind.BINARY]
    return next(iter(most or binary), None)


def new_switch(catalogue: Catalogue, found: Figures, *, added: bool = False) -> str:
    """Return the command that makes a switch from this repository alone; empty when that can't be done.

    Args:
        catalogue: What the repository holds.
        found: Its numbers.
        added: Whether opam knows the repository already.
    """
    wanted = compiler(found)
    if catalogue.mode is Mode.MIXED or not wording.is_package(wanted):
        return ""
    repository = REPOSITORY if added else f"{REPOSITORY}={catalogue.base_url}"
    return wording.command("opam", "switch", "create", SWITCH, wanted, f"--repos={repository}")


def add_repository(catalogue: Catalogue) -> str:
    """Return the command that adds this repository to the current switch."""
    return wording.command("opam", "repository", "add", REPOSITORY, catalogue.base_url)


def add_sources() -> str:
    """Return the command that puts the usual source repository behind this one, in the current switch."""
    return wording.command("opam", "repository", "add", "default", "--rank=-1")


def host(catalogue: Catalogue) -> str:
    """Return where the repository is served, in short."""
    try:
        parts = urlsplit(catalogue.base_url)
    except ValueError:
        return ""
    return (parts.netloc + parts.path).strip("/")


def render(catalogue: Catalogue, views: Sequence[PackageView], shared: Mapping[str, object]) -> bytes:
    """Make the front page."""
    found = figures(catalogue)
    small = len(views) <= MOST_LISTED
    shown = example(views)
    return rendering.render(
        "front.html",
        **shared,
        up="",
        found=found,
        serial=catalogue.serial,
        time=catalogue.time,
        mixed=catalogue.mode is Mode.MIXED,
        new_switch=new_switch(catalogue, found),
        add_repository=add_repository(catalogue),
        add_sources=add_sources(),
        install=next(iter(packages.commands(shown.newest, catalogue.mode)), "") if shown else "",
        every=views if small else (),
        most_used=() if small else packages.most_used(views, MOST_USED),
        letters=lists.LETTERS,
        used_letters="".join(packages.by_letter(views)),
        left_out=len(catalogue.left_out),
    )
