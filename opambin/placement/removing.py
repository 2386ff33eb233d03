"""Taking installed packages out of a switch, so that others can be restored in their place.

Rules:

* Only what opam itself would remove by its list of files, and only where each of them is as it was
  installed. Packages with commands for their removal, and switches with hooks for it, are opam's.
* Nothing is deleted before the new packages are registered: files move to a folder beside opam's records, on
  the same file system, and back when something fails.
* What a killed run has left there is put back by the next one, unless opam's records say that it had been
  registered.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from typing import TYPE_CHECKING

from opambin.errors import BadDataError, UnavailableError
from opambin.frozen import dataclass
from opambin.model import Package, PackageName
from opambin.opam import fields, hooklist
from opambin.opam.changes import QUICK, digest
from opambin.opam.parser import parse
from opambin.opam.register import removal_obstacle
from opambin.opam.switch import META

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from opambin.context import Context
    from opambin.opam.changes import Changes
    from opambin.opam.switch import Switch

FOLDER = "opam-bin.removed"
"""Below ``.opam-switch``; it lives only while a restore runs."""
_NOTES = "packages.json"
_REMOVAL_HOOKS = ("pre-remove-commands", "post-remove-commands")


def obstacles(context: Context, packages: Iterable[Package]) -> dict[PackageName, str]:
    """Say of which packages only opam can do the removal, and why.

    Raises:
        BadDataError: A record of the switch can't be read.
    """
    hooks = [
        field
        for field in _REMOVAL_HOOKS
        if any(not hooklist.is_ours(command) for command in hooklist.commands(context.root.config, field))
    ]
    found: dict[PackageName, str] = {}
    for package in packages:
        problem = f"{hooks[0]} are configured" if hooks else _obstacle(context.switch, package)
        if problem:
            found[package.name] = problem
    return found


def _obstacle(switch: Switch, package: Package) -> str:
    changes = switch.changes(package.name)
    if changes is not None and not changes.entries:
        file = parse(switch.installed_opam(package), f"{package}/opam")
        # An empty list proves nothing, except where there was nothing to install.
        virtual = file.get("build") is None or "conf" in fields.flags(file)
        if virtual and file.get("install") is None and file.get("remove") is None:
            return ""
    problem = removal_obstacle(switch, package)
    if problem or changes is None:
        return problem or f"opam has no record of what {package} installed"
    altered = _altered(switch, changes)
    return f"{altered} is not as {package} installed it" if altered else ""


def _altered(switch: Switch, changes: Changes) -> str:
    """Return the first file that is not as it is on record; empty when all are."""
    for entry in changes.entries:
        path = switch.prefix / entry.path
        if entry.path.startswith(f"{META}/"):
            continue
        try:
            same = digest(path, precise=not entry.digest.startswith(QUICK)) == entry.digest
        except OSError:
            same = False
        if not same:
            return entry.path
    return ""


@dataclass(frozen=True, slots=True)
class _Left:
    """What is noted of one package while it is out.

    Attributes:
        package: The one that was installed.
        after: The version that takes its place; empty for none.
        files: What it had installed, without folders.
        folders: Folders of its, with their permission bits.
    """

    package: Package
    after: str
    files: tuple[str, ...]
    folders: tuple[tuple[str, int], ...]


class Removal:
    """Installed packages that leave the prefix.

    Args:
        switch: Where; it must be locked.
        packages: What goes, with the version that takes its place, or nothing.

    Raises:
        UnavailableError: A file that is to go isn't there.
    """

    def __init__(self, switch: Switch, packages: Mapping[Package, str]) -> None:
        self._switch = switch
        self._folder = switch.meta / FOLDER
        self._left = tuple(_look(switch, package, after) for package, after in packages.items())

    @property
    def names(self) -> frozenset[PackageName]:
        """The packages that leave."""
        return frozenset(left.package.name for left in self._left)

    @property
    def for_good(self) -> frozenset[PackageName]:
        """Those that nothing replaces."""
        return frozenset(left.package.name for left in self._left if not left.after)

    @property
    def leaving(self) -> frozenset[str]:
        """The paths that will be free."""
        return frozenset(path for left in self._left for path in left.files)

    def carry_out(self) -> None:
        """Move the files aside, and remove folders that are left empty.

        Raises:
            UnavailableError: Something is in the way; call :meth:`undo`.
        """
        if not self._left:
            return
        try:
            shutil.rmtree(self._folder, ignore_errors=True)
            _write_notes(self._switch, self._folder, self._left)
            for left in self._left:
                for path in left.files:
                    kept = self._folder / "files" / path
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    (self._switch.prefix / path).rename(kept)
            for left in self._left:
                for path, _ in sorted(left.folders, reverse=True):
                    _remove_if_empty(self._switch.prefix / path)
        except OSError as error:
            raise UnavailableError(f"what is to be replaced can't be moved aside: {error}") from error

    def undo(self) -> None:
        """Move everything back.

        Raises:
            UnavailableError: Something can't be moved back; it stays aside, and the next run tries again.
        """
        if not self._left:
            return
        try:
            for left in self._left:
                _put_back(self._switch, self._folder, left)
        except OSError as error:
            raise UnavailableError(f"{self._folder} can't be put back: {error}") from error
        shutil.rmtree(self._folder, ignore_errors=True)

    def finish(self) -> None:
        """Forget what was moved aside: what takes its place is registered."""
        shutil.rmtree(self._folder, ignore_errors=True)


def interrupted(switch: Switch) -> frozenset[PackageName]:
    """Return the packages that a killed run had taken out and not replaced.

    Raises:
        BadDataError: Its notes can't be read.
    """
    return frozenset(left.package.name for left in _pending(switch))


def put_back(switch: Switch) -> list[str]:
    """Put back what a killed run had taken out; returns the packages.

    The files of what should have taken their place must be gone already.

    Raises:
        BadDataError: Its notes can't be read.
        UnavailableError: Something can't be put back.
    """
    folder = switch.meta / FOLDER
    pending = _pending(switch)
    try:
        for left in pending:
            _put_back(switch, folder, left)
            _put_back_records(switch, folder, left.package)
    except OSError as error:
        raise UnavailableError(f"{folder} can't be put back: {error}") from error
    shutil.rmtree(folder, ignore_errors=True)
    return [str(left.package) for left in pending]


def _look(switch: Switch, package: Package, after: str) -> _Left:
    changes = switch.changes(package.name)
    files: list[str] = []
    folders: list[tuple[str, int]] = []
    for entry in changes.entries if changes is not None else ():
        if entry.path.startswith(f"{META}/"):
            continue
        try:
            status = os.lstat(switch.prefix / entry.path)
        except OSError as error:
            raise UnavailableError(f"{entry.path} of {package} can't be read: {error.strerror}") from error
        if stat.S_ISDIR(status.st_mode):
            folders.append((entry.path, stat.S_IMODE(status.st_mode)))
        else:
            files.append(entry.path)
    return _Left(package, after, tuple(files), tuple(sorted(folders)))


def _records(switch: Switch, package: Package) -> list[Path]:
    return [
        switch.config_file(package.name),
        switch.install_file(package.name),
        switch.changes_file(package.name),
        switch.package_dir(package),
    ]


def _write_notes(switch: Switch, folder: Path, packages: Sequence[_Left]) -> None:
    """Write down what is where, before anything moves; opam's records are copied."""
    rows = [
        [left.package.name, left.package.version, left.after, left.files, left.folders] for left in packages
    ]
    for left in packages:
        for path in _records(switch, left.package):
            copy = folder / "records" / path.relative_to(switch.meta)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                shutil.copytree(path, copy)
            elif path.exists():
                shutil.copy2(path, copy)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{_NOTES}.new"
    temporary.write_text(json.dumps(rows), encoding="utf-8")
    temporary.replace(folder / _NOTES)


