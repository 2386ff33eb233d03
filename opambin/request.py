"""What a command line asks of opam, as far as it decides what a build gives."""

from __future__ import annotations

import re
from dataclasses import field
from typing import TYPE_CHECKING

from opambin.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ATOM = re.compile(r"^([A-Za-z0-9_+-]*[A-Za-z][A-Za-z0-9_+-]*)(?:[.=<>!~].*)?$")
_VALUED_LONG = frozenset(
    [
        "jobs",
        "switch",
        "root",
        "criteria",
        "solver",
        "cudf",
        "color",
        "json",
        "repositories",
        "confirm-level",
        "cli",
        "debug-level",
        "destdir",
        "lock-suffix",
        "make",
        "formula",
        "packages",
        "subpath",
        "verbose-on",
    ]
)
"""Long options of opam that take their value as the next word when it is not behind ``=``."""
_VALUED_SHORT = frozenset("jm")
_BUILD_FLAGS = {
    "with-test": ("--with-test", "--build-test", "OPAMWITHTEST", "OPAMBUILDTEST", "t"),
    "with-doc": ("--with-doc", "--build-doc", "OPAMWITHDOC", "OPAMBUILDDOC", "d"),
    "with-dev-setup": ("--with-dev-setup", "", "OPAMWITHDEVSETUP", "", ""),
}
_FALSE = frozenset(("", "0", "no", "false", "n"))
NOT_FOR_REAL = frozenset(
    (
        "--show-actions",
        "--dry-run",
        "--fake",
        "--download-only",
        "--depext-only",
        "--check",
        "--destdir",
        "--assume-built",
        "--inplace-build",
        "--safe",
        "--readonly",
        "--list-pending",
        "--forget-pending",
        "--unpin",
        "--no",
        "--help",
        "--version",
        "--git-version",
    )
)
"""Options with which nothing gets installed, or otherwise than we do; such a command is opam's alone."""
_NOT_FOR_REAL_VARIABLES = ("OPAMNO", "OPAMSHOW", "OPAMDRYRUN", "OPAMFAKE", "OPAMDOWNLOADONLY", "OPAMSAFE")


_DECISIVE = (
    *sorted(NOT_FOR_REAL),
    *(f"--{name}" for name in sorted(_VALUED_LONG)),
    *(option for row in _BUILD_FLAGS.values() for option in row[:2] if option),
    "--deps-only",
)
"""Options whose meaning matters to us."""
_KNOWN = frozenset(
    (*_DECISIVE, "--yes", "--debug", "--verbose", "--restore", "--set-root", "--locked", "--strict")
)


@dataclass(frozen=True, slots=True)
class Request:
    """A command line for opam.

    Attributes:
        args: All of it, without the program and the verb.
        names: Packages that it names.
        folders: Whether it names folders or files (``.``, ``./x.opam``), that is pins.
        flags: Those of ``with-test``, ``with-doc`` and ``with-dev-setup`` that it switches on.
        switch: The switch that it names.
        options: Its long options, without values.
        places: The folders and files that it names, as written.
        values: Values of long options.
        yes: Whether it answers opam's questions with yes.
        pretended: Whether the environment keeps opam from installing anything.
    """

    args: tuple[str, ...]
    names: frozenset[str] = frozenset()
    folders: bool = False
    flags: frozenset[str] = frozenset()
    switch: str | None = None
    options: frozenset[str] = frozenset()
    places: tuple[str, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    yes: bool = False
    pretended: bool = False

    @property
    def for_real(self) -> bool:
        """Whether something would get built or installed."""
        return not self.options & NOT_FOR_REAL and not self.pretended

    def flags_of(self, name: str, *, pinned: bool) -> dict[str, bool]:
        """Return the build flags of one package: they hold for what was asked for, not for dependencies."""
        asked = name in self.names or (self.folders and pinned)
        return {flag: asked and flag in self.flags for flag in _BUILD_FLAGS}


def parse(args: Sequence[str], environ: Mapping[str, str]) -> Request:
    """Read a command line, without the program and the verb."""
    words: list[str] = []
    options: set[str] = set()
    shorts: set[str] = set()
    values: dict[str, str] = {}
    rest = list(args)
    while rest:
        word = rest.pop(0)
        if word == "--":
            words += rest
            break
        if word.startswith("--"):
            option, equals, value = word.partition("=")
            option = _unabridged(option)
            options.add(option)
            if not equals and option[2:] in _VALUED_LONG and rest:
                value = rest.pop(0)
            if value or option == "--switch":
                values[option] = value
        elif word.startswith("-") and len(word) > 1:
            letters = word[1:]
            valued = next((at for at, letter in enumerate(letters) if letter in _VALUED_SHORT), len(letters))
            shorts |= set(letters[:valued])
            if valued == len(letters) - 1 and rest:
                rest.pop(0)
        else:
            words.append(word)
    places = tuple(word for word in words if not _ATOM.match(word) or "/" in word)
    found = {name for word in words if "/" not in word for name in _atoms(word)}
    return Request(
        tuple(args),
        frozenset(found),
        bool(places),
        _flags(options, shorts, environ),
        values.get("--switch"),
        frozenset(options),
        places,
        values,
        _says_yes(options, shorts, values, environ),
        any(environ.get(name, "").lower() not in _FALSE for name in _NOT_FOR_REAL_VARIABLES),
    )


def _says_yes(
    options: set[str], shorts: set[str], values: Mapping[str, str], environ: Mapping[str, str]
) -> bool:
    level = values.get("--confirm-level") or environ.get("OPAMCONFIRMLEVEL", "")
    if "--yes" in options or "y" in shorts or level in ("yes", "unsafe-yes"):
        return True
    return environ.get("OPAMYES", "").lower() not in _FALSE


def _unabridged(option: str) -> str:
    """Complete an option that is cut short, as opam does; what could be several, opam refuses."""
    if option in _KNOWN or len(option) < 4:
        return option
    return next((known for known in _DECISIVE if known.startswith(option)), option)


def _atoms(word: str) -> list[str]:
    match = _ATOM.match(word)
    return [match[1]] if match else []


def _flags(options: set[str], shorts: set[str], environ: Mapping[str, str]) -> frozenset[str]:
    found = set()
    for flag, (option, old, variable, old_variable, short) in _BUILD_FLAGS.items():
        values = [environ.get(name, "").lower() for name in (variable, old_variable) if name]
        if options & {option, old} or (short and short in shorts) or any(v not in _FALSE for v in values):
            found.add(flag)
    return frozenset(found)


def of_process(pid: int, environ: Mapping[str, str]) -> Request | None:
    """Read the command line of the opam that runs our hook; None when it can't be read.

    Linux has it in /proc; elsewhere ``ps`` is asked, whose blanks are ambiguous, so that a path with
    blanks counts as several words there.
    """
    from pathlib import Path

    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "surrogateescape").split("\0")[:-1]
    except OSError:
        words = _ask_ps(pid)
    if len(words) < 2:
        return None
    verb = next((at for at, word in enumerate(words[1:], 1) if not word.startswith("-")), None)
    return parse(words[verb + 1 :] if verb else words[1:], environ)


def _ask_ps(pid: int) -> list[str]:
    import subprocess

    try:
        done = subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, check=False)
    except OSError:
        return []
    return done.stdout.decode("utf-8", "surrogateescape").split()
