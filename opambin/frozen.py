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
        items = [(item.name, item.type, _like(item)) for item in dataclasses.fields(cls)]
        after = {"__post_init__": after} if (after := getattr(cls, "__post_init__", None)) else {}
        name = cls.__name__
        twin = dataclasses.make_dataclass(name, items, namespace=after, frozen=True, repr=False, eq=False)
        initialise = vars(twin)["__init__"]
        setattr(cls, "__init__", initialise)  # noqa: B010 - mypy takes an assignment for a mistake
        initialise(self, *args, **named)

    return first


def _like(item: dataclasses.Field[Any]) -> dataclasses.Field[Any]:
    """Return the description of a field like another one, as far as values are made by it."""
    default, factory = item.default, item.default_factory
    like: dataclasses.Field[Any] = dataclasses.field(
        default=default,
        default_factory=factory,
        init=item.init,
        kw_only=item.kw_only,
    )
    return like


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
