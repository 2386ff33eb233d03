"""What ``switch create NAME COMPILER`` asks for, where that is one package, with or without a version."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from opambin import request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_UNDERSTOOD = frozenset(
    ("--yes", "--description", "--no-switch", "--jobs", "--color", "--quiet", "--verbose", "--confirm-level")
)
"""Options that change nothing about what is made; ``--description`` is handed on."""
_VALUED = frozenset(("--description", "--jobs", "--color", "--confirm-level", "-j"))
_SHORT = frozenset(("-y", "-q", "-v"))


@dataclass(frozen=True, slots=True)
class Wish:
    """A switch that is to be created.

    Attributes:
        name: As given.
        compiler: As given; where only a name was, that.
        description: As given, or None.
        select: Whether it becomes the current switch.
        yes: Whether questions are answered with yes.
        options: For opam when it installs what is not restored.
    """

    name: str
    compiler: str
    description: str | None = None
    select: bool = True
    yes: bool = False
    options: tuple[str, ...] = ()


def is_asked_for(args: Sequence[str]) -> bool:
    """Tell whether the words behind ``switch`` are about creating one."""
    return next((word for word in args if not word.startswith("-")), "") == "create"


def parse(args: Sequence[str], environ: Mapping[str, str]) -> Wish | None:
    """Read the words behind ``switch``; None for everything that is opam's alone."""
    words: list[str] = []
    options: list[str] = []
    values: dict[str, str] = {}
    rest = list(args)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            words.append(word)
            continue
        option, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if option not in _UNDERSTOOD | _SHORT | {"-j"} or (not equals and option in _VALUED and not rest):
            return None
        if option in _VALUED:
            values[option] = value if equals else rest.pop(0)
        if option not in ("--description", "--no-switch"):
            options += [option, values[option]] if option in _VALUED else [option]
    if words[:1] != ["create"] or not 2 <= len(words) <= 3 or not _one_package(words[-1]):
        return None
    local = "/" in words[1] or words[1].startswith(".")
    if local and (len(words) == 2 or _has_definitions(Path(words[1]))):
        return None
    return Wish(
        words[1],
        words[-1],
        values.get("--description"),
        "--no-switch" not in args and not local,
        request.parse(args, environ).yes,
        tuple(options),
    )


def _one_package(compiler: str) -> bool:
    return bool(compiler) and not set(compiler) & set(",=<>!&| ()/\"'")


def _has_definitions(folder: Path) -> bool:
    """Tell whether opam would offer to install what the folder defines."""
    return any(folder.glob("*.opam")) or any(folder.glob("opam*"))
