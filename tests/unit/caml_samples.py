"""Small OCaml values and programs for the tests of the formats."""

from __future__ import annotations

import shutil
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest

from opambin.relocate.spelling import Spelling, pad

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = b"/home/me/.opam/5.1"
SPELLING = Spelling.of(PREFIX)
PADDED = SPELLING.padded
TARGETS = [b"/o", b"/home/someone/else/.opam/default", b"/" + b"deep/" * 60 + b"switch"]

needs_ocaml = pytest.mark.skipif(shutil.which("ocamlc") is None, reason="no ocamlc on this machine")

Value = int | bytes | list["Value"] | tuple["Value", ...]


def encode(value: Value) -> tuple[bytes, int, int, int]:
    """Return tokens, objects, words of a 32-bit and of a 64-bit machine; lists are OCaml lists."""
    if isinstance(value, int):
        return (bytes((0x40 | value,)) if 0 <= value < 64 else b"\x02" + struct.pack(">i", value)), 0, 0, 0
    if isinstance(value, bytes):
        return _string(value), 1, 1 + (len(value) + 4) // 4, 1 + (len(value) + 8) // 8
    if isinstance(value, list):
        return encode((value[0], value[1:])) if value else encode(0)
    parts = [encode(field) for field in value]
    head = (
        bytes((0x80 | len(value) << 4,)) if len(value) < 8 else b"\x08" + struct.pack(">I", len(value) << 10)
    )
    return (
        head + b"".join(part[0] for part in parts),
        1 + sum(part[1] for part in parts),
        1 + len(value) + sum(part[2] for part in parts),
        1 + len(value) + sum(part[3] for part in parts),
    )


def _string(text: bytes) -> bytes:
    if len(text) < 32:
        return bytes((0x20 + len(text),)) + text
    return bytes((9, len(text))) + text if len(text) < 256 else b"\x0a" + struct.pack(">I", len(text)) + text


def marshalled(value: Value) -> bytes:
    """Write a value as ``Marshal.to_string v []`` does."""
    tokens, objects, words32, words64 = encode(value)
    return b"\x84\x95\xa6\xbe" + struct.pack(">IIII", len(tokens), objects, words32, words64) + tokens


def marshalled_big(value: Value) -> bytes:
    tokens, objects, _, words64 = encode(value)
    return b"\x84\x95\xa6\xbf" + struct.pack(">IQQQ", 0, len(tokens), objects, words64) + tokens


def vlq(number: int) -> bytes:
    digits = [number & 0x7F]
    while number := number >> 7:
        digits.append(number & 0x7F | 0x80)
    return bytes(reversed(digits))


def marshalled_compressed(value: Value) -> bytes:
    """Write a value as the compilers from 5.1 on do."""
    import zstandard

    tokens, objects, words32, words64 = encode(value)
    frame = zstandard.ZstdCompressor(write_content_size=False).compress(tokens)
    numbers = b"".join(map(vlq, (len(frame), len(tokens), objects, words32, words64)))
    return b"\x84\x95\xa6\xbd" + bytes((5 + len(numbers),)) + numbers + frame


def run(command: list[str | Path], folder: Path) -> str:
    """Run a program, refuse warnings, return its standard output."""
    done = subprocess.run(
        [str(word) for word in command], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def switch_at(folder: Path, name: str = "sw") -> Spelling:
    """Make a folder that is a prefix and return its spellings."""
    prefix = folder / name
    (prefix / "lib").mkdir(parents=True)
    return Spelling(bytes(prefix), pad(bytes(prefix)))
