"""Small ELF files and archives out of literal bytes, and real ones from the compilers of the machine."""

from __future__ import annotations

import shutil
import struct
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

ALLOC, PROGBITS, SYMTAB, STRTAB = 2, 1, 2, 3
requires_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
requires_ocamlopt = pytest.mark.skipif(shutil.which("ocamlopt") is None, reason="ocamlopt is not installed")


@dataclass(frozen=True)
class Sec:
    name: str
    content: bytes
    flags: int = ALLOC
    type: int = PROGBITS
    link: int = 0
    info: int = 0


def elf_file(*sections: Sec, symbols: tuple[tuple[int, int], ...] = (), kind: int = 1) -> bytes:
    """Return an ELF file; symbols are pairs of section number (from 1) and value, all global."""
    names = b"\0"
    table = [(0, 0, 0, b"", 0, 0)]
    extra = []
    if symbols:
        entries = b"\0" * 24 + b"".join(
            struct.pack("<IBBHQQ", 1, 0x10, 0, section, value, 0) for section, value in symbols
        )
        extra = [
            Sec(".symtab", entries, 0, SYMTAB, link=len(sections) + 2, info=1),
            Sec(".strtab", b"\0sym\0", 0, STRTAB),
        ]
    for section in (*sections, *extra):
        table.append((len(names), section.type, section.flags, section.content, section.link, section.info))
        names += section.name.encode() + b"\0"
    table.append((len(names), STRTAB, 0, names + b".shstrtab\0", 0, 0))
    body = b""
    headers = b""
    for name, type_, flags, content, link, info in table:
        body += b"\0" * (-len(body) % 16)
        headers += struct.pack(
            "<IIQQQQIIQQ", name, type_, flags, 0, 64 + len(body), len(content), link, info, 8, 0
        )
        body += content
    body += b"\0" * (-len(body) % 8)
    head = b"\x7fELF\x02\x01\x01" + b"\0" * 9
    head += struct.pack(
        "<HHIQQQIHHHHHH", kind, 62, 1, 0, 0, 64 + len(body), 0, 64, 0, 0, 64, len(table), len(table) - 1
    )
    return head + body + headers


def archive(**members: bytes) -> bytes:
    parts = [b"!<arch>\n"]
    for name, content in members.items():
        header = b"%-16s%-12d%-6d%-6d%-8s%-10d`\n" % (name.encode() + b"/", 0, 0, 0, b"100644", len(content))
        parts += [header, content, b"\n" * (len(content) % 2)]
    return b"".join(parts)


def string_block(value: bytes) -> bytes:
    words = len(value) // 8 + 1
    unused = words * 8 - 1 - len(value)
    return struct.pack("<Q", words << 10 | 0x3FC) + value + b"\0" * unused + bytes([unused])


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(list(map(str, command)), cwd=cwd, check=True, capture_output=True, text=True)
    return done.stdout
