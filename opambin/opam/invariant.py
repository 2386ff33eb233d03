"""Which installed packages opam records as the switch's compiler.

opam 2.1 records the packages that fulfil an atom of the invariant; from 2.2 on also what they depend on, at
run time or as ``post`` dependencies. The root's format tells which of the two wrote the switch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opambin.model import Package, PackageName, Version
from opambin.opam import formula
from opambin.opam.ast import Group, List, Logop, Option, String

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opambin.opam.ast import Value
    from opambin.opam.interpolation import Env

CLOSURE_SINCE = (2, 2)  # format of the root


def fulfilling(invariant: Value | None, installed: Mapping[PackageName, Version]) -> set[Package]:
    """Return the packages that fulfil an atom of the invariant; atoms of other packages don't count."""
    if invariant is None:
        return set()
    found = set()
    for name in dict.fromkeys(atom for atom, _ in formula.atoms(invariant)):
        version = installed.get(PackageName(name))
        own = _only(invariant, name)
        if version is not None and own is not None and formula.satisfied(own, _nothing, {name: version}):
            found.add(Package(PackageName(name), version))
    return found


def closure(
    start: set[Package],
    installed: Mapping[PackageName, Version],
    depends: Callable[[Package], Value | None],
    env: Env,
) -> set[Package]:
    """Add what packages depend on at run time, ``post`` dependencies included, optional ones not.

    Args:
        start: Installed packages.
        installed: All that is installed.
        depends: Field ``depends`` of an installed package.
        env: Values of global variables.
    """
    found = set(start)
    pending = sorted(start)
    while pending:
        package = pending.pop()
        scope = _scope(env, package)
        for dependency in formula.resolved(depends(package), scope, installed_names(installed)):
            name = PackageName(dependency.name)
            needed = Package(name, installed[name])
            if not dependency.build_only and needed not in found:
                found.add(needed)
                pending.append(needed)
    return found


def installed_names(installed: Mapping[PackageName, Version]) -> dict[str, str]:
    """Forget the types of names and versions, for formulas."""
    return {str(name): str(version) for name, version in installed.items()}


def _only(value: Value, name: str) -> Value | None:
    """Return a formula without the atoms of other packages; None when nothing is left."""
    match value:
        case String(value=own) | Option(value=String(value=own)):
            return value if own == name else None
        case List(items=parts) | Group(items=parts):
            kept = tuple(left for part in parts if (left := _only(part, name)) is not None)
            return List(kept) if kept else None
        case Logop(op=op, operands=parts):
            kept = tuple(left for part in parts if (left := _only(part, name)) is not None)
            return Logop(op, kept) if kept else None
    return None


def _nothing(_: str) -> None:
    return None


def _scope(env: Env, package: Package) -> Env:
    own = {"name": str(package.name), "version": str(package.version)}
    return lambda name: own[name] if name in own else env(name)
