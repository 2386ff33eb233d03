"""The names of the files that a build installs, as they stand on its page."""

from __future__ import annotations

import re
import tarfile
from html import escape, unescape
from typing import TYPE_CHECKING

from opambin.model import FileType
from opambin.publish.pages.files import FOLDER
from opambin.publish.pages.wording import file_of, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from opambin.model import ConeKey, Manifest, OutputId
    from opambin.publish.catalogue import Build

    Listing = Callable[[Build], Sequence[str] | None]
    """Paths relative to the prefix of what a build installs; None when they are not known."""

MOST_FILES = 3000
"""Names on a page: more are counted only."""
_LIST = re.compile(r'<dl class="files" data-of="([0-9a-f]{64})">(.*?)</dl>', re.DOTALL)
_FOLDER = re.compile(r"<dt>([^<>]*)/</dt><dd>((?:<span>[^<>]*</span>)*)</dd>")
_FILE = re.compile(r"<span>([^<>]*)</span>")


def from_archives(root: Path) -> Listing:
    """Read the names from the archives of a repository in a folder.

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


def unknown(_: Build) -> None:
    """Know no names."""


def from_manifests(known: Mapping[tuple[ConeKey, OutputId], Manifest], otherwise: Listing) -> Listing:
    """Take the names from snapshots.

    Args:
        known: Snapshots, by key and output.
        otherwise: Asked for builds of other snapshots.
    """

    def names(build: Build) -> Sequence[str] | None:
        manifest = known.get((build.key, build.output))
        if manifest is None:
            return otherwise(build)
        return [entry.path for entry in manifest.files if entry.type is not FileType.DIRECTORY]

    return names


def from_pages(read: Callable[[str], bytes | None], otherwise: Listing) -> Listing:
    """Take the names from the pages that are there, where they are of the same archive.

    Args:
        read: Returns the page of a path, or None.
        otherwise: Asked for builds whose page is not there, is of another archive or names only some files.
    """

    def names(build: Build) -> Sequence[str] | None:
        name = file_of(build.name)
        for path in (f"{FOLDER}/p/{name}.html", f"{FOLDER}/p/{name}/{file_of(build.published)}.html"):
            found = _LIST.search((read(path) or b"").decode("utf-8", "replace"))
            if found and build.archive is not None and found[1] == build.archive.sha256:
                listed = [
                    f"{unescape(folder)}/{unescape(last)}".removeprefix("/")
                    for folder, inside in _FOLDER.findall(found[2])
                    for last in _FILE.findall(inside)
                ]
                return listed if len(listed) < MOST_FILES else otherwise(build)
        return otherwise(build)

    return names


def drawn(names: Iterable[str]) -> tuple[str, int]:
    """Write names as the inside of an HTML list by folder.

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
