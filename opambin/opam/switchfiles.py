"""The files of a switch as values: ``switch-state``, ``switch-config``, ``NAME.config``, ``reinstall``."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from opambin.errors import BadDataError
from opambin.frozen import dataclass
from opambin.model import Package, PackageName, Version
from opambin.opam.ast import Field, List, Option, String
from opambin.opam.parser import parse
from opambin.opam.root import Variable, variable_of
from opambin.opam.statefile import by_name, package_of, packages_of, strings_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opambin.opam.ast import OpamFile, Value


@dataclass(frozen=True, slots=True)
class SwitchState:
    """``switch-state``.

    Attributes:
        installed: Name to version.
        roots: Packages that were asked for.
        compiler: Packages that fulfil the invariant (from 2.2 on, with what they depend on).
        pinned: Name to version.
    """

    installed: Mapping[PackageName, Version]
    roots: frozenset[Package]
    compiler: frozenset[Package]
    pinned: Mapping[PackageName, Version]

    @property
    def packages(self) -> frozenset[Package]:
        """All that is installed."""
        return frozenset(Package(name, version) for name, version in self.installed.items())

    @classmethod
    def parse(cls, text: str, what: str) -> SwitchState:
        """Read the file's content.

        Raises:
            BadDataError: It is not such a file.
        """
        file = parse(text, what)
        if file.get("opam-version") is None:
            raise BadDataError(what, "no opam-version: cut off or no switch-state")
        return cls(
            by_name(packages_of(file, "installed")),
            frozenset(packages_of(file, "roots")),
            frozenset(packages_of(file, "compiler")),
            by_name(_pins(file)),
        )


@dataclass(frozen=True, slots=True)
class SwitchConfig:
    """``switch-config``.

    Attributes:
        invariant: The formula that the switch keeps to; None when there is none.
        variables: The switch's own.
        paths: Section ``paths``: where ``lib``, ``man``, ... are when not at their usual place.
        depext_bypass: System packages that the user has promised.
        repositories: None when the root's default applies.
        file: All of it.
    """

    invariant: Value | None
    variables: Mapping[str, Variable]
    paths: Mapping[str, Variable]
    depext_bypass: tuple[str, ...]
    repositories: tuple[str, ...] | None
    file: OpamFile

    @classmethod
    def parse(cls, text: str, what: str) -> SwitchConfig:
        """Read the file's content.

        Raises:
            BadDataError: It is not such a file.
        """
        file = parse(text, what)
        repositories = None if file.get("repositories") is None else strings_of(file, "repositories")
        return cls(
            file.get("invariant"),
            _variables(file, "variables"),
            _variables(file, "paths"),
            strings_of(file, "depext-bypass"),
            repositories,
            file,
        )


@dataclass(frozen=True, slots=True)
class PackageConfig:
    """``NAME.config``: what an installed package tells others.

    Attributes:
        variables: Its variables, besides those that opam gives each package.
        file_depends: Path of a file outside the switch to its checksum (``md5=...`` or bare md5).
    """

    variables: Mapping[str, Variable] = field(default_factory=dict)
    file_depends: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, what: str) -> PackageConfig:
        """Read the file's content.

        Raises:
            BadDataError: It is not such a file.
        """
        file = parse(text, what)
        return cls(_variables(file, "variables"), dict(_file_depends(file)))


def parse_package_list(text: str, what: str) -> list[Package]:
    """Read lines of name and version.

    Raises:
        BadDataError: A line has another shape.
    """
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) != 2:
            raise BadDataError(what, "not a line of name and version", observed=repr(line))
        found.append(Package(PackageName(words[0]), Version(words[1])))
    return found


def _pins(file: OpamFile) -> list[Package]:
    """Read ``pinned``; an entry may have a target in braces, which older opams wrote."""
    value = file.get("pinned")
    items = value.items if isinstance(value, List) else () if value is None else (value,)
    texts = [item.value if isinstance(item, Option) else item for item in items]
    names = [text.value for text in texts if isinstance(text, String)]
    if len(names) != len(items):
        raise BadDataError(file.filename, "pinned is not a list of packages", observed=value)
    return [package_of(name, f"{file.filename}: pinned") for name in names]


def _variables(file: OpamFile, kind: str) -> dict[str, Variable]:
    return {
        item.name: variable_of(item.value, f"{file.filename}: {item.name}")
        for section in file.sections(kind)
        for item in section.items
        if isinstance(item, Field)
    }


def _file_depends(file: OpamFile) -> list[tuple[str, str]]:
    value = file.get("file-depends")
    items = value.items if isinstance(value, List) else () if value is None else (value,)
    rows = [items] if items and not any(isinstance(item, List) for item in items) else []
    rows = rows or [item.items for item in items if isinstance(item, List)]
    pairs = [tuple(word.value for word in row if isinstance(word, String)) for row in rows]
    if any(len(pair) != 2 for pair in pairs):
        raise BadDataError(file.filename, "bad file-depends", expected='["path" "md5"]', observed=value)
    return [(pair[0], pair[1]) for pair in pairs]
