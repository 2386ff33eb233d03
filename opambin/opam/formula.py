"""Package formulas: ``depends``, ``depopts``, ``conflicts``.

An atom is a package name with braces, which mix filters (``with-test``, ``os = "linux"``) and version
constraints (``>= "1.2"``, ``= version``). opam evaluates the filters first. An atom whose filters don't
hold is not there at all: neither true nor false. What remains of its braces is a condition on the version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from opambin.errors import BadDataError
from opambin.frozen import dataclass
from opambin.opam.ast import Bool, Defined, Group, List, Logop, Not, Option, PrefixRelop, String
from opambin.opam.filters import Env, Value, evaluate, to_bool
from opambin.opam.interpolation import as_text
from opambin.opam.printer import print_value
from opambin.opam.version import satisfies

if TYPE_CHECKING:
    from opambin.opam import ast

Selection: TypeAlias = Mapping[str, str]
"""The packages of a switch: name to version."""
_Fits: TypeAlias = Callable[[str], bool]
_LATE = frozenset({"build", "post", "with-test", "with-doc", "with-dev-setup", "dev"})
_OTHER = {"&": "|", "|": "&"}


@dataclass(frozen=True, slots=True)
class Dependency:
    """A package that another one really depends on.

    Attributes:
        name: Of the package.
        build_only: It counts only under ``build``: needed to build, not afterwards.
        post: It counts only under ``post``: installed with the package, but not needed to build it.
    """

    name: str
    build_only: bool = False
    post: bool = False


def atoms(value: ast.Value | None) -> list[tuple[str, tuple[ast.Value, ...]]]:
    """Return every package that a formula names, with the content of its braces, in order.

    Raises:
        BadDataError: It is not a package formula.
    """
    if value is None:
        return []
    if isinstance(value, String):
        return [(value.value, ())]
    if isinstance(value, Option) and isinstance(value.value, String):
        return [(value.value.value, value.filters)]
    return [atom for part in _parts(value) for atom in atoms(part)]


def holds(filters: tuple[ast.Value, ...], env: Env, version: str) -> bool | None:
    """Evaluate the braces of an atom for a version.

    Returns:
        Whether the version fits; None when the filters don't hold, so that the atom is not there.

    Raises:
        BadDataError: They hold something else than filters and constraints.
    """
    fits = _all([_constraint(item, env, negated=False) for item in filters])
    return fits(version) if callable(fits) else (fits or None)


def resolved(value: ast.Value | None, env: Env, selected: Selection) -> list[Dependency]:
    """Return the packages of a final set that a formula really depends on, in the order of the formula.

    An atom counts when its filters hold and its package is selected at a version that fits; of ``a | b``
    each alternative that is there counts. ``build`` and ``post`` need not be in ``env``: they are true
    and false by turns to see where an atom belongs. A name that counts several times is joined.

    Args:
        value: The field; None for a missing one.
        env: All other variables. Undefined ones make their filter fail.
        selected: The final set.

    Raises:
        BadDataError: It is not a package formula.
    """
    found: dict[str, _Membership] = {}
    for name, filters in atoms(value):
        if name in selected:
            found.setdefault(name, _Membership()).add(filters, env, selected[name])
    return [
        Dependency(name, build_only=not member.to_run, post=not member.to_build)
        for name, member in found.items()
        if member.needed
    ]


@dataclass(slots=True)
class _Membership:
    """Whether a package counts at all, without ``build``, and without ``post``."""

    needed: bool = False
    to_run: bool = False
    to_build: bool = False

    def add(self, filters: tuple[ast.Value, ...], env: Env, version: str) -> None:
        if not filters:
            self.needed = self.to_run = self.to_build = True
            return
        asked: set[str] = set()
        always = _counts(filters, _scoped(env, asked, build=True, post=True), version)
        to_run = to_build = always
        if asked:
            # No operator skips an operand, so what was not asked for can't matter.
            to_run = _counts(filters, _scoped(env, asked, build=False, post=True), version)
            to_build = _counts(filters, _scoped(env, asked, build=True, post=False), version)
        self.needed |= always or to_build
        self.to_run |= to_run
        self.to_build |= to_build


def _counts(filters: tuple[ast.Value, ...], env: Env, version: str) -> bool:
    return holds(filters, env, version) is True


def satisfied(value: ast.Value | None, env: Env, selected: Selection, *, alternatives: bool = False) -> bool:
    """Say whether a final set fulfils a formula; ``build`` and ``post`` are true.

    Args:
        value: The field; None for a missing one, which is fulfilled.
        env: All other variables.
        selected: The final set.
        alternatives: One item of a list is enough, as in ``depopts`` and ``conflicts``.

    Raises:
        BadDataError: It is not a package formula.
    """
    if value is None:
        return True
    join = "|" if alternatives else "&"
    return _truth(value, _scoped(env, set(), build=True, post=True), selected, join) is not False


def _scoped(env: Env, asked: set[str], *, build: bool, post: bool) -> Env:
    """Give values to ``build`` and ``post``, and note when they are asked for."""
    own = {"build": build, "post": post}

    def scoped(name: str) -> Value:
        if name in own:
            asked.add(name)
            return own[name]
        return env(name)

    return scoped


def _truth(value: ast.Value, env: Env, selected: Selection, join: str) -> bool | None:
    """Evaluate a formula; None is opam's empty formula, which drops out of ``&`` and of ``|``."""
    if isinstance(value, String | Option):
        ((name, filters),) = atoms(value)
        fits = _all([_constraint(item, env, negated=False) for item in filters])
        if fits is False:
            return None
        return name in selected and (fits is True or fits(selected[name]))
    op = value.op if isinstance(value, Logop) else join
    truths = [_truth(part, env, selected, join) for part in _parts(value)]
    found = [truth for truth in truths if truth is not None]
    if not found:
        return None
    return all(found) if op == "&" else any(found)


