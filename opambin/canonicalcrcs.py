"""Giving the compiled units of a package CRCs that are the same wherever it was built.

Done after a build and before anything is built against the package: in its placeholder form and in its live
files alike, so that whoever compiles against either sees the same CRCs. See :mod:`opambin.relocate.crcs`.

Rules:

* All files of a package or none: where one can't be read as expected, every CRC stays as it was compiled.
* Only right after a build. In a switch that is adopted other packages hold the compiler's CRCs already.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from opambin.errors import BadDataError, IncompleteError
from opambin.relocate.camlunits import IMPLEMENTATION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opambin.context import Context
    from opambin.looking import Look, Seen
    from opambin.relocate import crcs
    from opambin.relocate.analysis import Analysis

_UNIT_SUFFIX = ".cmx"
STDLIB = (IMPLEMENTATION, "Stdlib")
"""What only a compiler provides. It is linked from nothing but its own units."""
MARKER = "renaming"
"""A file of the session's folder: live files are being written of which all must be, or none."""


def rename(prefix: str, look: Look) -> None:
    """Put canonical CRCs in the place of those that depend on the prefix.

    Args:
        prefix: Of the switch.
        look: What was found out about the files of a package; changed in place.
    """
    native = [seen for seen in look.seen if seen.analysis and seen.path.endswith(_UNIT_SUFFIX)]
    if not any(seen.analysis and seen.analysis.occurrences for seen in native):
        return
    from opambin.relocate import crcs  # seldom needed

    try:
        changed = crcs.renaming(_unit(prefix, seen) for seen in native)
        if changed and STDLIB in {(symbol.kind, symbol.name) for symbol in look.provides}:
            changed |= _of_programs(prefix, look)
        new = _renamed(prefix, look, changed) if changed else {}
    except BadDataError:
        return
    for seen in look.seen:
        seen.analysis = new.get(seen.path, seen.analysis)
    look.provides = {crcs.renamed_symbol(symbol, changed) for symbol in look.provides}
    look.imports = {crcs.renamed_symbol(symbol, changed) for symbol in look.imports}
    look.renamed = bool(new)


def _of_programs(prefix: str, look: Look) -> dict[bytes, bytes]:
    """Return canonical CRCs of the units of a compiler's own programs that have no ``.cmx``.

    Other packages' programs are linked from units of packages below them, too, whose CRCs have to stay.
    """
    from opambin.relocate import camlobj, crcs

    known = {bytes.fromhex(symbol.value) for symbol in look.provides if symbol.kind == IMPLEMENTATION}
    found: dict[bytes, bytes] = {}
    for seen in look.seen:
        if seen.analysis is None:
            continue
        content = _content(prefix, seen)
        if crcs.may_hold_crcs(content) and not camlobj.recognises(content):
            for name, crc in crcs.linked(content):
                if crc not in known:
                    found.setdefault(crc, crcs.alone(seen.path, name))
    return found


def _unit(prefix: str, seen: Seen) -> crcs.Unit:
    from opambin.relocate import crcs

    return crcs.read_unit(_content(prefix, seen), moves=bool(seen.analysis and seen.analysis.occurrences))


def _content(prefix: str, seen: Seen) -> bytes:
    """Return a file in placeholder form."""
    if seen.analysis is not None and seen.analysis.content is not None:
        return seen.analysis.content
    return Path(f"{prefix}/{seen.path}").read_bytes()


def _renamed(prefix: str, look: Look, changed: crcs.Renaming) -> dict[str, Analysis]:
    """Return what is stored, with other CRCs, of the files that hold any.

    Raises:
        BadDataError: A file that does can't be changed.
    """
    from opambin.relocate import crcs, machomagic
    from opambin.relocate.identity import identity

    finder = crcs.pattern(changed)
    found = {}
    for seen in look.seen:
        if seen.analysis is None:
            continue
        content = _content(prefix, seen)
        if not crcs.may_hold_crcs(content):
            continue
        new = crcs.renamed(content, changed, finder)
        if new == content:
            continue
        if machomagic.recognises(new):
            from opambin.relocate import machofile

            new = machofile.finish(new)
        found[seen.path] = replace(seen.analysis, content=new, identity=identity(new))
    return found


@contextmanager
def all_or_none(context: Context) -> Iterator[None]:
    """Mark the session for the block, in which live files get other CRCs.

    Where the block does not come to its end, whatever ended it, opam is made to take the package out again:
    half of its files would not link with the other half. A script sees the mark where we were killed.

    Raises:
        IncompleteError: The block failed or was interrupted.
    """
    marker = context.session.folder / MARKER
    if context.session.exists:
        marker.touch()
    try:
        yield
    except BaseException as error:
        problem = str(error) or type(error).__name__
        raise IncompleteError(f"some files of the package do not fit to the others: {problem}") from error
    marker.unlink(missing_ok=True)
