"""Writing values in the syntax of opam files, so that reading them again gives the same value."""

from __future__ import annotations

from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from opambin.opam.ast import Value

_ESCAPES = {ord("\\"): "\\\\", ord('"'): '\\"', ord("\n"): "\\n", ord("\t"): "\\t", ord("\r"): "\\r"}
_ESCAPES |= {code: f"\\{code:03d}" for code in (*range(32), 127) if code not in _ESCAPES}


def render(value: Value) -> str:
    """Write a value on one line. Parentheses are values of their own, so none have to be added."""
    text: str
    match value:
        case String(string):
            text = f'"{string.translate(_ESCAPES)}"'
        case Int(number):
            text = str(number)
        case Bool(truth):
            text = "true" if truth else "false"
        case Ident(name):
            text = name
        case List(items):
            text = f"[{_spaced(items)}]"
        case Group(items):
            text = f"({_spaced(items)})"
        case Option(inner, filters):
            text = f"{render(inner)} {{{_spaced(filters)}}}"
        case _:
            text = _render_operator(value)
    return text


def _render_operator(value: Relop | PrefixRelop | EnvBinding | Logop | Not | Defined) -> str:
    match value:
        case Relop(op, left, right) | EnvBinding(left, op, right):
            return f"{render(left)} {op} {render(right)}"
        case PrefixRelop(op, right):
            return f"{op} {render(right)}"
        case Logop(op, operands):
            return f" {op} ".join(map(render, operands))
        case Not(inner):
            return f"!{render(inner)}"
        case Defined(inner):
            return f"?{render(inner)}"


def _spaced(values: tuple[Value, ...]) -> str:
    return " ".join(map(render, values))
