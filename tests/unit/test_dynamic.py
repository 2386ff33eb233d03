from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from opambin.errors import BadDataError
from opambin.relocate.dynamic import DT_NEEDED, DT_NULL, SHT_DYNAMIC, needed_libraries


def library(
    entries: list[tuple[int, int]], strings: bytes = b"\0liba.so.1\0libb.so\0", link: int = 2
) -> bytes:
    """A shared library of a dynamic section and its strings."""
    names = b"\0.dynamic\0.dynstr\0.shstrtab\0"
    dynamic = b"".join(struct.pack("<QQ", *entry) for entry in entries)
    parts = [dynamic, strings, names]
    offsets = [64, 64 + len(dynamic), 64 + len(dynamic) + len(strings)]
    table = offsets[2] + len(names)
    head = b"\x7fELF\2\1\1" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 0, table, 0, 64, 0, 0, 64, 4, 3)
    rows = [bytes(64)]
    for number, (name, kind, target) in enumerate(((1, SHT_DYNAMIC, link), (10, 3, 0), (18, 3, 0))):
        size = len(parts[number])
        rows.append(struct.pack("<IIQQQQIIQQ", name, kind, 0, 0, offsets[number], size, target, 0, 1, 0))
    return head + b"".join(parts) + b"".join(rows)


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        pytest.param([(DT_NULL, 0)], (), id="none"),
        pytest.param([(DT_NEEDED, 1), (DT_NULL, 0)], ("liba.so.1",), id="one"),
        pytest.param(
            [(DT_NEEDED, 11), (14, 1), (DT_NEEDED, 1), (DT_NULL, 0)], ("libb.so", "liba.so.1"), id="order"
        ),
        pytest.param(
            [(DT_NEEDED, 1), (DT_NULL, 0), (DT_NEEDED, 11)], ("liba.so.1",), id="nothing behind the end"
        ),
        pytest.param([(DT_NEEDED, 4)], ("a.so.1",), id="tail of another string"),
    ],
)
def test_needed_libraries(entries: list[tuple[int, int]], expected: tuple[str, ...]) -> None:
    assert needed_libraries(library(entries)) == expected


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"#!/bin/sh\n", id="script"),
        pytest.param(b"\x7fELF", id="cut off"),
        pytest.param(b"\x7fELF\1\1\1" + bytes(57), id="32 bits"),
        pytest.param(library([(DT_NEEDED, 1)], link=9), id="no such table of strings"),
    ],
)
def test_nothing_is_asked_for(data: bytes) -> None:
    assert needed_libraries(data) == ()


@pytest.mark.parametrize(
    ("offset", "strings"),
    [
        pytest.param(99, b"\0a\0", id="outside"),
        pytest.param(1, b"\0abc", id="without end"),
    ],
)
def test_names_outside_of_their_table(offset: int, strings: bytes) -> None:
    with pytest.raises(BadDataError, match="outside its table"):
        needed_libraries(library([(DT_NEEDED, offset)], strings))


@pytest.mark.skipif(shutil.which("readelf") is None or sys.platform != "linux", reason="needs readelf")
def test_the_same_as_readelf() -> None:
    program = Path("/bin/sh").resolve()
    shown = subprocess.run(["readelf", "-d", program], check=True, capture_output=True, text=True).stdout
    expected = [line.partition("[")[2].rstrip("]") for line in shown.splitlines() if "(NEEDED)" in line]
    assert list(needed_libraries(program.read_bytes())) == expected