def _parts(value: ast.Value) -> tuple[ast.Value, ...]:
    if isinstance(value, List | Group):
        return value.items
    if isinstance(value, Logop):
        return value.operands
    raise BadDataError("package formula", f"not a package: {print_value(value)}")


def _constraint(value: ast.Value, env: Env, *, negated: bool) -> bool | _Fits:
    """Reduce a part of the braces: to a boolean when it is a filter, to a test when versions matter."""
    if isinstance(value, PrefixRelop):
        return _comparison(value, env, negated=negated)
    if isinstance(value, Not):
        return _constraint(value.value, env, negated=not negated)
    if isinstance(value, Group | Logop):
        op = value.op if isinstance(value, Logop) else "&"
        parts = value.operands if isinstance(value, Logop) else value.items
        reduced = [_constraint(part, env, negated=negated) for part in parts]
        if not reduced:
            return lambda _: True
        return _all(reduced) if (_OTHER[op] if negated else op) == "&" else _any(reduced)
    settled = _settled(value, env)
    return to_bool(evaluate(Not(settled) if negated else settled, env), default=False)


def _settled(value: ast.Value, env: Env) -> ast.Value:
    """Decide every ``?x`` inside a filter: opam does so while the variables of dependencies have no value."""
    if isinstance(value, Defined):
        return Bool(evaluate(value, lambda name: None if name in _LATE else env(name)) is True)
    if isinstance(value, Not):
        return Not(_settled(value.value, env))
    if isinstance(value, Group):
        return Group(tuple(_settled(item, env) for item in value.items))
    if isinstance(value, Logop):
        return Logop(value.op, tuple(_settled(operand, env) for operand in value.operands))
    return value


def _comparison(value: PrefixRelop, env: Env, *, negated: bool) -> _Fits:
    bound = evaluate(value.value, env)
    if bound is None:
        # opam ignores a constraint whose version is undefined.
        return lambda _: True
    text = as_text(bound)
    return lambda version: satisfies(version, value.op, text) is not negated


def _all(parts: list[bool | _Fits]) -> bool | _Fits:
    if False in parts:
        return False
    tests = [part for part in parts if callable(part)]
    return (lambda version: all(test(version) for test in tests)) if tests else True


def _any(parts: list[bool | _Fits]) -> bool | _Fits:
    if True in parts:
        return True
    tests = [part for part in parts if callable(part)]
    return (lambda version: any(test(version) for test in tests)) if tests else False
