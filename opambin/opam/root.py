"""opam's root: its configuration, and the roots that an opam can work on.

A root carries the number of its format. An opam refuses to write into a newer one; an older one is upgraded
for good by the first opam that writes into it, and opam 2.6 then ends without running the command.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from opambin.errors import BadDataError, UnavailableError
from opambin.frozen import dataclass
from opambin.opam.ast import Bool, List, OpamFile, String
from opambin.opam.parser import parse
from opambin.opam.statefile import read_text, strings_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opambin.opam.ast import Value

Variable: TypeAlias = "str | bool | tuple[str, ...]"
"""The value of an opam variable."""

OLDEST_FORMAT = (2, 1)
FORMAT_CHANGES = ((2, 1), (2, 2), (2, 6))
"""Versions of opam that brought a new format, under the format's own number."""


@dataclass(frozen=True, slots=True)
class Root:
    """opam's root.

    Attributes:
        path: Without symlinks, as opam itself spells it.
        config: The parsed ``config`` file.
        format: Of the root, as numbers.
    """

    path: Path
    config: OpamFile
    format: tuple[int, ...]

    @classmethod
    def find(cls, environ: Mapping[str, str]) -> Root:
        """Open the root that ``OPAMROOT`` names, or ``~/.opam``.

        Raises:
            UnavailableError: There is none.
            BadDataError: Its configuration can't be read.
        """
        home = environ.get("HOME") or "~"
        named = environ.get("OPAMROOT") or os.path.join(os.path.expanduser(home), ".opam")  # noqa: PTH111, PTH118 - text
        return cls.open(Path(named))

    @classmethod
    def open(cls, path: Path) -> Root:
        """Open a root.

        Raises:
            UnavailableError: There is none, or one of opam 2.0.
            BadDataError: Its configuration can't be read.
        """
        try:
            real = path.resolve()
            config = parse(read_text(real / "config"), str(real / "config"))
        except FileNotFoundError as error:
            raise UnavailableError(f"{path} is no opam root: run 'opam init', or set OPAMROOT") from error
        return cls(real, config, _format(config, real))

    @property
    def current_switch(self) -> str | None:
        """The switch that is set globally."""
        names = strings_of(self.config, "switch")
        return names[0] if names else None

    @property
    def switches(self) -> tuple[str, ...]:
        """The switches that opam knows, local ones by their folder."""
        return strings_of(self.config, "installed-switches")

    def hooks(self, field: str) -> Value | None:
        """Return a list of hooks, ``wrap-build-commands`` for instance, as it was written."""
        return self.config.get(field)

    def check_opam(self, version: tuple[int, ...]) -> None:
        """Check that an opam can write into this root and leaves its format alone.

        Raises:
            UnavailableError: It can't, or would upgrade the root.
        """
        own = max((change for change in FORMAT_CHANGES if change <= version), default=OLDEST_FORMAT)
        shown, has = (".".join(map(str, number)) for number in (version, self.format))
        if self.format > own and self.format > version[:2]:
            raise UnavailableError(
                f"{self.path} was written by a newer opam than {shown}: use opam {has} or later"
            )
        if self.format < (2, 2) and version >= (2, 6):
            raise UnavailableError(
                f"{self.path} has format {has}, which opam {shown} would upgrade for good:"
                f" run any opam {shown} command that writes ('opam update') once, if that is wanted"
            )


def variable_of(value: Value, what: str) -> Variable:
    """Read the value of a variable.

    Raises:
        BadDataError: It is not a string, a boolean or a list of strings.
    """
    match value:
        case String(value=text):
            return text
        case Bool(value=truth):
            return truth
        case List(items=items) if all(isinstance(item, String) for item in items):
            return tuple(item.value for item in items if isinstance(item, String))
    raise BadDataError(
        what, "not the value of a variable", expected="a string, boolean or list", observed=value
    )


def _format(config: OpamFile, root: Path) -> tuple[int, ...]:
    texts = strings_of(config, "opam-root-version")
    if not texts:
        raise UnavailableError(f"{root} is a root of opam 2.0: run 'opam update' with opam 2.1 or later once")
    text = texts[0].split("~")[0]
    try:
        return tuple(int(part) for part in text.split("."))
    except ValueError as error:
        raise BadDataError(
            config.filename, "bad opam-root-version", expected="2.x", observed=texts[0]
        ) from error
