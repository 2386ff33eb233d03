from __future__ import annotations

import pytest

from opambin.relocate.codediff import CodeDifference, differences, functions

LEFT = """
x:     file format elf64-x86-64


Disassembly of section .text:

0000000000001040 <main>:
    1040:\tlea    0xfbd(%rip),%rdi        # 2004 <_IO_stdin_used+0x4>
    1047:\tcall   1030 <puts@plt>
    104c:\tmov    $0x191,%eax
    1051:\tret

0000000000001060 <other>:
    1060:\tjmp    1047 <main+0x7>
"""


def test_addresses_say_nothing() -> None:
    assert functions(LEFT) == {
        "main": ["lea (%rip),%rdi", "call <>", "mov $0x191,%eax", "ret"],
        "other": ["jmp <>"],
    }
    moved = LEFT.replace("0xfbd", "0x1f00").replace("2004 <_IO", "3f47 <_IO").replace("1030 <", "2030 <")
    assert differences(LEFT, moved) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param(
            "$0x191",
            "$0x211",
            CodeDifference("main", "mov $0x191,%eax", "mov $0x211,%eax", True),
            id="length",
        ),
        pytest.param("ret", "nop", CodeDifference("main", "ret", "nop", False), id="another instruction"),
        pytest.param("    1051:\tret\n", "", CodeDifference("main", "ret", "", False), id="one less"),
        pytest.param("<other>:", "<more>:", CodeDifference("other", "jmp <>", "", False), id="gone"),
    ],
)
def test_what_differs_is_named(old: str, new: str, expected: CodeDifference) -> None:
    assert differences(LEFT, LEFT.replace(old, new))[0] == expected
