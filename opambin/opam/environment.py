"""``.opam-switch/environment``: what ``opam env`` sets, kept by opam so that a prompt need not compute it.

opam writes it with each change of ``switch-state``. It differs only when a package with ``setenv`` came or
went, so mostly nothing is to be done. When something is, the file is taken away and ``opam env
--inplace-path`` writes it. Never while the switch is locked: a missing file makes every ``opam env`` wait for
the lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opambin.errors import BadDataError
from opambin.frozen import dataclass
from opambin.opam.parser import parse
from opambin.opam.statefile import read_text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from opambin.opam.client import Opam
    from opambin.opam.switch import Switch


@dataclass(frozen=True, slots=True)
class Update:
    """One line: a variable and what happens to it.

    Attributes:
        name: Of the variable.
        operator: ``=``, ``+=``, ``=+``, ``:=``, ``=:`` or ``=+=``.
        value: What is set or put beside the old value.
        rest: What else the line holds: since 2.2 separator and format, then the comment.
    """

    name: str
    operator: str
    value: str
    rest: tuple[str, ...] = ()


def parse_environment(text: str, what: str) -> tuple[Update, ...]:
    """Read the file's content.

    Raises:
        BadDataError: A line has too few columns.
    """
    updates = []
    for line in text.splitlines():
        columns = [_unescape(column) for column in line.split("\t")]
        if len(columns) < 3:
            raise BadDataError(what, "too few columns", expected="name, operator, value", observed=line)
        updates.append(Update(columns[0], columns[1], columns[2], tuple(columns[3:])))
    return tuple(updates)


def read_environment(meta: Path) -> tuple[Update, ...] | None:
    """Read the file of a switch; None when there is none.

    Args:
        meta: The ``.opam-switch`` directory.

    Raises:
        BadDataError: It is broken.
    """
    path = meta / "environment"
    try:
        return parse_environment(read_text(path), str(path))
    except FileNotFoundError:
        return None


def has_setenv(opam_texts: Iterable[str]) -> bool:
    """Whether one of some opam files sets environment variables."""
    return any("setenv" in text and parse(text).get("setenv") is not None for text in opam_texts)


def refresh(opam: Opam, switch: Switch) -> None:
    """Bring opam's records of the environment up to date.

    Call it after the switch's lock was released. When the switch is the one that is set globally, the scripts
    in ``OPAMROOT/opam-init`` are written, too, as opam does.

    Args:
        opam: With the switch's root.
        switch: What was changed.

    Raises:
        UnavailableError: opam failed; it computes the environment itself until it has written the file.
    """
    (switch.meta / "environment").unlink(missing_ok=True)
    opam.env_inplace(switch.name)
    if switch.is_global:
        opam.set_global_switch(switch.name)


def _unescape(column: str) -> str:
    if "\\" not in column:
        return column
    chars = iter(column)
    return "".join(next(chars, "") if char == "\\" else char for char in chars)
