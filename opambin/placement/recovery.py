"""The journal of a running restore, and what becomes of its files when it was killed."""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from opambin.errors import BadDataError, UnavailableError
from opambin.placement.placing import OPAMS_OWN, STAGING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opambin.model import Manifest


class Journal:
    """What a running restore is about to put into a prefix, in case that it is killed.

    Each path is noted with inode and time of what was staged, which keeps them when it is placed: what
    somebody else puts at such a path after the kill is left alone. Edits are not undone: the lines name
    folders that are not there, and count as there when the package comes.

    Args:
        path: The file; it exists only while a restore runs, or after one was killed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, manifests: Iterable[Manifest], staging: Path) -> None:
        """Name everything that will be new.

        Raises:
            UnavailableError: It can't be written.
        """
        content = {
            str(manifest.package): [
                [entry.path, *_identity(f"{staging}/{manifest.package.name}/{entry.path}")]
                for entry in manifest.files
            ]
            for manifest in manifests
        }
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self.path.with_name(self.path.name + ".new")
            temporary.write_text(json.dumps(content), encoding="utf-8")
            temporary.replace(self.path)
        except OSError as error:
            raise UnavailableError(f"{self.path} can't be written: {error.strerror}") from error

    def clear(self) -> None:
        """Say that everything named is registered, or gone."""
        self.path.unlink(missing_ok=True)

    def recover(self, prefix: str, installed: Iterable[str], owned: Callable[[str], bool]) -> list[str]:
        """Remove what a killed restore left of packages that never got registered.

        Args:
            prefix: Of the switch, which the caller has locked.
            installed: ``NAME.VERSION`` of the packages that opam knows as installed.
            owned: Tells whether an installed package owns a path by now; such a path stays.

        Returns:
            The packages whose files were removed.

        Raises:
            BadDataError: The journal can't be read.
        """
        try:
            content = _journal_rows(json.loads(self.path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return []
        except (ValueError, TypeError, AttributeError) as error:
            raise BadDataError(self.path, f"not a journal: {error}") from error
        known = set(installed)
        left = [package for package in content if package not in known]
        for package in reversed(left):  # a later one may lie inside a folder of an earlier one
            for path, identity in sorted(content[package].items(), reverse=True):
                if not owned(path):
                    _remove_one(Path(prefix, path), identity)
        shutil.rmtree(Path(prefix, OPAMS_OWN, STAGING), ignore_errors=True)
        self.clear()
        return left


def _identity(path: str) -> tuple[int, int]:
    """Return inode and modification time in nanoseconds, 0 for folders."""
    status = os.lstat(path)
    return status.st_ino, 0 if stat.S_ISDIR(status.st_mode) else status.st_mtime_ns


def _journal_rows(content: dict[str, list[tuple[str, int, int]]]) -> dict[str, dict[str, tuple[int, int]]]:
    return {package: {path: (inode, time) for path, inode, time in rows} for package, rows in content.items()}


def _remove_one(path: Path, identity: tuple[int, int]) -> None:
    """Remove a file, a symlink or an empty folder, when it still is the one that was placed."""
    try:
        if _identity(str(path)) != identity:
            return
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()
    except OSError:
        # gone already, or a folder that others use as well
        return
