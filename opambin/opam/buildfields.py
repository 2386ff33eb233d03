"""Which fields of an opam file can change what a build gives, and which variables they read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opambin.opam import filters

if TYPE_CHECKING:
    from opambin.opam.ast import OpamFile

BUILD_FIELDS = (
    "build",
    "build-doc",
    "build-env",
    "build-test",
    "conflicts",
    "depends",
    "depopts",
    "extra-files",
    "features",
    "install",
    "patches",
    "run-test",
    "setenv",
    "substs",
)

FLAG_OF_FIELD = {"build-test": "with-test", "run-test": "with-test", "build-doc": "with-doc"}
"""Fields of commands that opam runs under a flag without their mentioning it."""

_mentioned: dict[int, tuple[OpamFile, frozenset[str]]] = {}
"""What was found in a file, by its identity: a plan asks for it three times, and reads each file once."""
_METADATA = frozenset(("installed", "enable", "version", "name"))
_FOLDERS = frozenset(("bin", "sbin", "lib", "man", "doc", "share", "etc", "stublibs", "toplevel"))
_OPAMS_OWN = frozenset(("build", "hash", "dev", "build-id", "opamfile", "pinned", "depends"))


def mentioned_variables(file: OpamFile) -> frozenset[str]:
    """Return every variable that the fields of :data:`BUILD_FIELDS` mention.

    ``_:x`` counts as ``x``. A field that opam runs only under a flag mentions that flag.
    """
    known = _mentioned.get(id(file))
    if known is None or known[0] is not file:
        known = _mentioned[id(file)] = (file, _mentioned_variables(file))
    return known[1]


def _mentioned_variables(file: OpamFile) -> frozenset[str]:
    found = {flag for name, flag in FLAG_OF_FIELD.items() if file.get(name) is not None}
    for name in BUILD_FIELDS:
        value = file.get(name)
        if value is not None:
            found |= filters.variables(value)
    return frozenset(name.removeprefix("_:") for name in found)


def configured_variables(file: OpamFile, name: str) -> tuple[str, ...]:
    """Return the variables among them that come from the ``.config`` of other packages, sorted.

    Args:
        file: The opam file.
        name: The package it defines.
    """
    return tuple(sorted(found for found in mentioned_variables(file) if _is_configured(found, name)))


def _is_configured(variable: str, name: str) -> bool:
    owner, colon, local = variable.rpartition(":")
    if not colon or owner in ("_", name) or "+" in owner:
        return False
    return local not in _METADATA | _FOLDERS | _OPAMS_OWN


def cares_for_tests(file: OpamFile) -> bool:
    """Tell whether what is built may depend on whether tests are wanted."""
    return "with-test" in mentioned_variables(file)
