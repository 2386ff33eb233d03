"""Which packages of a published repository are wanted: some, and all that they may depend on; pure."""

from __future__ import annotations

import difflib
from collections import defaultdict
from typing import TYPE_CHECKING

from opambin.errors import MisuseError
from opambin.opam.formula import atoms, holds
from opambin.opam.parser import parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from opambin.opam.ast import Value


def packages(members: Mapping[str, bytes]) -> dict[str, set[str]]:
    """Return the versions of each package in an index."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in members:
        parts = path.split("/")
        if len(parts) == 4 and parts[0] == "packages" and parts[3] == "opam":
            found[parts[1]].add(parts[2].removeprefix(f"{parts[1]}."))
    return dict(found)


def closure(members: Mapping[str, bytes], wanted: Iterable[str]) -> set[tuple[str, str]]:
    """Return packages and all that they may depend on, as name and version.

    Where a condition depends on the machine it counts as fulfilled, and of alternatives each is taken: a
    mirror may hold more than is needed, never less.

    Args:
        members: The content of an index, by path.
        wanted: ``NAME`` (every version of it) or ``NAME.VERSION``.

    Raises:
        MisuseError: One of them is not in the repository.
        BadDataError: A definition can't be read.
    """
    there = packages(members)
    todo = [found for text in wanted for found in _named(there, text)]
    seen = set(todo)
    while todo:
        name, version = todo.pop()
        for needed in _needed(members, there, name, version):
            if needed not in seen:
                seen.add(needed)
                todo.append(needed)
    return seen


def _named(there: Mapping[str, set[str]], text: str) -> list[tuple[str, str]]:
    if text in there:
        return [(text, version) for version in there[text]]
    name, dot, version = text.partition(".")
    if dot and version in there.get(name, ()):
        return [(name, version)]
    near = difflib.get_close_matches(name, there, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise MisuseError(f"the repository has no package {text!r:.100}{hint}")


def _needed(
    members: Mapping[str, bytes], there: Mapping[str, set[str]], name: str, version: str
) -> Iterator[tuple[str, str]]:
    path = f"packages/{name}/{name}.{version}/opam"
    file = parse(members[path].decode("utf-8", "surrogateescape"), path)
    for other, filters in atoms(file.get("depends")):
        for candidate in there.get(other, ()):
            if _may_fit(filters, candidate, version):
                yield other, candidate


def _may_fit(filters: tuple[Value, ...], version: str, own: str) -> bool:
    # where a filter asks for what is not known here, the atom "is not there", and it may be elsewhere
    return holds(filters, lambda name: own if name == "version" else None, version) is not False
