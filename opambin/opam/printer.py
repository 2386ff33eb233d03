"""Writing opam files. What is written reads back as the same value; layout and comments are not kept."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from opambin.opam.ast import (
    Bool,
    Defined,
    EnvBinding,
    Field,
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
    from collections.abc import Iterable

    from opambin.opam.ast import Atom, Item, OpamFile, Value

_ESCAPES = {ord("\\"): "\\\\", ord('"'): '\\"', ord("\n"): "\\n", ord("\r"): "\\r"}
_BLOCK_ESCAPES = {ord("\\"): "\\\\", ord("\r"): "\\r"}
_RISKY_QUOTE = re.compile(r'"(?="")|"\Z')


def print_file(file: OpamFile) -> str:
    """Return the text of a file, one field or section after the other, in their order."""
    return "".join(f"{line}\n" for item in file.items for line in _item(item))


def print_value(value: Value) -> str:
    """Return the text of a value, on one line."""
    if isinstance(value, String | Ident | Bool | Int):
        return _atom(value)
    if isinstance(value, List):
        return f"[{' '.join(_sequence(value.items))}]"
    if isinstance(value, Group):
        return f"({' '.join(_sequence(value.items))})"
    return _operation(value)


def _atom(value: Atom) -> str:
    if isinstance(value, String):
        return f'"{value.value.translate(_ESCAPES)}"'
    if isinstance(value, Bool):
        return "true" if value.value else "false"
    return value.name if isinstance(value, Ident) else str(value.value)


def _operation(value: Option | Relop | PrefixRelop | Logop | Not | Defined | EnvBinding) -> str:
    if isinstance(value, Option):
        inner = print_value(value.value)
        weaker = isinstance(value.value, Logop | Not | Defined)
        return f"{f'({inner})' if weaker else inner} {{{' '.join(_sequence(value.filters))}}}"
    if isinstance(value, Relop | EnvBinding):
        return f"{print_value(value.left)} {value.op} {print_value(value.right)}"
    if isinstance(value, PrefixRelop):
        return f"{value.op} {print_value(value.value)}"
    if isinstance(value, Logop):
        return f" {value.op} ".join(_operand(operand, value.op) for operand in value.operands)
    operand = _operand(value.value, "&")
    # "!" before "=" would read as "!=".
    space = " " if operand.startswith("=") else ""
    return f"{'!' if isinstance(value, Not) else '?'}{space}{operand}"


def _operand(value: Value, op: str) -> str:
    """Print an operand, in parentheses if it does not bind more strongly than the operator."""
    text = print_value(value)
    binds = not isinstance(value, Logop) or (op, value.op) == ("|", "&")
    return text if binds else f"({text})"


def _sequence(values: Iterable[Value]) -> Iterable[str]:
    previous: Value | None = None
    for value in values:
        text = print_value(value)
        if isinstance(_first(value), PrefixRelop) and isinstance(
            _last(previous), String | Int | Bool | Ident
        ):
            # "x", then ">= y", would read as a comparison of the two.
            text = f"({text})"
        yield text
        previous = value


def _first(value: Value) -> Value:
    while isinstance(value, Option | Logop):
        value = value.value if isinstance(value, Option) else value.operands[0]
    return value


def _last(value: Value | None) -> Value | None:
    while isinstance(value, Not | Defined | Logop):
        value = value.operands[-1] if isinstance(value, Logop) else value.value
    return value


def _item(item: Item) -> list[str]:
    if isinstance(item, Field):
        return [f"{item.name}: {_field_value(item.value)}"]
    label = "" if item.label is None else f"{print_value(String(item.label))} "
    # No indentation: the lines of a long string inside are content.
    inner = [line for inside in item.items for line in _item(inside)]
    return [f"{item.kind} {label}{{", *inner, "}"]


def _field_value(value: Value) -> str:
    if isinstance(value, String) and "\n" in value.value:
        text = _RISKY_QUOTE.sub(r"\"", value.value.translate(_BLOCK_ESCAPES))
        # A backslash before the line end takes the blanks that follow with it.
        return f'"""{text}"""' if text[0] in " \t" else f'"""\\\n{text}"""'
    if isinstance(value, List) and len(value.items) > 1:
        return "\n".join(["[", *(f"  {text}" for text in _sequence(value.items)), "]"])
    return print_value(value)
