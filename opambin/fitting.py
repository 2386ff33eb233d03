"""Whether a snapshot fits a switch as it is: its files under the prefix, and what they were built against."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opambin.foreign import is_opams_own
from opambin.relocate.spelling import escaped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opambin.model import Import, Manifest, PackageName, Symbol
    from opambin.plan import Checks, Provided, Site

MACHINE_SYMBOLS = ("file", "lib")
"""Kinds of symbols that this machine provides, not the output of a dependency."""


def refusal(manifest: Manifest, chosen: Mapping[PackageName, Provided], site: Site) -> str:
    """Say why a snapshot can't be restored here; empty when it can."""
    for path in (*(entry.path for entry in manifest.files), *(edit.path for edit in manifest.edits)):
        if is_opams_own(path):
            return f"it would write {path}, which is opam's own"
    reason = _unmovable(manifest, site.prefix)
    if reason:
        return reason
    for wanted in manifest.imports:
        reason = _unmet(wanted, chosen.get(wanted.provider), site.machine)
        if reason:
            return reason
    return ""


def _unmovable(manifest: Manifest, prefix: str) -> str:
    """Say why the files of a snapshot can't be brought under a prefix; empty when they can."""
    path = prefix.encode("utf-8", "surrogateescape")
    for bound in manifest.bound:
        if bound.max_prefix is None:
            if manifest.prefix != prefix:
                return f"bound to the prefix it was built at by {bound.path}: {bound.reason}"
        elif len(path) > bound.max_prefix:
            return f"{bound.path} can't hold a prefix of more than {bound.max_prefix} bytes: {bound.reason}"
    for entry in manifest.files:
        for found in entry.occurrences:
            if found.functional and found.capacity is not None and found.capacity < len(path):
                return f"{entry.path} can't hold a prefix of more than {found.capacity} bytes"
    odd = escaped(path)
    if odd and manifest.prefix != prefix and any(entry.occurrences for entry in manifest.files):
        return f"scripts and makefiles could not name {prefix}, because of {odd!r}"
    return ""


def _unmet(wanted: Import, have: Provided | None, machine: Checks) -> str:
    for symbol in wanted.symbols:
        if symbol.kind in MACHINE_SYMBOLS and not machine.has(symbol):
            if symbol.kind == "lib":
                version = f" with {symbol.value}" if symbol.value else ""
                return f"the shared library {symbol.name}{version} is not on this machine"
            return f"{symbol.name} is another one on this machine"
    rest = [symbol for symbol in wanted.symbols if symbol.kind not in MACHINE_SYMBOLS]
    if have is None:
        return f"{wanted.provider} isn't there" if rest or wanted.output else ""
    if wanted.output is not None and have.output == wanted.output:
        return ""
    return next((_differs(wanted.provider, symbol) for symbol in rest if not have.has(symbol)), "")


def _differs(provider: str, symbol: Symbol) -> str:
    what = {
        "cmi": "interface of module",
        "cmx": "implementation of module",
        "so": "shared library",
        "var": "variable",
    }.get(symbol.kind, symbol.kind)
    return f"{provider} has another {what} {symbol.name} than it was built against"
