"""The question before more is done than was named, as the opam at hand asks it.

opam 2.1 and 2.5 take one key, others a line; 2.2 to 2.4 show the answer that Enter would give. Where standard
input is no terminal, opam answers for the user: no.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

    from opambin.cli.console import Console

DECLINED = 10
"""opam's exit code when a question is answered with no."""
_SECTION = re.compile(r"^=== (remove|downgrade|recompile|upgrade|install) (\d+) package", re.MULTILINE)
_NOUNS = {
    "remove": "removal",
    "downgrade": "downgrade",
    "recompile": "recompilation",
    "upgrade": "upgrade",
    "install": "installation",
}
_COLORS = re.compile("\x1b\\[[0-9;]*m")
_MENU = ((2, 2), (2, 5))
_ONE_KEY = ((2, 0), (2, 2), (2, 5), (2, 6))


def question(plan: str, version: tuple[int, ...], console: Console) -> str:
    """Word the question about a plan, up to where the answer is typed.

    Args:
        plan: opam's words for it.
        version: Of opam.
        console: How it writes.
    """
    if version < _MENU[0]:
        return "Do you want to continue? [Y/n] "
    numbers = dict(_SECTION.findall(_COLORS.sub("", plan)))
    parts = []
    for action, noun in _NOUNS.items():
        number = numbers.get(action)
        if number is not None:
            symbol = console.symbol(action)
            plural = "" if number == "1" else "s"
            parts.append(f"{symbol + ' ' if symbol else ''}{console.styled('bold', number)} {noun}{plural}")
    *first, last = parts or ["this"]
    listed = f"{', '.join(first)} and {last}" if first else last
    yes = "y" if version < _MENU[1] else "Y"
    return f"\nProceed with {listed}? [{_key(console, yes, version)}/{console.styled('blue', 'n')}] "


def _key(console: Console, key: str, version: tuple[int, ...]) -> str:
    if console.color and version < _MENU[1]:
        return f"\x1b[1;34;04m{key}\x1b[0m"  # underlined: what Enter means
    return console.styled("blue", key)


def agreed(plan: str, version: tuple[int, ...], console: Console, stream: TextIO) -> bool:
    """Ask, and return whether the answer is yes.

    Raises:
        KeyboardInterrupt: The user pressed Ctrl-C.
    """
    print(question(plan, version, console), end="", file=stream, flush=True)
    if not sys.stdin.isatty():
        print("n", file=stream, flush=True)
        return False
    one_key = _ONE_KEY[0] <= version < _ONE_KEY[1] or _ONE_KEY[2] <= version < _ONE_KEY[3]
    if one_key and stream.isatty():
        return _one_key(stream)
    if _MENU[0] <= version < _MENU[1]:
        print("y\x1b[D", end="", file=stream, flush=True)
    while True:
        line = sys.stdin.readline()
        answer = line.strip().lower()
        if not line or answer in ("n", "no"):
            return False
        if answer in ("", "y", "yes"):
            return True
        print(question(plan, version, console).lstrip("\n"), end="", file=stream, flush=True)


def _one_key(stream: TextIO) -> bool:
    """Read one key of a terminal; what was typed before the question is forgotten, as opam does it."""
    import os
    import termios

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    raw = termios.tcgetattr(terminal)
    raw[3] &= ~(termios.ICANON | termios.ECHO)
    termios.tcsetattr(terminal, termios.TCSAFLUSH, raw)
    try:
        while True:
            key = os.read(terminal, 1).lower()
            if key in (b"y", b"\n", b"n", b""):
                print("n" if key == b"n" else "y", file=stream, flush=True)
                return key != b"n"
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
