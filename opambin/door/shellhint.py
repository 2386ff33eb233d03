"""opam's last line after an installation: how the shell gets the environment of the switch.

opam prints it where the shell's environment is not that of the switch, unless the switch was only named on
the command line. opam itself compares with ``.opam-switch/environment``, and so do we.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from opambin.opam.environment import read_environment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opambin.context import Context
    from opambin.opam.environment import Update
    from opambin.request import Request

_NEWER_WORDS = (2, 2)  # since this opam the line begins with what it is for
_QUOTED = frozenset("$@! \t|&;()<>`\\^%")
_FALSE = frozenset(("", "0", "no", "false", "n"))


def hint(context: Context, asked: Request) -> tuple[str, str]:
    """Return the line around a command, and the command: both empty where opam says nothing.

    Args:
        context: The switch.
        asked: The command line.

    Raises:
        BadDataError: opam's record of the environment is broken.
    """
    switch, environ = context.switch, context.environ
    if environ.get("OPAMNOENVNOTICE", "").lower() not in _FALSE:
        return "", ""
    if "--switch" in asked.values and not switch.is_global:
        return "", ""
    if _up_to_date(read_environment(switch.meta) or (), environ):
        return "", ""
    newer = context.opam_version >= _NEWER_WORDS
    line = (
        "# To update the current shell environment, run: %s"
        if newer
        else "# Run %s to update the current shell environment"
    )
    return line, _command(context, newer=newer)


def _up_to_date(updates: tuple[Update, ...], environ: Mapping[str, str]) -> bool:
    state = {update.name: _applied(update, environ.get(update.name)) for update in updates}
    return all(state.values())


def _applied(update: Update, value: str | None) -> bool:
    if value is None:
        return False
    if update.operator == "=":
        return value == update.value
    found, wanted = value.split(os.pathsep), update.value.split(os.pathsep)
    return any(found[at : at + len(wanted)] == wanted for at in range(len(found)))


def _command(context: Context, *, newer: bool) -> str:
    environ, switch = context.environ, context.switch
    options = ""
    default = environ.get("OPAMROOT") or f"{environ.get('HOME', '')}/.opam"
    if not _same_folder(default, context.root.path):
        options += _option("root", str(context.root.path), quote=newer)
    current = environ.get("OPAMSWITCH")
    if current is None:
        current = _local(Path.cwd()) or context.root.current_switch
    if current != switch.name:
        options += _option("switch", switch.name, quote=newer)
    match _shell(environ):
        case "fish":
            return f"eval (opam env{options})"
        case "csh" | "tcsh" | "bsd-csh":
            return f"eval `opam env{options}`"
        case "pwsh" | "powershell":
            return f"(& opam env{options}) -split '\\r?\\n' | ForEach-Object {{ Invoke-Expression $_ }}"
    return f"eval $(opam env{options})"


def _option(name: str, value: str, *, quote: bool) -> str:
    option = f"--{name}={value}"
    return f" '{option}'" if quote and set(value) & _QUOTED else f" {option}"


def _same_folder(left: str, right: Path) -> bool:
    return os.path.realpath(left) == str(right)


def _local(here: Path) -> str | None:
    """Return the local switch of a folder or one above it, as opam names it."""
    above = (here, *here.parents)
    return next((str(folder) for folder in above if (folder / "_opam/.opam-switch").is_dir()), None)


def _shell(environ: Mapping[str, str]) -> str:
    """Name the user's shell: the program that called us, or ``SHELL``."""
    try:
        caller = Path(f"/proc/{os.getppid()}/exe").readlink().name
    except OSError:
        caller = ""
    known = ("sh", "bash", "dash", "zsh", "fish", "csh", "tcsh", "bsd-csh", "pwsh")
    return caller if caller in known else Path(environ.get("SHELL", "")).name
