"""The system packages that opam packages want: which of them are missing on this machine.

A package that is restored never gets to the point where opam looks after them, so this is done here: the
field ``depexts`` is evaluated and the system is asked. Only when something is missing opam is called, whose
business it is to ask and to install.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from opambin.frozen import dataclass
from opambin.opam import ast, filters
from opambin.plan import Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from opambin.context import Context
    from opambin.door.front import Prepared
    from opambin.model import Package
    from opambin.opam.ast import OpamFile

_FALSE = ("", "0", "no", "false", "n")
_PROMISES = (("--assume-depexts", "OPAMASSUMEDEPEXTS"), ("--no-depexts", "OPAMNODEPEXTS"))
_QUERY = ("dpkg-query", "-W", "-f", "${Package}\t${Architecture}\t${db:Status-Abbrev}\t${Provides}\n")


@dataclass(frozen=True, slots=True)
class Missing:
    """What is not there.

    Attributes:
        wanted: For each opam package, the system packages that it lacks.
        promised: Whether the user says that they are there in some other way, or not to look.
        noted: Whether opam notes that promise; it does not with ``--no-depexts``, whatever its manual says.
        certain: Whether the system could be asked; otherwise all that is wanted counts as missing.
    """

    wanted: Mapping[Package, frozenset[str]]
    promised: bool
    certain: bool
    noted: bool = False

    @property
    def names(self) -> list[str]:
        """All system packages, sorted."""
        return sorted({name for names in self.wanted.values() for name in names})

    @property
    def packages(self) -> list[str]:
        """The opam packages, as one names them to opam."""
        return sorted(f"{package.name}={package.version}" for package in self.wanted)


def missing(prepared: Prepared) -> Missing:
    """Find out which system packages the packages of a plan that are not left to opam lack.

    Raises:
        BadDataError: A field ``depexts`` is of another shape.
    """
    context, universe = prepared.context, prepared.decision.universe
    asked, environ = prepared.request, context.environ
    assumed, ignored = (
        option in asked.options or environ.get(variable, "").lower() not in _FALSE
        for option, variable in _PROMISES
    )
    promised = assumed or ignored
    if context.root.config.get("depext") == ast.Bool(value=False):
        return Missing({}, promised, certain=True)
    bypass = frozenset(context.switch.config().depext_bypass)
    wanted: dict[Package, frozenset[str]] = {}
    for item in prepared.items:
        value = universe.node(item.package.name).file.get("depexts")
        if value is not None and item.verdict in (Verdict.HIT, Verdict.CHECK):
            names = frozenset(filters.strings(value, universe.surroundings.variables.get)) - bypass
            if names:
                wanted[item.package] = names
    there = _installed({name for names in wanted.values() for name in names}, universe.surroundings.variables)
    if there is None:
        return Missing(wanted, promised, certain=False)
    lacking = {package: names - there for package, names in wanted.items() if names - there}
    return Missing(lacking, promised, certain=True, noted=assumed and not ignored)


def all_there(context: Context, files: Iterable[OpamFile]) -> bool:
    """Tell whether every system package is installed that some opam files want; False also when in doubt.

    Raises:
        BadDataError: A field ``depexts`` is of another shape.
    """
    if context.root.config.get("depext") == ast.Bool(value=False):
        return True
    known = context.asked_before
    found: set[str] = set()
    for file in files:
        value = file.get("depexts")
        if value is not None and not filters.variables(value) <= known.keys():
            return False
        found |= set(filters.strings(value, lambda name: known[name] or None))
    wanted = found - set(context.switch.config().depext_bypass)
    there = _installed(wanted, context.asked_before)
    return there is not None and wanted <= there


def _installed(names: Collection[str], variables: Mapping[str, str]) -> frozenset[str] | None:
    """Return which of some system packages are installed; None where we can't ask the system."""
    if not names:
        return frozenset()
    if variables.get("os-family") != "debian" or shutil.which("dpkg-query") is None:
        return None
    return debian_installed(_dpkg_rows()) & frozenset(names)


def _dpkg_rows() -> list[str]:
    import subprocess

    done = subprocess.run(_QUERY, env={**os.environ, "LC_ALL": "C"}, capture_output=True, check=False)
    return done.stdout.decode("utf-8", "replace").splitlines()


def debian_installed(rows: Iterable[str]) -> frozenset[str]:
    """Return the names of installed packages, and of what they provide, with and without architecture.

    Args:
        rows: Lines of name, architecture, short status and provided names, with tabs between.
    """
    found: set[str] = set()
    for row in rows:
        name, architecture, status, provides = (*row.split("\t"), "", "", "")[:4]
        if status[1:2] != "i":
            continue
        names = {name, *(part.split("(")[0].strip() for part in provides.split(",") if part.strip())}
        found |= names | {f"{each}:{architecture}" for each in names}
    return frozenset(found)
