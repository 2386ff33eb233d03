"""What several commands print alike: tables, JSON, times, and text that is safe on a terminal.

Tables go through rich on a terminal only; piped they are aligned text, and rich is never loaded.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Literal

from opambin.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

GAP = "  "


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        title: Its heading.
        right: Whether it holds numbers, which stand at the right.
    """

    title: str
    right: bool = False


def printable(text: str) -> str:
    """Return a text without control characters and undecodable bytes, so that no terminal obeys it."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """Print a table."""
    cells = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _rich_table(columns, cells)
    else:
        for line in plain_lines(columns, cells):
            print(line)


def plain_lines(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay a table out as text."""
    titles = [column.title for column in columns]
    widths = [max(len(row[at]) for row in (titles, *rows)) for at in range(len(columns))]
    return [
        GAP.join(
            cell.rjust(width) if column.right else cell.ljust(width)
            for cell, width, column in zip(row, widths, columns, strict=True)
        ).rstrip()
        for row in (titles, *rows)
    ]


def _rich_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, len(GAP), 0, 0))
    for at, column in enumerate(columns):
        side: Literal["left", "right"] = "right" if column.right else "left"
        table.add_column(column.title, justify=side, no_wrap=at > 0, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # Text: no markup is read in what others wrote
    Console().print(table)


def print_json(content: object) -> None:
    """Print a value as JSON, in ASCII."""
    print(json.dumps(content, indent=2))


def print_problems(problems: Iterable[str]) -> None:
    """Tell on standard error what was wrong with the data."""
    for problem in problems:
        print(f"opam-bin: {printable(problem)}", file=sys.stderr)


def date(seconds: int, form: str = "%Y-%m-%d") -> str:
    """Write a day in the local zone; seconds since 1970, 0 for never."""
    return time.strftime(form, time.localtime(seconds)) if seconds else "-"


def moment(seconds: int) -> str:
    """Write a time in the local zone, to the minute; seconds since 1970, 0 for never."""
    return date(seconds, "%Y-%m-%d %H:%M")


def counted(number: int, noun: str, plural: str = "") -> str:
    """Write a number with its noun: ``1 file``, ``2 files``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
