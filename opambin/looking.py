"""Looking at what a package installed, before anything is written: formats, prefixes, symbols, edits."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from opambin.errors import BadDataError
from opambin.model import Bound, Edit, Symbol
from opambin.provided import BYTECODE_SUFFIXES, bytecode_alone, file_symbols
from opambin.relocate.spelling import other_form

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opambin.context import Context
    from opambin.filelist import FileList
    from opambin.opam.prefixindex import PrefixIndex
    from opambin.relocate.analysis import Analysis


@dataclass(slots=True)
class Seen:
    """A path, looked at but not yet written anywhere.

    Attributes:
        path: Relative to the prefix.
        status: As ``lstat`` gave it.
        analysis: Of the content, for files.
        target: Of a symlink, in placeholder form.
        hardlink: For files with several names, the first of them in the package.
    """

    path: str
    status: os.stat_result
    analysis: Analysis | None = None
    target: str = ""
    hardlink: str = ""


@dataclass(slots=True)
class Look:
    """Everything that was found out about the files of a package.

    Attributes:
        seen: Its paths, sorted.
        edits: What it added to files of others, with their new content.
        bound: Why it can't be moved freely.
        provides: What it offers to others.
        imports: What its files need, from wherever.
        problem: Why no snapshot may be made of it; the first thing that was found.
        renamed: Whether its live files will get other CRCs, which must happen to all of them.
        other_form: Finds the prefix where a part of it is written in another way, if one ever is.
    """

    seen: list[Seen] = field(default_factory=list)
    edits: list[tuple[Edit, bytes]] = field(default_factory=list)
    bound: list[Bound] = field(default_factory=list)
    provides: set[Symbol] = field(default_factory=set)
    imports: set[Symbol] = field(default_factory=set)
    problem: str = ""
    renamed: bool = False
    other_form: re.Pattern[bytes] | None = None

    def see_other_forms(self, data: bytes, path: str) -> None:
        """Bind the package when the prefix may stand in ``data`` with characters written in another way."""
        if self.other_form is None:
            return
        from opambin.relocate import analysis

        if not analysis.informational(path):
            found = self.other_form.search(data)
            if found is not None:
                reason = f"at byte {found.start()} the prefix may stand with other characters"
                self.bound.append(Bound(path, reason))

    @property
    def needed(self) -> set[Symbol]:
        """What its files import and it does not provide itself."""
        own = {(symbol.kind, symbol.name) for symbol in self.provides}
        own |= {("lib", name) for kind, name in own if kind == "so"}
        return {symbol for symbol in self.imports if (symbol.kind, symbol.name) not in own}


def look_at(context: Context, files: FileList, before: PrefixIndex | None, *, keep_length: bool) -> Look:
    """Read and analyse every path; nothing is written.

    Args:
        context: The switch.
        files: What the package installed.
        before: The prefix before, for the content of files that it edited.
        keep_length: Whether its recipe wants lengths kept.

    Raises:
        OSError: A file can't be read.
    """
    look = Look(other_form=other_form(context.spelling))
    if os.path.islink(context.prefix):  # noqa: PTH114 - the text that opam knows
        look.problem = f"{context.prefix} is a symbolic link, and builds may have named what it leads to"
    links: dict[tuple[int, int], str] = {}
    for path in files.added:
        seen = Seen(path, os.lstat(f"{context.prefix}/{path}"))
        look.seen.append(seen)
        if stat.S_ISREG(seen.status.st_mode):
            if seen.status.st_nlink > 1:
                seen.hardlink = links.setdefault((seen.status.st_dev, seen.status.st_ino), path)
            _look_at_file(context, look, seen, keep_length=keep_length)
        else:
            _look_at_other(context, look, seen)
    for path in bytecode_alone([seen.path for seen in look.seen]):
        _add_symbols(context, look, path)
    for path in files.edited:
        _look_at_edit(context, look, path, before)
    return look


def _look_at_other(context: Context, look: Look, seen: Seen) -> None:
    mode = seen.status.st_mode
    if stat.S_ISLNK(mode):
        target = os.readlink(f"{context.prefix}/{seen.path}")  # noqa: PTH115 - the exact text, slashes and all
        if next(context.spelling.respelled(os.fsencode(target)), None) is not None:
            target = re.sub("/+", "/", target)
        seen.target = context.placeholder_text(target)
    elif not stat.S_ISDIR(mode):
        look.problem = look.problem or f"{seen.path} is neither file, folder nor symlink"


def _look_at_file(context: Context, look: Look, seen: Seen, *, keep_length: bool) -> None:
    if seen.status.st_mode & (stat.S_ISUID | stat.S_ISGID):
        look.problem = look.problem or f"{seen.path} is setuid or setgid"
    from opambin.relocate import analysis  # a third of all packages have no files
    from opambin.relocate.dynamic import needed_libraries

    data = Path(f"{context.prefix}/{seen.path}").read_bytes()
    seen.analysis = analysis.analyse(data, context.spelling, seen.path, keep_length=keep_length)
    look.bound += seen.analysis.bound
    look.see_other_forms(data, seen.path)
    libraries = needed_libraries(data)
    if libraries:
        look.imports |= _of_libraries(libraries, data)
    if not seen.path.endswith(BYTECODE_SUFFIXES):
        _add_symbols(context, look, seen.path, data)


def _of_libraries(libraries: Iterable[str], data: bytes) -> set[Symbol]:
    """Return what a program or library imports from shared libraries."""
    from opambin.relocate import symbolversions

    versions = symbolversions.wanted(data)
    found: set[Symbol] = set()
    for name in libraries:
        wanted = " ".join(symbolversions.highest(versions.get(name, frozenset())))
        found |= {Symbol("so", name), Symbol("lib", name, wanted)}
    return found


def _add_symbols(context: Context, look: Look, path: str, data: bytes | None = None) -> None:
    try:
        provided, imported = file_symbols(context.switch.prefix, path, data)
    except BadDataError as error:
        look.problem = look.problem or str(error)
        return
    look.provides |= provided
    look.imports |= imported


def _look_at_edit(context: Context, look: Look, path: str, before: PrefixIndex | None) -> None:
    """See which lines were added to a file of another package."""
    old = before.contents.get(path) if before is not None else None
    if old is None:
        look.problem = look.problem or f"it changed {path}, which belongs to another package"
        return
    new = Path(f"{context.prefix}/{path}").read_bytes()
    added = added_lines(old, new)
    if added is None:
        look.problem = look.problem or f"it changed {path} in another way than adding lines"
        return
    if any(True for line in added for _ in context.spelling.respelled(line)):
        look.bound.append(Bound(path, "a line that was added spells the prefix with other slashes"))
    look.see_other_forms(b"\n".join(added), path)
    lines = tuple(context.placeholder_text(line.decode("utf-8", "surrogateescape")) for line in added)
    look.edits.append((Edit(path, lines), new))


def added_lines(old: bytes, new: bytes) -> list[bytes] | None:
    """Return the lines that ``new`` has beyond ``old``; None when it also lost or reordered some."""
    rest = iter(old.splitlines())
    expected = next(rest, None)
    added = []
    for line in new.splitlines():
        if line == expected:
            expected = next(rest, None)
        else:
            added.append(line)
    return added if expected is None else None
