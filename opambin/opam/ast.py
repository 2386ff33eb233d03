"""The syntax of an opam file as values.

Every class is frozen, compares by content and holds no position: two files that differ only in layout
and comments are equal. Shapes follow the grammar, not the meaning: ``depends`` is a :class:`List` here.
"""

from __future__ import annotations

from dataclasses import field
from typing import TypeAlias

from opambin.frozen import dataclass


@dataclass(frozen=True, slots=True)
class String:
    """A quoted string, with its escapes resolved."""

    value: str


@dataclass(frozen=True, slots=True)
class Int:
    """An integer, possibly negative."""

    value: int


@dataclass(frozen=True, slots=True)
class Bool:
    """``true`` or ``false``."""

    value: bool


@dataclass(frozen=True, slots=True)
class Ident:
    """An identifier as written: ``x``, ``pkg:x``, ``_:x``, ``a+b:x``."""

    name: str


@dataclass(frozen=True, slots=True)
class List:
    """``[ ... ]``."""

    items: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """``( ... )``."""

    items: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class Option:
    """``value { filters }``: a value with conditions in braces."""

    value: Value
    filters: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class Relop:
    """``left op right``, where ``op`` is one of ``= != < <= > >= ~``."""

    op: str
    left: Atom
    right: Atom


@dataclass(frozen=True, slots=True)
class PrefixRelop:
    """``op value``: half a comparison, as in version constraints."""

    op: str
    value: Atom


@dataclass(frozen=True, slots=True)
class Logop:
    """``a op b op c``, where ``op`` is ``&`` or ``|``.

    A chain is one value, so that long chains don't nest: no operand of a parsed ``&`` is a bare ``&``,
    and no operand of a parsed ``|`` is a bare ``|``.
    """

    op: str
    operands: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """``!value``."""

    value: Value


@dataclass(frozen=True, slots=True)
class Defined:
    """``?value``: whether the value is defined."""

    value: Value


@dataclass(frozen=True, slots=True)
class EnvBinding:
    """``NAME op value``, where ``op`` is one of ``+= =+ := =: =+=``.

    A plain ``NAME = value`` reads as a :class:`Relop`: the syntax can't tell them apart.
    """

    left: Atom
    op: str
    right: Atom


@dataclass(frozen=True, slots=True)
class Field:
    """``name: value``."""

    name: str
    value: Value


@dataclass(frozen=True, slots=True)
class Section:
    """``kind "label" { ... }``; ``label`` is None when there is none."""

    kind: str
    label: str | None
    items: tuple[Item, ...] = ()

    def get(self, name: str) -> Value | None:
        """Return the value of field ``name``, or None."""
        return _field(self.items, name)


Atom: TypeAlias = "String | Int | Bool | Ident"
Value: TypeAlias = (
    "String | Int | Bool | Ident | List | Group | Option | Relop | PrefixRelop"
    " | Logop | Not | Defined | EnvBinding"
)
Item: TypeAlias = "Field | Section"


@dataclass(frozen=True, slots=True)
class OpamFile:
    """A parsed file.

    Attributes:
        filename: Where it came from, for messages; may be empty.
        items: Its fields and sections, in file order.
    """

    filename: str
    items: tuple[Item, ...] = ()
    _fields: dict[str, Value] = field(init=False, repr=False, compare=False)
    _sections: dict[str, tuple[Section, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index fields and sections: one is asked for some fifty times when a plan is made."""
        fields: dict[str, Value] = {}
        sections: dict[str, tuple[Section, ...]] = {}
        for item in self.items:
            if isinstance(item, Field):
                fields.setdefault(item.name, item.value)
            else:
                sections[item.kind] = (*sections.get(item.kind, ()), item)
        object.__setattr__(self, "_fields", fields)
        object.__setattr__(self, "_sections", sections)

    def get(self, name: str) -> Value | None:
        """Return the value of the top-level field ``name``, or None."""
        return self._fields.get(name)

    def sections(self, kind: str) -> tuple[Section, ...]:
        """Return the top-level sections of a kind, in file order."""
        return self._sections.get(kind, ())


def _field(items: tuple[Item, ...], name: str) -> Value | None:
    for item in items:
        if isinstance(item, Field) and item.name == name:
            return item.value
    return None
