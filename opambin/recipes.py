"""Recipes: what some packages want done differently, as data in ``patches/PACKAGE/recipe.yaml``.

A file is a list of entries; the first whose ``versions`` fit is the recipe. The format is in docs/recipes.md.
A recipe is an input of the cone key, so that changing it never reuses what was built without it.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from opambin import yamlfile
from opambin.errors import BadDataError
from opambin.frozen import dataclass
from opambin.resources import patches_directory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from opambin.opam.ast import Value

RECIPE_FILE = "recipe.yaml"
ANY_VERSION = "*"

_VARIABLE = re.compile(r"(?!opambin_|OPAMBIN_)[A-Za-z_][A-Za-z0-9_]*")
_HOLE = re.compile(r"\{([^{}]*)\}")
_HOLES = frozenset({"prefix", "padded"})


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one package is built and moved, where that differs from the others.

    Attributes:
        reason: Why, in words.
        pad: Whether it is built under the padded prefix.
        keep_length: Whether a shorter prefix is slash-padded to the length it had at the build.
        ocamllib: Whether ``OCAMLLIB`` is set when the switch has its own compiler.
        env: Further variables for its commands, with ``{prefix}`` and ``{padded}`` in the values.
        pad_variables: Further variables in which the prefix is padded.
        cacheable: Whether it may be captured and restored at all.
        patch: A unified diff for its source (``patch -p1``), or nothing.
    """

    reason: str
    pad: bool = True
    keep_length: bool = False
    ocamllib: bool = True
    env: tuple[tuple[str, str], ...] = ()
    pad_variables: tuple[str, ...] = ()
    cacheable: bool = True
    patch: bytes = b""

    def digest(self) -> str:
        """Return the sha256 of what the recipe does; its reason is not part of it."""
        effect = [self.pad, self.keep_length, self.ocamllib, self.env, self.pad_variables, self.cacheable]
        effect.append(hashlib.sha256(self.patch).hexdigest() if self.patch else "")
        return hashlib.sha256(json.dumps(effect, separators=(",", ":")).encode()).hexdigest()

    def sh_fragment(self, prefix: str, padded: str) -> str:
        """Return what the wrappers source before they run a command of the package.

        Args:
            prefix: Of the switch, canonical.
            padded: Its padded spelling.
        """
        lines = []
        if not self.pad:
            lines.append("OPAMBIN_PAD=no")
        if not self.ocamllib:
            lines.append("OPAMBIN_OCAMLLIB=no")
        if self.pad_variables:
            lines.append(f"OPAMBIN_PAD_ALSO='{' '.join(self.pad_variables)}'")
        values = {"prefix": prefix, "padded": padded}
        for name, template in self.env:
            value = _HOLE.sub(lambda hole: values[hole[1]], template)
            lines.append(f"export {name}={shlex.quote(value)}")
        return "".join(f"{line}\n" for line in lines)


def load(name: str, version: str, directory: Path | None = None) -> Recipe | None:
    """Return the recipe of a package, or None when it needs none.

    Args:
        name: Of the package.
        version: Of the package.
        directory: Where the recipes are; None means those that come with opambin.

    Raises:
        BadDataError: The package's file of recipes is not valid; all its problems are in the message.
    """
    if directory is None and name not in _shipped():
        return None
    path = (directory or patches_directory()) / name / RECIPE_FILE
    if not path.is_file():
        return None
    for entry in parse(path.read_bytes(), path):
        if entry.fits is None or entry.fits(version):
            return _with_patch(entry, path)
    return None


