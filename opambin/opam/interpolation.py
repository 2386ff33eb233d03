"""Variables: how they are named, looked up, and spelled out in strings.

What opam does, and so do we:

* ``%{x}%`` in a string is the value of ``x``; ``""`` when it is undefined; lists are joined by spaces.
* ``%{x?yes:no}%`` is ``yes`` when ``x`` is true, else ``no``, undefined included.
* ``%%`` is a percent sign. A ``%{`` without ``}%`` on its line stays as it is.
* ``a+b:x`` is true when ``a:x`` and ``b:x`` are. ``_:x`` is ``x`` of the package itself.
* ``a:enable`` is ``enable`` or ``disable``, depending on ``a:installed``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

from opambin.frozen import dataclass

Value: TypeAlias = bool | str | tuple[str, ...] | None
"""What a variable or a filter is worth; None is undefined."""
Env: TypeAlias = Callable[[str], Value]
"""Looks a variable up by name: ``x``, ``pkg:x`` or ``_:x``. It is never asked for ``a+b:x``."""

_INTERPOLATION = re.compile(r"%%|%\{((?:[^}\n]|\}(?:[^%\n]|\Z))*+)(?:\}%)?")
_BOOLS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Reference:
    """A mention of a variable.

    Attributes:
        packages: Before the colon; ``_`` is the package itself; empty for a global variable.
        variable: Its name.
        choice: What it stands for when true and when not, for ``x?yes:no``.
    """

    packages: tuple[str, ...]
    variable: str
    choice: tuple[str, str] | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read ``x``, ``pkg:x``, ``a+b:x``, ``x?yes:no`` or, for odd package names, ``?a++:x:``."""
        before, colon, last = text.rpartition(":")
        if not colon:
            return cls((), text)
        name, mark, yes = before.rpartition("?")
        if not mark:
            return cls(_packages(before), last)
        if name:
            packages, colon, variable = name.rpartition(":")
            return cls(_packages(packages) if colon else (), variable, (yes, last))
        # A package whose name has a plus is written so from opam 2.2 on:
        # https://github.com/ocaml/opam-file-format/issues/59
        package, colon, variable = yes.rpartition(":")
        return cls((package,), variable) if colon else cls((), last)

    @property
    def name(self) -> str:
        """The variable as it would be written without the choice."""
        return f"{'+'.join(self.packages)}:{self.variable}" if self.packages else self.variable

    def lookup(self, env: Env) -> Value:
        """Return its value, as opam resolves it."""
        if self.packages and self.variable == "enable" and not self.choice:
            return Reference(self.packages, "installed", ("enable", "disable")).lookup(env)
        value = self._all(env) if len(self.packages) > 1 else env(self.name)
        if self.choice:
            return self.choice[0] if as_bool(value) else self.choice[1]
        return value

    def _all(self, env: Env) -> bool | None:
        result: bool | None = True
        for package in self.packages:
            value = env(f"{package}:{self.variable}")
            if value is not True:
                result = as_bool(value)
            if result is False:
                break
        return result


def _packages(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split("+") if name)


def as_bool(value: Value) -> bool | None:
    """Read a value as a boolean where it can be: ``"true"`` is true."""
    if isinstance(value, bool):
        return value
    if isinstance(value, tuple):
        value = value[0] if len(value) == 1 else None
    return _BOOLS.get(value) if value is not None else None


def as_text(value: Value) -> str:
    """Return a value as it appears in a string."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return " ".join(value)
    return value or ""


def interpolate(text: str, env: Env) -> str:
    """Replace ``%{...}%`` and ``%%`` in a string, once: the values are taken as they are."""
    if "%" not in text:
        return text

    def expand(match: re.Match[str]) -> str:
        found = match[0]
        if found == "%%":
            return "%"
        return as_text(Reference.parse(found[2:-2]).lookup(env)) if found.endswith("}%") else found

    return _INTERPOLATION.sub(expand, text)


def mentioned(text: str) -> set[str]:
    """Return the variables that a string interpolates, as written."""
    if "%{" not in text:
        return set()
    found = (match[0] for match in _INTERPOLATION.finditer(text))
    return {Reference.parse(item[2:-2]).name for item in found if item.endswith("}%")}
