"""What the page of a package shows, as values: its builds in order, and the words for their states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from opambin.model import PADDED_LENGTH
from opambin.opam.version import sort_key
from opambin.publish.catalogue import ContentKind, Mode
from opambin.publish.definition import SHORT
from opambin.publish.pages import wording

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from opambin.publish.catalogue import Build, Catalogue
    from opambin.publish.pages.signatures import Signatory

_OF_COMPILERS = ("ocaml", "base-", "conf-", "host-")
"""How names begin of what a switch has anyway, or of what nobody asks for."""


@dataclass(frozen=True, slots=True)
class Chip:
    """A state in a few words.

    Attributes:
        style: ``good``, ``warn``, ``bad`` or nothing, for the eye; the words say it, too.
        words: For people.
    """

    style: str
    words: str


@dataclass(frozen=True, slots=True)
class PackageView:
    """A package and its builds.

    Attributes:
        name: Of the package.
        page: File of its page, without extension.
        builds: Newest version first; of a version, the latest publication first.
        users: Names of the packages that depend on it, sorted.
    """

    name: str
    page: str
    builds: tuple[Build, ...]
    users: tuple[str, ...]

    @property
    def newest(self) -> Build:
        """The build that its page shows."""
        return self.builds[0]


def views(catalogue: Catalogue) -> list[PackageView]:
    """Return the packages of a repository, sorted by name."""
    builds: dict[str, list[Build]] = {}
    users: dict[str, set[str]] = {}
    for build in catalogue.builds:
        builds.setdefault(build.name, []).append(build)
        for each in build.dependencies:
            if not each.post:
                users.setdefault(each.name, set()).add(build.name)
    return [
        PackageView(name, wording.file_of(name), _ordered(found), tuple(sorted(users.get(name, ()))))
        for name, found in sorted(builds.items(), key=lambda it: (it[0].lower(), it[0]))
    ]


def _ordered(builds: Sequence[Build]) -> tuple[Build, ...]:
    if len(builds) == 1:
        return tuple(builds)
    by_publication = sorted(builds, key=lambda it: (-it.serial, -it.published_at, it.platform, it.published))
    return tuple(sorted(by_publication, key=lambda it: sort_key(it.version), reverse=True))


def chips(build: Build, signatory: Signatory | None) -> tuple[Chip, ...]:
    """Return the states of a build: licence, signature, reproducibility, and what limits it."""
    licence = build.licence.expression or " AND ".join(build.licence.declared)
    found = [Chip("" if licence else "warn", licence or "no licence given")]
    found.append(_signature(signatory))
    if build.kind is ContentKind.BINARY:
        found.append(reproducibility(build))
    if is_limited(build):
        found.append(Chip("warn", f"paths up to {build.max_prefix} bytes"))
    if build.helper:
        found.append(Chip("warn", "needs opam-bin to install"))
    return tuple(found)


def is_limited(build: Build) -> bool:
    """Tell whether a build can't be installed at every path that other builds can."""
    return build.max_prefix is not None and build.max_prefix < PADDED_LENGTH


def _signature(signatory: Signatory | None) -> Chip:
    if signatory is None:
        return Chip("warn", "not signed")
    return Chip("good", f"signed by {signatory.publisher or 'the repository'}")


def reproducibility(build: Build) -> Chip:
    """Say whether builds of the same inputs were seen to differ."""
    if build.outputs > 1:
        return Chip("bad", f"not reproducible: {build.outputs} different results seen")
    return Chip("good", "no differing build seen")


def platform(build: Build) -> str:
    """Name the machines that a build is for."""
    machine = build.platform
    system = " ".join(part for part in (machine.distribution, machine.version) if part)
    return ", ".join(part for part in (f"{machine.arch} {machine.os}".strip(), system) if part)


def commands(build: Build, mode: Mode) -> tuple[str, ...]:
    """Return the commands that install a build: whatever is newest, then this one; none for odd names."""
    if not wording.is_package(f"{build.name}.{build.published}"):
        return ()
    exact = wording.command("opam", "install", f"{build.name}.{build.published}")
    newest = f"{build.name}{SHORT}" if mode is Mode.MIXED else build.name
    return (wording.command("opam", "install", newest), exact)


def most_used(packages: Iterable[PackageView], count: int) -> list[PackageView]:
    """Return the packages that most others depend on, without compilers and what only describes them."""
    wanted = [
        it
        for it in packages
        if it.users and it.newest.kind is ContentKind.BINARY and it.newest.dependencies
        if not it.name.startswith(_OF_COMPILERS)
    ]
    return sorted(wanted, key=lambda it: (-len(it.users), it.name))[:count]


def by_letter(packages: Iterable[PackageView]) -> Mapping[str, list[PackageView]]:
    """Sort packages under the letters of the list."""
    found: dict[str, list[PackageView]] = {}
    for it in packages:
        found.setdefault(wording.letter_of(it.name), []).append(it)
    return dict(sorted(found.items()))
