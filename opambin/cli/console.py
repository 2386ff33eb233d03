"""Words in opam's own dress: its headings, colours, symbols and questions."""

from __future__ import annotations

import os
import sys
import textwrap
from typing import TYPE_CHECKING

from opambin.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

WIDTH = 80  # columns of a heading, and of what is no terminal
_PADDING = "<>" * (WIDTH // 2)
_CODES = {"bold": "01", "red": "31", "green": "32", "yellow": "33", "blue": "1;34", "cyan": "36"}
_SYMBOLS = {"remove": "⊘", "downgrade": "↘", "recompile": "↻", "upgrade": "↗", "install": "\u2217"}
_ACTION_COLORS = {"remove": "red", "downgrade": "red", "recompile": "yellow"}


@dataclass(frozen=True, slots=True)
class Console:
    """How opam would write here.

    Attributes:
        color: With colours.
        utf8: With symbols that are not ASCII.
        columns: Of the terminal; None where there is none.
    """

    color: bool = False
    utf8: bool = True
    columns: int | None = None

    @classmethod
    def of(cls, option: str, environ: Mapping[str, str], plan: str = "") -> Console:
        """Find out how opam would write to standard output.

        Args:
            option: The value of ``--color``, or empty.
            environ: The environment.
            plan: What opam has written before: it shows whether it uses symbols.
        """
        columns = None
        if sys.stdout.isatty():
            try:
                columns = int(environ.get("COLUMNS", "")) or None
            except ValueError:
                columns = os.get_terminal_size(sys.stdout.fileno()).columns or None
        wanted = option or environ.get("OPAMCOLOR", "")
        color = columns is not None and environ.get("TERM", "dumb") != "dumb"
        if wanted in ("always", "never"):
            color = wanted == "always"
        return cls(color, any(symbol in plan for symbol in _SYMBOLS.values()), columns)

    def styled(self, style: str, text: str) -> str:
        """Colour a text."""
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if self.color else text

    def heading(self, text: str) -> str:
        """Write a heading."""
        width = min(WIDTH, self.columns or WIDTH)
        rest = width - len(text) - 2 - 4
        tail = f" {self.styled('cyan', _PADDING[-rest:])}" if rest > 0 else " "
        return f"{self.styled('cyan', '<><>')} {self.styled('bold', text)}{tail}"

    def symbol(self, action: str) -> str:
        """Return the mark of an action, coloured; empty where opam would write no symbol."""
        return self.styled(_ACTION_COLORS.get(action, "green"), _SYMBOLS[action]) if self.utf8 else ""

    def step(self, action: str, name: str, version: str) -> str:
        """Write what opam says when a package was installed or removed."""
        words = {"install": "installed", "remove": "removed  "}
        return f"{self.symbol(action) or '->'} {words[action]} {self.styled('bold', name)}.{version}"

    def wrapped(self, text: str) -> str:
        """Break a line where opam would: only for a terminal."""
        if self.columns is None or len(text) <= self.columns:
            return text
        return textwrap.fill(text, self.columns, break_long_words=False, break_on_hyphens=False)
