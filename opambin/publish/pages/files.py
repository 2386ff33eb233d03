"""The files of the pages on disk: what is there, and one way to write and to remove."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

FRONT = "index.html"
FOLDER = "pages"
STATE = f"{FOLDER}/pages.json"
_FORMAT = "opam-bin-pages"
_VERSION = 1
_TEMPORARY = ".new"  # ends the name of a file that is being written


def present(root: Path) -> set[str]:
    """Return the paths, relative to ``root``, of all files that belong to the pages."""
    found = {FRONT} if (root / FRONT).is_file() else set()
    folders = [FOLDER]
    for folder in folders:
        try:
            entries = list(os.scandir(root / folder))
        except (FileNotFoundError, NotADirectoryError):
            continue
        for entry in entries:
            path = f"{folder}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                folders.append(path)
            else:
                found.add(path)
    return found


def put(root: Path, path: str, data: bytes) -> bool:
    """Write a file, so that a reader sees the old or the new one; tell whether it was another before.

    Raises:
        OSError: It can't be written.
    """
    target = root / path
    try:
        if target.stat().st_size == len(data) and target.read_bytes() == data:
            return False
    except FileNotFoundError:
        pass
    beside = target.with_name(f".{os.getpid()}{_TEMPORARY}")
    try:
        try:
            beside.write_bytes(data)
        except FileNotFoundError:
            target.parent.mkdir(parents=True, exist_ok=True)
            beside.write_bytes(data)
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    return True


def remove(root: Path, paths: Iterable[str]) -> None:
    """Remove files, and the folders of the pages that are empty then."""
    folders = set()
    for path in paths:
        (root / path).unlink(missing_ok=True)
        folders.add((root / path).parent)
    for folder in sorted(folders, key=lambda it: len(it.parts), reverse=True):
        if folder != root and not any(folder.iterdir()):
            folder.rmdir()


def read(root: Path, path: str) -> bytes | None:
    """Return what a file holds; None when it can't be read."""
    try:
        return (root / path).read_bytes()
    except OSError:
        return None


def parse_state(data: bytes | None) -> Mapping[str, str]:
    """Return what each page was made of; empty when that is not known."""
    try:
        found = json.loads(data or b"")
        if found[_FORMAT] == _VERSION:
            return {str(path): str(digest) for path, digest in found["pages"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass  # then every page is made again
    return {}


def render_state(digests: Mapping[str, str]) -> bytes:
    """Note what each page was made of."""
    text = json.dumps({_FORMAT: _VERSION, "pages": digests}, indent=0, sort_keys=True, ensure_ascii=True)
    return text.encode("ascii") + b"\n"


def is_page(path: str) -> bool:
    """Tell whether a path is one that belongs to the pages, whoever names it."""
    inside = path.startswith(f"{FOLDER}/") and not any(part in ("", ".", "..") for part in path.split("/"))
    return path == FRONT or (inside and path != STATE)