@cache
def _shipped() -> frozenset[str]:
    """Return the packages that may have a recipe: every package of a switch is asked for, a few have one."""
    return frozenset(path.name for path in patches_directory().iterdir())


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a file of recipes.

    Attributes:
        fits: A test for versions; None means all.
        recipe: The recipe for them, without the patch.
        patch: Name of the file with the patch, or empty.
    """

    fits: Callable[[str], bool] | None
    recipe: Recipe
    patch: str = ""


def _with_patch(entry: Entry, path: Path) -> Recipe:
    if not entry.patch:
        return entry.recipe
    file = path.parent / entry.patch
    try:
        return replace(entry.recipe, patch=file.read_bytes())
    except OSError as error:
        raise BadDataError(path, f"its patch {entry.patch} can't be read: {error.strerror}") from error


def parse(data: bytes, path: object) -> list[Entry]:
    """Read a file of recipes.

    Args:
        data: Its content.
        path: Its name, for messages.

    Returns:
        The entries in file order; their patches are not read.

    Raises:
        BadDataError: It is not valid; the message has all problems.
    """
    entries = yamlfile.parse(data, path).content
    if not isinstance(entries, list) or not entries:
        raise BadDataError(path, "not a list of recipes")
    problems: list[str] = []
    found = [_entry(entry, f"entry {number}", problems) for number, entry in enumerate(entries, 1)]
    if problems:
        raise BadDataError(path, "; ".join(problems))
    return found


_FIELDS: dict[str, tuple[type, str]] = {
    "versions": (str, "a text"),
    "reason": (str, "a text"),
    "pad": (bool, "true or false"),
    "keep-length": (bool, "true or false"),
    "ocamllib": (bool, "true or false"),
    "cacheable": (bool, "true or false"),
    "patch": (str, "the name of a file beside it"),
    "env": (dict, "a map of variables to texts"),
    "pad-variables": (list, "a list of variables"),
}


def _entry(entry: object, where: str, problems: list[str]) -> Entry:
    """Read one entry; what is wrong with it is added to ``problems``."""
    if not isinstance(entry, dict):
        problems.append(f"{where}: not a map")
        return Entry(None, Recipe(""))
    for key, value in entry.items():
        if key not in _FIELDS:
            problems.append(f"{where}: unknown field {key!r}")
        elif not isinstance(value, _FIELDS[key][0]):
            problems.append(f"{where}: {key} is not {_FIELDS[key][1]}: {value!r}")
    fields = {key: value for key, value in entry.items() if _is_right(key, value)}
    if not str(fields.get("reason", "")).strip():
        problems.append(f"{where}: no reason is given")
    recipe = Recipe(
        reason=" ".join(fields.get("reason", "").split()),
        pad=fields.get("pad", True),
        keep_length=fields.get("keep-length", False),
        ocamllib=fields.get("ocamllib", True),
        env=_environment(fields.get("env", {}), where, problems),
        pad_variables=_variables(fields.get("pad-variables", []), where, problems),
        cacheable=fields.get("cacheable", True),
    )
    patch = fields.get("patch", "")
    if "/" in patch or patch.startswith("."):
        problems.append(f"{where}: patch is not a file beside the recipe: {patch!r}")
    return Entry(_constraint(fields.get("versions"), where, problems), recipe, patch)


def _is_right(key: object, value: object) -> bool:
    return isinstance(key, str) and key in _FIELDS and isinstance(value, _FIELDS[key][0])


def _environment(env: dict[Any, Any], where: str, problems: list[str]) -> tuple[tuple[str, str], ...]:
    for name, value in env.items():
        _variables([name], where, problems)
        if not isinstance(value, str):
            problems.append(f"{where}: the value of {name} is not a text: {value!r}")
        elif unknown := sorted(set(_HOLE.findall(value)) - _HOLES):
            problems.append(f"{where}: {name} has unknown names in braces: {', '.join(unknown)}")
    return tuple(sorted((str(name), str(value)) for name, value in env.items()))


def _variables(names: list[Any], where: str, problems: list[str]) -> tuple[str, ...]:
    wrong = [name for name in names if not (isinstance(name, str) and _VARIABLE.fullmatch(name))]
    problems += [f"{where}: {name!r} is not the name of a variable that a recipe may set" for name in wrong]
    return tuple(sorted(map(str, names)))


def _constraint(text: str | None, where: str, problems: list[str]) -> Callable[[str], bool] | None:
    """Read a version constraint in opam's syntax, such as ``>= "0.14" & < "0.16"``."""
    from opambin.opam.ast import Option, String
    from opambin.opam.formula import holds
    from opambin.opam.parser import parse_value

    if text is None:
        problems.append(f"{where}: versions is missing ('{ANY_VERSION}' for all)")
        return None
    if text.strip() == ANY_VERSION:
        return None
    try:
        value = parse_value(f'"package" {{{text}}}')
    except BadDataError as error:
        problems.append(f"{where}: versions is not a constraint: {error.problem}")
        return None
    filters = value.filters if isinstance(value, Option) and value.value == String("package") else ()
    if not filters or not all(map(_compares_versions, filters)):
        problems.append(f"{where}: versions is not a constraint on quoted versions: {text!r}")
        return None
    return lambda version: bool(holds(filters, lambda _: None, version))


def _compares_versions(value: Value) -> bool:
    from opambin.opam.ast import Group, Logop, Not, PrefixRelop, String

    if isinstance(value, PrefixRelop):
        return isinstance(value.value, String)
    if isinstance(value, Not):
        return _compares_versions(value.value)
    parts = value.items if isinstance(value, Group) else value.operands if isinstance(value, Logop) else ()
    return bool(parts) and all(map(_compares_versions, parts))
