"""Small plots as SVG for pages without scripts: columns over days, and bars.

Colours and fonts are the page's: shapes carry the classes ``a``, ``b``, ``grid`` and ``faint``. Numbers are
also in a table beside each plot, so a plot needs no labels on every shape; each has a tooltip.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WIDTH, HEIGHT = 640, 240
LEFT, RIGHT, TOP, BOTTOM = 56, 8, 10, 26
MOST_LABELS = 7  # below the columns
MOST_LETTERS = 78  # of the label of a bar
BAR_ROW = 40
WIDEST_COLUMN = 48


@dataclass(frozen=True, slots=True)
class Series:
    """Values of one kind.

    Attributes:
        name: For people.
        style: ``a`` or ``b``.
        values: One for each column or bar.
    """

    name: str
    style: str
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class Picture:
    """What a plot shows, for those who don't see it.

    Attributes:
        name: Unique on its page; a word.
        title: What it shows.
        shown: Writes a value for people.
    """

    name: str
    title: str
    shown: Callable[[float], str]


def ticks(highest: float, most: int = 4) -> list[float]:
    """Return round values from 0 to at least ``highest``, in even steps of 1, 2 or 5 times a power of ten."""
    if highest <= 0:
        return [0, 1]
    step = 1.0
    while step * most < highest:
        step *= 10
    while step * most >= highest * 10:
        step /= 10
    step = next(step * part for part in (0.1, 0.2, 0.5, 1) if step * part * most >= highest)
    found = [0.0]
    while found[-1] < highest - step * 1e-9:
        found.append(round(step * len(found), 9))
    return found


def columns(picture: Picture, labels: Sequence[str], series: Sequence[Series]) -> str:
    """Draw columns in which the series stand on each other."""
    sums = [sum(values) for values in zip(*(it.values for it in series), strict=True)]
    marks = ticks(max(sums, default=0))
    high, wide = HEIGHT - TOP - BOTTOM, WIDTH - LEFT - RIGHT
    slot = wide / max(len(labels), 1)
    width = min(slot * 0.8, WIDEST_COLUMN)
    parts = []
    for mark in marks:
        y = TOP + high - high * mark / marks[-1]
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(LEFT - 6, y + 4, picture.shown(mark), "end"))
    every = -(-len(labels) // MOST_LABELS) or 1
    for at, label in enumerate(labels):
        middle, y = LEFT + slot * (at + 0.5), float(TOP + high)
        for it in series:
            size = high * it.values[at] / marks[-1]
            y -= size
            if size > 0:
                tip = f"{label}: {picture.shown(it.values[at])} {it.name}"
                parts.append(_shape(it.style, (middle - width / 2, y, width, size), tip))
        if at % every == 0:
            parts.append(_text(middle, HEIGHT - 8, label, "middle"))
    return _svg(picture, HEIGHT, parts)


def bars(picture: Picture, labels: Sequence[str], series: Series) -> str:
    """Draw one bar below each label."""
    highest = max(series.values, default=0) or 1
    room = WIDTH - RIGHT - 90  # the value stands behind the bar
    parts = []
    for at, (label, value) in enumerate(zip(labels, series.values, strict=True)):
        y = at * BAR_ROW
        parts.append(_text(0, y + 14, shortened(label), "start", "label"))
        width = max(room * value / highest, 2)
        parts.append(_shape(series.style, (0, y + 20, width, 12), f"{label}: {picture.shown(value)}"))
        parts.append(_text(width + 6, y + 30, picture.shown(value), "start"))
    return _svg(picture, max(len(labels), 1) * BAR_ROW, parts)


def shortened(text: str, most: int = MOST_LETTERS) -> str:
    """Cut a text that is too long for a plot."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _shape(style: str, box: tuple[float, float, float, float], tip: str) -> str:
    x, y, width, height = (f"{value:.1f}" for value in box)
    return (
        f'<rect class="{style}" x="{x}" y="{y}" width="{width}" height="{height}">'
        f"<title>{escape(tip)}</title></rect>"
    )


def _text(x: float, y: float, text: str, anchor: str, style: str = "faint") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(picture: Picture, height: int, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="{picture.name}-title">'
        f'<title id="{picture.name}-title">{escape(picture.title)}</title>{"".join(parts)}</svg>'
    )