def _pending(switch: Switch) -> list[_Left]:
    """Return what a killed run had taken out, without what it had replaced and registered."""
    aside = switch.meta / FOLDER
    path = aside / _NOTES
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        found = [
            _Left(Package(row[0], row[1]), row[2], tuple(row[3]), tuple(map(tuple, row[4]))) for row in rows
        ]
    except (FileNotFoundError, NotADirectoryError):
        return []  # it was killed before anything had moved
    except (ValueError, TypeError, IndexError) as error:
        raise BadDataError(path, f"not a list of packages: {error}") from error
    installed = switch.state().installed
    return [
        left
        for left in found
        if installed.get(left.package.name) == left.package.version
        and (left.after != left.package.version or _same_list(switch, aside, left.package))
    ]


def _same_list(switch: Switch, folder: Path, package: Package) -> bool:
    """Tell whether opam's list of a package's files is the one from before."""
    path = switch.changes_file(package.name)
    copy = folder / "records" / path.relative_to(switch.meta)
    return _bytes(path) == _bytes(copy)


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _put_back(switch: Switch, folder: Path, left: _Left) -> None:
    for path, mode in left.folders:
        live = switch.prefix / path
        if not live.is_dir():
            live.mkdir(parents=True)
            live.chmod(mode)
    for path in left.files:
        kept, live = folder / "files" / path, switch.prefix / path
        if os.path.lexists(kept) and not os.path.lexists(live):
            live.parent.mkdir(parents=True, exist_ok=True)
            kept.rename(live)


def _put_back_records(switch: Switch, folder: Path, package: Package) -> None:
    for path in _records(switch, package):
        copy = folder / "records" / path.relative_to(switch.meta)
        if copy.is_dir():
            if not path.is_dir():
                shutil.copytree(copy, path)
        elif copy.exists():
            shutil.copy2(copy, path)
        else:
            path.unlink(missing_ok=True)


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return  # others use it as well
