"""Filters and what they choose: conditions in braces, and the fields that hold commands and lists.

Undefined values spread as in opam: ``undefined & false`` is false, ``undefined | true`` is true, any other
operation on them is undefined, and so is ``&``, ``|`` or ``!`` of a text that is no boolean. A condition
that is undefined in the end does not hold.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from opambin.errors import BadDataError
from opambin.opam.ast import (
    Bool,
    Defined,
    EnvBinding,
    Group,
    Ident,
    Int,
    List,
    Logop,
    Not,
    Option,
    PrefixRelop,
    Relop,
    String,
)
from opambin.opam.interpolation import Env, Reference, Value, as_bool, as_text, interpolate, mentioned
from opambin.opam.printer import print_value
from opambin.opam.version import satisfies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from opambin.opam import ast

__all__ = [
    "Env",
    "Value",
    "commands",
    "condition",
    "evaluate",
    "interpolate",
    "strings",
    "to_bool",
    "variables",
]


def evaluate(node: ast.Value, env: Env) -> Value:
    """Evaluate a filter; lists become text.

    Raises:
        BadDataError: It is not a filter.
    """
    value = _reduce(node, env)
    return interpolate(value, env) if isinstance(value, str) else value


def _reduce(node: ast.Value, env: Env) -> Value:
    if isinstance(node, Ident):
        value = Reference.parse(node.name).lookup(env)
        return as_text(value) if isinstance(value, tuple) else value
    if isinstance(node, String | Bool):
        return node.value
    if isinstance(node, Int):
        return str(node.value)
    if isinstance(node, Relop):
        left, right = evaluate(node.left, env), evaluate(node.right, env)
        return None if left is None or right is None else satisfies(as_text(left), node.op, as_text(right))
    if isinstance(node, Logop):
        return _logical(node, env)
    return _unary(node, env)


def _unary(node: ast.Value, env: Env) -> Value:
    if isinstance(node, Not):
        value = as_bool(evaluate(node.value, env))
        return None if value is None else not value
    if isinstance(node, Defined):
        return evaluate(node.value, env) is not None
    if isinstance(node, Group) and len(node.items) == 1:
        return evaluate(node.items[0], env)
    raise BadDataError("filter", f"not a filter: {print_value(node)}")


def _logical(node: Logop, env: Env) -> Value:
    absorbing = node.op == "|"
    result = evaluate(node.operands[0], env)
    for operand in node.operands[1:]:
        value = evaluate(operand, env)
        if result is absorbing or value is absorbing:
            # The text "true" does not absorb what is undefined, only the boolean does.
            result = absorbing
            continue
        truths = (as_bool(result), as_bool(value))
        result = None if None in truths else (absorbing in truths) is absorbing
    return result


def to_bool(value: Value, *, default: bool) -> bool:
    """Read a value as a boolean; ``default`` stands for what is undefined or no boolean."""
    found = as_bool(value)
    return default if found is None else found


def condition(filters: tuple[ast.Value, ...], env: Env) -> bool:
    """Say whether the content of a pair of braces holds; an empty one does.

    Raises:
        BadDataError: It is not a single filter.
    """
    if not filters:
        return True
    return to_bool(evaluate(filters[0] if len(filters) == 1 else Group(filters), env), default=False)


def commands(value: ast.Value | None, env: Env) -> list[list[str]]:
    """Evaluate a field of commands such as ``build``: what is to be run, in order.

    An argument whose filter does not hold is dropped, and so is a command that is left empty. An
    undefined identifier is an empty argument; one that is a list is as many arguments.

    Raises:
        BadDataError: It is not a list of commands.
    """
    result = []
    for item in _nested(value, 2) if value is not None else ():
        command, holds = _chosen(item, env)
        if not isinstance(command, List):
            raise BadDataError("commands", f"not a command: {print_value(command)}")
        if holds:
            result.append([word for argument in command.items for word in _arguments(argument, env)])
    return [command for command in result if command]


def _arguments(node: ast.Value, env: Env) -> tuple[str, ...]:
    argument, holds = _chosen(node, env)
    if isinstance(argument, String):
        return (interpolate(argument.value, env),) if holds else ()
    if not isinstance(argument, Ident):
        raise BadDataError("commands", f"not an argument: {print_value(argument)}")
    if not holds:
        return ()
    value = Reference.parse(argument.name).lookup(env)
    return value if isinstance(value, tuple) else (as_text(value),)


def _nested(value: ast.Value, depth: int) -> tuple[ast.Value, ...]:
    """Return the items of a list of the given depth; opam lets one leave out brackets around single items."""
    level, node = 0, value
    while isinstance(node, List | Option):
        level += isinstance(node, List)
        inner = node.value if isinstance(node, Option) else (node.items[0] if node.items else None)
        if inner is None:
            break
        node = inner
    for _ in range(depth - level):
        value = List((value,))
    if not isinstance(value, List):
        raise BadDataError("list", f"not a list: {print_value(value)}")
    return value.items


def _chosen(node: ast.Value, env: Env) -> tuple[ast.Value, bool]:
    """Return a value without its braces, and whether they hold."""
    if isinstance(node, Option):
        return node.value, condition(node.filters, env)
    return node, True


def strings(value: ast.Value | None, env: Env) -> list[str]:
    """Return the strings of a field whose parts have filters: ``substs``, ``patches``, ``depexts``.

    They are taken as written: opam expands no variable in them.

    Raises:
        BadDataError: There is something else than strings, lists and filters.
    """
    if value is None:
        return []
    node, holds = _chosen(value, env)
    if isinstance(node, String):
        return [node.value] if holds else []
    if not isinstance(node, List):
        raise BadDataError("list", f"not a string: {print_value(node)}")
    found = [text for item in node.items for text in strings(item, env)]
    return found if holds else []


def variables(value: ast.Value | None) -> frozenset[str]:
    """Return every variable that a value mentions, in filters, as identifiers and in ``%{...}%``.

    Names are as written, ``a+b:x`` is one. The names that environment updates set are not variables,
    but ``NAME = "x"`` can't be told from a comparison: its ``NAME`` is returned.
    """
    found: set[str] = set()
    pending = [value] if value is not None else []
    while pending:
        node = pending.pop()
        inner = _PARTS.get(type(node))
        if inner is not None:
            pending += inner(node)
        elif isinstance(node, String):
            if "%{" in node.value:
                found |= mentioned(node.value)
        elif isinstance(node, Ident):
            found.add(node.name)
    return frozenset(found)


# A table for speed: every value of every field that can change a build is looked at.
_PARTS: Mapping[type, Callable[[Any], Iterable[ast.Value]]] = {
    List: attrgetter("items"),
    Group: attrgetter("items"),
    Logop: attrgetter("operands"),
    Option: lambda node: (node.value, *node.filters),
    Relop: lambda node: (node.left, node.right),
    EnvBinding: lambda node: (node.right,),
    Not: lambda node: (node.value,),
    Defined: lambda node: (node.value,),
    PrefixRelop: lambda node: (node.value,),
}
