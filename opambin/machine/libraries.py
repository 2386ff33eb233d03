"""Shared libraries of this machine: where the loader finds them, which versions of symbols they have."""

from __future__ import annotations

import os
import struct
import sys
from functools import cache
from pathlib import Path

from opambin.errors import BadDataError
from opambin.relocate import symbolversions

CACHE = "/etc/ld.so.cache"
CACHE_MAGIC = b"glibc-ld.so.cache1.1"
_HEADER = 48  # bytes: magic, number of entries, size of the strings, and reserved
_ENTRY = struct.Struct("<iIIIQ")  # flags, name, path, version of the system, capabilities
FOLDERS = ("/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib")
"""Where loaders look in the end; there is no cache on musl."""


def has(name: str, versions: str) -> bool:
    """Tell whether the loader finds a library here that has some versions of symbols.

    Args:
        name: As ``DT_NEEDED`` states it.
        versions: With blanks between.
    """
    path = find(name, os.environ.get("LD_LIBRARY_PATH", ""))
    return path is not None and (not versions or frozenset(versions.split()) <= _offered(path))


@cache
def find(name: str, search: str = "") -> str | None:
    """Return the path of a library that programs of this machine can load; None when there is none.

    Args:
        name: As ``DT_NEEDED`` states it.
        search: Folders that come first, joined by ``:``.
    """
    folders = [folder for folder in search.split(os.pathsep) if folder]
    candidates = [f"{folder}/{name}" for folder in folders]
    candidates += cached().get(name, ())
    candidates += [f"{folder}/{name}" for folder in FOLDERS]
    return next((path for path in candidates if _fits(path)), None)


@cache
def cached(path: str = CACHE) -> dict[str, tuple[str, ...]]:
    """Read the loader's cache: name to paths; empty where there is none or it is of another form."""
    try:
        data = Path(path).read_bytes()
    except OSError:
        return {}
    start = data.find(CACHE_MAGIC)
    if start < 0 or len(data) < start + _HEADER:
        return {}
    data = data[start:]
    (count,) = struct.unpack_from("<I", data, len(CACHE_MAGIC))
    found: dict[str, tuple[str, ...]] = {}
    for at in range(_HEADER, min(_HEADER + count * _ENTRY.size, len(data) - _ENTRY.size + 1), _ENTRY.size):
        _, name, target, _, _ = _ENTRY.unpack_from(data, at)
        text = _string(data, name)
        found[text] = (*found.get(text, ()), _string(data, target))
    return found


def _string(data: bytes, at: int) -> str:
    return os.fsdecode(data[at : data.find(b"\0", at)])


@cache
def _head() -> bytes:
    """Return what the head of every program of this machine's own kind has: class, byte order, machine."""
    try:
        with Path(sys.executable).open("rb") as file:
            start = file.read(20)
    except OSError:
        return b""
    return start[4:6] + start[18:20]


def _fits(path: str) -> bool:
    try:
        with Path(path).open("rb") as file:
            start = file.read(20)
    except OSError:
        return False
    return start[:4] == b"\x7fELF" and start[4:6] + start[18:20] == _head()


@cache
def _offered(path: str) -> frozenset[str]:
    try:
        return symbolversions.offered(Path(path).read_bytes())
    except (OSError, BadDataError):
        return frozenset()
