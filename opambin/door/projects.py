"""The packages that a command line names by folder or file: ``.``, ``./x.opam``, ``./x.opam.locked``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from opambin.errors import UnavailableError
from opambin.model import PackageName
from opambin.opam import fields
from opambin.opam.parser import parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opambin.opam.ast import OpamFile
    from opambin.request import Request

_SUFFIX = ".opam"
_BEYOND = frozenset(("--recursive", "--subpath"))
"""Options with which opam looks for definitions elsewhere than we do."""


@dataclass(frozen=True, slots=True)
class Project:
    """A package that is defined in a folder of the user's.

    Attributes:
        name: Of the package.
        path: Its definition.
        file: The same, parsed; with ``--locked`` the locked form, where there is one.
    """

    name: PackageName
    path: Path
    file: OpamFile


def find(request: Request, environ: Mapping[str, str], cwd: Path | None = None) -> tuple[Project, ...]:
    """Find the packages that a command line names by place.

    Args:
        request: The command line.
        environ: The environment.
        cwd: What relative paths start from.

    Raises:
        UnavailableError: A place holds no definition that we can find.
        BadDataError: A definition does not parse.
    """
    if request.places and request.options & _BEYOND:
        raise UnavailableError("folders are searched as only opam does it")
    suffix = _locked_suffix(request, environ)
    here = cwd or Path.cwd()
    found: dict[PackageName, Project] = {}
    for place in request.places:
        definitions = _definitions(here / place)
        if not definitions:
            raise UnavailableError(f"{place} holds no package definition")
        for path in definitions:
            project = _read(path, suffix)
            found.setdefault(project.name, project)
    return tuple(found.values())


def _locked_suffix(request: Request, environ: Mapping[str, str]) -> str:
    if "--locked" not in request.options and environ.get("OPAMLOCKED", "") in ("", "0", "false", "no"):
        return ""
    return "." + request.values.get("--lock-suffix", environ.get("OPAMLOCKED") or "locked")


def _definitions(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    found = [_file_of(path) for folder in (place, place / "opam") for path in sorted(folder.glob("*.opam"))]
    found.append(_file_of(place / "opam"))
    return [path for path in found if path is not None]


def _file_of(path: Path) -> Path | None:
    inner = path / "opam"
    if path.is_dir():
        return inner if inner.is_file() else None
    return path if path.is_file() else None


def _read(path: Path, suffix: str) -> Project:
    locked = path.with_name(path.name + suffix)
    chosen = locked if suffix and locked.is_file() else path
    try:
        text = chosen.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise UnavailableError(f"{chosen} can't be read: {error.strerror}") from error
    file = parse(text, str(chosen))
    return Project(PackageName(fields.name(file) or name_of(path)), chosen, file)


def name_of(path: Path) -> str:
    """Tell the name of the package that a file defines, from its place alone."""
    for part in (path.name, path.parent.name):
        stem, suffix, _ = part.partition(_SUFFIX)
        if suffix and stem:
            return stem
    folder = Path(os.path.abspath(path)).parent  # noqa: PTH100 - .resolve() would follow links
    return folder.parent.name if folder.name == "opam" else folder.name
