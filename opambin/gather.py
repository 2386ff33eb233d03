"""Collecting what the universe of a switch is made of: definitions, keys on record, the machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from opambin import cone
from opambin.checkout import revision
from opambin.errors import UnavailableError
from opambin.opam.buildfields import mentioned_variables
from opambin.opam.parser import parse
from opambin.provided import file_md5
from opambin.surroundings import Platform, Surroundings
from opambin.treedigest import tree_digest
from opambin.universe import Node, Universe, is_dev

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opambin.context import Context
    from opambin.model import Package, PackageName, Version
    from opambin.opam.ast import OpamFile
    from opambin.request import Request

_PLATFORM = ("arch", "os", "os-distribution", "os-version")
_FOLDERS = ("bin", "doc", "etc", "lib", "man", "prefix", "sbin", "share", "stublibs", "toplevel")
_FLAGS = ("build", "dev", "pinned", "post", "with-dev-setup", "with-doc", "with-test")
_OTHERS = ("jobs", "make", "name", "opam-version", "os-family", "stubsdir", "version")
_SET_BY_COMPILERS = ("CAML_LD_LIBRARY_PATH", "OCAML_TOPLEVEL_PATH")
USUAL = frozenset((*_PLATFORM, *_FOLDERS, *_FLAGS, *_OTHERS, *_SET_BY_COMPILERS))
"""Variables that opam files often mention: they are asked for while opam makes its plan. Not among them are
those for whose values opam has to run a compiler."""


class Definitions:
    """The opam files of packages, installed or new, each read and parsed once.

    Args:
        context: The switch.
        new: Packages that are, or would be, installed by this operation.
        fetched: Whether opam has their sources in place already.
    """

    def __init__(self, context: Context, new: Iterable[Package], *, fetched: bool = False) -> None:
        self._context = context
        self._new = frozenset(new)
        self._fetched = fetched
        self._texts: dict[Package, str] = {}
        self._parsed: dict[Package, OpamFile] = {}

    def is_new(self, package: Package) -> bool:
        """Tell whether a package is one of those that this operation installs."""
        return package in self._new

    def text(self, package: Package) -> str:
        """Return the opam file of a package.

        Raises:
            UnavailableError: opam does not know it.
        """
        found = self._texts.get(package)
        if found is None:
            found = self._texts[package] = self._text(package)
        return found

    def _text(self, package: Package) -> str:
        if package not in self._new:
            return self._context.switch.installed_opam(package)
        known: Mapping[Package, str] = self._context.definitions
        if package not in known:
            known = self._context.raw(self._new)
        found = known.get(package)
        if found is None:
            raise UnavailableError(f"opam has no definition of {package}")
        return found

    def pin(self, package: Package) -> str | None:
        """Return what identifies the source of a pinned package, as opam has synchronised it.

        None when that isn't there yet: before the fetch, opam may still have the source of an older build.
        """
        folder = self._context.switch.sources_dir(package.name)
        if (package in self._new and not self._fetched) or not folder.is_dir():
            return None
        at = revision(folder)
        if not at:
            return tree_digest(folder) if at == "" else None
        return f"{tree_digest(folder)} {at}"

    def file(self, package: Package) -> OpamFile:
        """Return the same, parsed."""
        found = self._parsed.get(package)
        if found is None:
            found = self._parsed[package] = parse(self.text(package), f"{package}/opam")
        return found


def universe(
    context: Context,
    selected: Mapping[PackageName, Version],
    definitions: Definitions,
    request: Request | None,
    surroundings: Surroundings,
) -> Universe:
    """Make the universe of a final set.

    Args:
        context: The switch.
        selected: The final set.
        definitions: The opam files.
        request: What was asked for; decides on ``with-test`` and its like.
        surroundings: What builds see.
    """
    pins = context.switch.state().pinned

    def load(package: Package) -> Node:
        pinned = package.name in pins
        flags = request.flags_of(package.name, pinned=pinned) if request is not None else {}
        new = definitions.is_new(package)
        record = None if new else context.record(package.name, package.version)
        return Node(
            package,
            definitions.text(package),
            definitions.file(package),
            {**flags, "pinned": pinned, "dev": is_dev(definitions.file(package))},
            pin=definitions.pin(package) if pinned else None,
            known_key=record.key if record is not None else None,
        )

    return Universe(selected, load, surroundings)


def surroundings(context: Context, files: Iterable[OpamFile]) -> Surroundings:
    """Ask opam for the machine and for the variables that opam files read, in one run.

    Args:
        context: The switch.
        files: The opam files of the packages that may be built.
    """
    names = {*_PLATFORM, "opam-version", "os-family"}
    for file in files:
        names |= {name for name in mentioned_variables(file) if ":" not in name}
    known = context.asked_before
    values = {**known, **context.opam.variables(sorted(names - known.keys()))}
    return Surroundings(
        Platform(*(values[name] for name in _PLATFORM)),
        {name: value for name, value in values.items() if value and name in names},
        {name: context.environ[name] for name in cone.ENVIRONMENT if context.environ.get(name)},
        system_compiler(context.environ, context.prefix),
    )


def system_compiler(environ: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Return path and md5 of the ``ocamlc`` outside of all switches; empty when there is none.

    The shell may have the environment of another switch than the one that is worked on.
    """
    folders = [
        folder
        for folder in environ.get("PATH", "").split(os.pathsep)
        if folder
        and not f"{folder}/".startswith(f"{prefix}/")
        and not Path(folder, "../.opam-switch").is_dir()
    ]
    found = shutil.which("ocamlc", path=os.pathsep.join(folders))
    return {found: file_md5(found)} if found else {}
