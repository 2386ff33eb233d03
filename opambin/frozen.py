"""Frozen dataclasses that cost little where they are defined.

Python's own decorator compiles six functions for each class. Hooks start a process for each package, which
spent half of its start on that, for classes of which it uses a third. Here ``__init__`` is compiled when the
first value is made, and what compares, shows and protects values is shared by all classes.

What is made is a dataclass in every other respect: ``fields``, ``replace``, ``asdict``, ``match``, copies and
pickles work. Frozen classes below such a one are made here, too; others are left to Python's decorator.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from operator import attrgetter, ge, gt, le, lt
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import dataclass
else:

    def dataclass(cls=None, **options):  # noqa: ANN001, ANN003, ANN201 - typed as Python's own
        """Do what :func:`dataclasses.dataclass` does; options are ``frozen``, ``slots`` and ``order``."""
        frozen = options.pop("frozen", False)
        decorate = partial(_frozen, **options) if frozen else dataclasses.dataclass(**options)
        return decorate if cls is None else decorate(cls)


__all__ = ["dataclass"]

_Value: TypeAlias = Any  # of a dataclass, for which typing has no name
_ORDERS: dict[str, Callable[[Any, Any], bool]] = {"__lt__": lt, "__le__": le, "__gt__": gt, "__ge__": ge}


def _frozen(cls: type, *, slots: bool = False, order: bool = False) -> type:
    """Make a frozen dataclass of a class; what the class defines itself stays."""
    written = {name for name, value in vars(cls).items() if value is not None}
    made: type = dataclasses.dataclass(init=False, repr=False, eq=False, slots=slots)(cls)
    compared = [item.name for item in dataclasses.fields(made) if item.compare]
    values: Callable[[Any], Any] = attrgetter(*compared) if compared else lambda _: ()
    shared = {
        "__init__": _initialiser(made),
        "__repr__": _shown,
        "__eq__": _equal(values),
        "__hash__": lambda self: hash(values(self)),
        "__setattr__": _refuse,
        "__delattr__": _refuse,
        "__getstate__": _state,
        "__setstate__": _set_state,
    }
    if order:
        shared |= {name: _ordered(values, holds) for name, holds in _ORDERS.items()}
    for name in shared.keys() - written:
        setattr(made, name, shared[name])
    return made


def _initialiser(cls: type) -> Callable[..., None]:
    """Return an ``__init__`` that puts the compiled one in its own place, and calls that."""

    def first(self: object, *args: object, **named: object) -> None:
        initialise = _compiled(cls)
        setattr(cls, "__init__", initialise)  # noqa: B010 - mypy takes an assignment for a mistake
        initialise(self, *args, **named)

    return first


def _compiled(cls: type) -> Callable[..., None]:
    """Compile ``__init__``: what Python's decorator would compile, without all that goes with it there."""
    scope: dict[str, Any] = {"_set": object.__setattr__, "_absent": dataclasses.MISSING}
    parameters: dict[bool, list[str]] = {False: ["self"], True: ["*"]}
    lines = ["pass"]
    for item in dataclasses.fields(cls):
        name, default = item.name, ""
        value = name if item.init else "_absent"
        if item.default is not dataclasses.MISSING:
            scope[f"_default_{name}"], default = item.default, f"=_default_{name}"
            value = name if item.init else f"_default_{name}"
        elif item.default_factory is not dataclasses.MISSING:
            scope[f"_make_{name}"], default = item.default_factory, "=_absent"
            value = f"_make_{name}() if {value} is _absent else {value}"
        elif not item.init:
            continue  # __post_init__ sees to it
        if item.init:
            parameters[bool(item.kw_only)].append(f"{name}{default}")
        lines.append(f"_set(self, {name!r}, {value})")
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    every = parameters[False] + (parameters[True] if len(parameters[True]) > 1 else [])
    exec(f"def __init__({', '.join(every)}):\n " + "\n ".join(lines), scope)  # noqa: S102 - names of our own
    made: Callable[..., None] = scope["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    return made


def _equal(values: Callable[[Any], Any]) -> Callable[[Any, Any], bool]:
    def equal(self: _Value, other: _Value) -> bool:
        return bool(values(self) == values(other)) if other.__class__ is self.__class__ else NotImplemented

    return equal


def _ordered(values: Callable[[Any], Any], holds: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def ordered(self: _Value, other: _Value) -> bool:
        return holds(values(self), values(other)) if other.__class__ is self.__class__ else NotImplemented

    return ordered


def _shown(self: _Value) -> str:
    parts = (f"{item.name}={getattr(self, item.name)!r}" for item in dataclasses.fields(self) if item.repr)
    return f"{type(self).__qualname__}({', '.join(parts)})"


def _state(self: _Value) -> list[Any]:
    return [getattr(self, item.name) for item in dataclasses.fields(self)]


def _set_state(self: _Value, state: list[Any]) -> None:
    for item, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, item.name, value)


def _refuse(self: object, name: str, *_: object) -> None:
    raise dataclasses.FrozenInstanceError(f"{type(self).__name__} is frozen: {name!r} can't be changed")
