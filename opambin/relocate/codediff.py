"""Comparing the machine code of two builds that differ in the length of a string; pure.

Where data lies changes with the length, so addresses say nothing; what is left is the sequence of
instructions with their immediate operands. A number that differs is a length that was compiled in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import zip_longest

_FUNCTION = re.compile(r"^[0-9a-f]+ <(.+)>:$")
_INSTRUCTION = re.compile(r"^\s+[0-9a-f]+:\s+(\S.*)$")
_COMMENT = re.compile(r"\s*#.*$")
_TARGET = re.compile(r"\b[0-9a-f]+ <[^>]*>")
_RELATIVE = re.compile(r"-?0x[0-9a-f]+\(%rip\)")
_NUMBER = re.compile(r"\$-?0x[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class CodeDifference:
    """A place where two programs run different instructions.

    Attributes:
        function: The symbol it is in.
        left: The instruction of the one.
        right: The instruction of the other.
        number: Whether only a number differs.
    """

    function: str
    left: str
    right: str
    number: bool


def functions(disassembly: str) -> dict[str, list[str]]:
    """Read what ``objdump -d --no-show-raw-insn`` printed: instructions by function, addresses left out.

    Local symbols of one name are joined in the order of the file.
    """
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in disassembly.splitlines():
        head = _FUNCTION.match(line)
        if head:
            current = found.setdefault(head[1], [])
            continue
        instruction = _INSTRUCTION.match(line)
        if instruction and current is not None:
            current.append(_without_addresses(instruction[1]))
    return found


def _without_addresses(instruction: str) -> str:
    text = _COMMENT.sub("", instruction)
    text = _TARGET.sub("<>", text)
    return " ".join(_RELATIVE.sub("(%rip)", text).split())


def differences(left: str, right: str) -> list[CodeDifference]:
    """Compare two disassemblies; one difference for each function that differs, in the order of the file."""
    mine, theirs = functions(left), functions(right)
    found = []
    for name in dict.fromkeys([*mine, *theirs]):
        pairs = zip_longest(mine.get(name, []), theirs.get(name, []), fillvalue="")
        different = next((pair for pair in pairs if pair[0] != pair[1]), None)
        if different is not None:
            one, other = different
            found.append(CodeDifference(name, one, other, _NUMBER.sub("$", one) == _NUMBER.sub("$", other)))
    return found
