"""Files that say exactly what a switch holds: ``opam switch export``, and ``opam.locked``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from opambin.errors import BadDataError
from opambin.model import Package, PackageName, Version
from opambin.opam import formula
from opambin.opam.ast import PrefixRelop, String
from opambin.opam.parser import parse
from opambin.opam.statefile import packages_of, strings_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opambin.opam.ast import OpamFile, Value
    from opambin.opam.interpolation import Env


@dataclass(frozen=True, slots=True)
class Listing:
    """What a switch is to hold.

    Attributes:
        packages: Name to version.
        roots: Those which count as asked for.
        export: Whether it lists everything there is; a lock file lists what one package needs.
        beyond: Why only opam can do it; empty when nothing speaks against doing it here.
    """

    packages: Mapping[PackageName, Version]
    roots: frozenset[PackageName]
    export: bool
    beyond: str = ""


def read(text: str, what: str, env: Env) -> Listing:
    """Read such a file.

    Args:
        text: Its content.
        what: Its name, for errors.
        env: The variables that filters of a lock file may read.

    Raises:
        BadDataError: It is neither an export nor a lock file.
    """
    file = parse(text, what)
    if file.get("depends") is not None:
        return _locked(file, what, env)
    if file.get("installed") is None and file.get("compiler") is None:
        raise BadDataError(what, "neither an export of a switch nor a lock file")
    packages = packages_of(file, "installed")
    beyond = "it pins packages" if strings_of(file, "pinned") else ""
    if any(True for _ in file.sections("package")):
        beyond = beyond or "it brings definitions of its own"
    roots = frozenset(package.name for package in packages_of(file, "roots"))
    return Listing({package.name: package.version for package in packages}, roots, True, beyond)


def _locked(file: OpamFile, what: str, env: Env) -> Listing:
    found: dict[PackageName, Version] = {}
    for name, braces in formula.atoms(file.get("depends")):
        version = _version(braces)
        if version is None:
            raise BadDataError(what, f"not a lock file: it does not say which version of {name}")
        if formula.holds(braces, env, version):
            found[PackageName(name)] = Version(version)
    beyond = "it pins packages" if file.get("pin-depends") is not None else ""
    return Listing(found, frozenset(found), False, beyond)


def _version(braces: tuple[Value, ...]) -> str | None:
    """Find the one version that the braces of an atom allow."""
    pending = list(braces)
    while pending:
        match pending.pop():
            case PrefixRelop(op="=", value=String(value=version)):
                return version
            case value if hasattr(value, "operands") and getattr(value, "op", "") == "&":
                pending += value.operands
            case value if hasattr(value, "items"):
                pending += value.items
    return None


def packages(listing: Listing) -> list[Package]:
    """Return the packages of a listing, by name."""
    return [Package(name, version) for name, version in sorted(listing.packages.items())]
