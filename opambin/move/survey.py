"""Looking at every file of a switch before anything is written: what changes, and what can't be moved."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from opambin import recipes
from opambin.errors import CannotRelocateError, UnavailableError
from opambin.move.content import Rewriting, Rewritten
from opambin.move.tree import Found, Kind, moved_link, walk
from opambin.relocate.spelling import Spelling

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opambin.context import Context
    from opambin.opam.changes import Changes

    Progress = Callable[[str, int, int], None]
    """Told what is done, how many bytes of it, and of how many."""

_REPORT_EVERY = 4 << 20  # bytes
_SHOWN = 20  # refusals in the message of an error


@dataclass(frozen=True, slots=True)
class Refusal:
    """A file that can't be moved.

    Attributes:
        path: Relative to the prefix.
        reason: Why, in words.
        package: Who installed it; empty when opam does not know the file.
    """

    path: str
    reason: str
    package: str = ""

    def __str__(self) -> str:
        """Say it in one line."""
        owner = f" ({self.package})" if self.package else ""
        return f"{self.path}{owner}: {self.reason}"


class CannotMoveError(CannotRelocateError):
    """A switch holds files that can't be moved to the wanted prefix.

    Args:
        refusals: All of them, at least one.
    """

    def __init__(self, refusals: tuple[Refusal, ...]) -> None:
        super().__init__(refusals[0].path, refusals[0].reason)
        self.refusals = refusals
        lines = [f"  {refusal}" for refusal in refusals[:_SHOWN]]
        if len(refusals) > _SHOWN:
            lines.append(f"  and {len(refusals) - _SHOWN} more; --json has them all")
        number = "1 file" if len(refusals) == 1 else f"{len(refusals)} files"
        self.args = ("\n".join([f"{number} can't be moved, so nothing was changed:", *lines]),)


@dataclass(frozen=True, slots=True)
class Route:
    """From where to where.

    Attributes:
        old: The prefix that is left, without trailing slash.
        new: The prefix that is gone to.
        leave: Globs of files that go on to name the old prefix.
    """

    old: str
    new: str
    leave: tuple[str, ...] = ()

    @property
    def rewriting(self) -> Rewriting:
        """What is done to files."""
        return Rewriting(Spelling.of(os.fsencode(self.old)), os.fsencode(self.new))

    def leaves(self, path: str) -> bool:
        """Tell whether a file is copied as it is."""
        return any(fnmatchcase(path, glob) for glob in self.leave)


@dataclass(frozen=True, slots=True)
class Owners:
    """Which package brought which file, as opam has it.

    Attributes:
        changes: Package name to opam's record.
        packages: Path to ``NAME.VERSION``.
        keep_length: Packages whose recipe wants lengths kept.
    """

    changes: Mapping[str, Changes]
    packages: Mapping[str, str]
    keep_length: frozenset[str]

    @classmethod
    def of(cls, context: Context) -> Owners:
        """Read opam's records of a switch.

        Raises:
            BadDataError: One of them is broken.
        """
        records, packages, kept = {}, {}, set()
        for name, version in context.switch.state().installed.items():
            package = f"{name}.{version}"
            recipe = recipes.load(str(name), str(version))
            if recipe is not None and recipe.keep_length:
                kept.add(package)
            found = context.switch.changes(name)
            if found is not None:
                records[str(name)] = found
                packages.update(dict.fromkeys(found.added(), package))
        return cls(records, packages, frozenset(kept))

    def keeps_length(self, path: str) -> bool:
        """Tell whether native strings of a file must keep their length."""
        return self.packages.get(path, "") in self.keep_length


@dataclass(slots=True)
class Survey:
    """What was found out.

    Attributes:
        route: From where to where.
        owners: Whose the files are.
        found: Everything that a copy has, folders before what is in them.
        changed: Files whose bytes change, with the size that they get.
        links: Symlinks that change, with their new targets.
        hardlinks: Path to the first path that is the same file.
        refusals: What can't be moved.
        stale: How many places go on to name the old prefix that nothing reads.
    """

    route: Route
    owners: Owners
    found: list[Found] = field(default_factory=list)
    changed: dict[str, int] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    hardlinks: dict[str, str] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    stale: int = 0

    @property
    def files(self) -> int:
        """How many files and symlinks there are."""
        return sum(found.kind is not Kind.FOLDER for found in self.found)

    @property
    def size(self) -> int:
        """Bytes of all files, hard links counted once."""
        return sum(found.status.st_size for found in self.content())

    def content(self) -> list[Found]:
        """Return the files that have bytes of their own."""
        return [found for found in self.found if found.kind is Kind.FILE and found.path not in self.hardlinks]

    def check(self) -> None:
        """Refuse when something can't be moved.

        Raises:
            CannotMoveError: It can't.
        """
        if self.refusals:
            raise CannotMoveError(tuple(self.refusals))

    def rewritten(self, found: Found, data: bytes) -> Rewritten:
        """Return what a file becomes."""
        rewriting = self.route.rewriting
        if found.is_verbatim or self.route.leaves(found.path):
            return Rewritten()
        if found.is_record:
            return rewriting.record(data, found.path)
        return rewriting.file(data, found.path, keep_length=self.owners.keeps_length(found.path))


def survey(context: Context, route: Route, progress: Progress) -> Survey:
    """Look at everything in a switch; nothing is written.

    Args:
        context: The switch, which the caller has locked.
        route: Where it shall go.
        progress: Told from time to time.

    Raises:
        UnavailableError: Something can't be read.
        BadDataError: One of opam's records is broken.
    """
    result = Survey(route, Owners.of(context))
    first: dict[tuple[int, int], str] = {}
    for found in walk(route.old):
        result.found.append(found)
        if found.kind is Kind.OTHER:
            result.refusals.append(Refusal(found.path, "it is neither file, folder nor symlink"))
        elif found.kind is Kind.LINK:
            _look_at_link(result, found)
        elif found.kind is Kind.FILE and found.status.st_nlink > 1:
            before = first.setdefault(found.inode, found.path)
            if before != found.path:
                result.hardlinks[found.path] = before
    _look_at_files(result, progress)
    return result


def _look_at_link(result: Survey, found: Found) -> None:
    route = result.route
    target = os.readlink(f"{route.old}/{found.path}")  # noqa: PTH115 - the exact text
    moved = moved_link(target, found.path, route.old, route.new)
    if moved != target and not found.is_verbatim:
        result.links[found.path] = moved


def _look_at_files(result: Survey, progress: Progress) -> None:
    content = result.content()
    total = sum(found.status.st_size for found in content)
    done = told = 0
    for found in content:
        _look_at_file(result, found)
        done += found.status.st_size
        if done - told >= _REPORT_EVERY:
            progress("analysing", done, total)
            told = done
    progress("analysing", total, total)


def _look_at_file(result: Survey, found: Found) -> None:
    if found.is_verbatim or not found.status.st_size:
        return
    full = f"{result.route.old}/{found.path}"
    try:
        with open(full, "rb") as stream:  # noqa: PTH123 - thousands of them
            data = stream.read()
    except OSError as error:
        raise UnavailableError(f"{full} can't be read: {error.strerror}") from error
    rewritten = result.rewritten(found, data)
    package = result.owners.packages.get(found.path, "")
    result.refusals += (Refusal(found.path, reason, package) for reason in rewritten.reasons)
    result.stale += rewritten.stale
    if rewritten.content is not None:
        result.changed[found.path] = len(rewritten.content)
