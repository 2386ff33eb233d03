"""The names of the files that a build installs, as they stand on its page."""

from __future__ import annotations

import tarfile
from html import escape
from typing import TYPE_CHECKING

from opambin.publish.pages.wording import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from opambin.publish.catalogue import Build

    Listing = Callable[[Build], Sequence[str] | None]
    """Paths relative to the prefix of what a build installs; None when it is not known."""

MOST_FILES = 3000
"""Names on a page: more are counted only."""


def from_archives(root: Path) -> Listing:
    """Read the names from the archives of a repository; an archive that can't be read has none.

    Args:
        root: Of the repository.
    """

    def names(build: Build) -> Sequence[str] | None:
        if build.archive is None:
            return ()
        try:
            with tarfile.open(root / build.archive.path, "r:gz") as archive:
                return sorted(member.name for member in archive if not member.isdir())
        except (OSError, tarfile.TarError, EOFError):
            return None

    return names


def drawn(names: Iterable[str]) -> tuple[str, int]:
    """Write names as an HTML list by folder.

    Returns:
        The list, and how many names were left out.
    """
    every = sorted(set(names), key=lambda name: name.split("/"))
    folders: dict[str, list[str]] = {}
    for name in every[:MOST_FILES]:
        folder, _, last = name.rpartition("/")
        folders.setdefault(folder, []).append(last)
    parts = []
    for folder, inside in folders.items():
        rows = "".join(f"<span>{escape(visible(name))}</span>" for name in inside)
        parts.append(f"<dt>{escape(visible(folder))}/</dt><dd>{rows}</dd>")
    return "".join(parts), max(0, len(every) - MOST_FILES)
