"""The dependencies of a build: who they are, and a drawing of them as inline SVG.

The drawing is for eyes; the page lists the same packages as text, so it is hidden from screen readers and
its links can't be reached by the keyboard. Colours are the style sheet's.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from opambin.publish.pages import layers
from opambin.publish.pages.wording import file_of, visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opambin.publish.catalogue import Build

MOST_NODES = 36  # more can't be read
MOST_FOLLOWED = 1000  # packages of a closure
MOST_LETTERS = 30  # of a label
LETTER = 7.6  # width in pixels, of 12.5 px monospace
ROW, GAP, BOX = 34.0, 46.0, 25.0  # pixels: between rows, between columns, height of a node
PADDING, MARGIN = 9.0, 3.0
SHRINKS = 720, 1400
"""Between these widths in pixels a drawing may shrink to its place; others keep their size, and scroll."""


@dataclass(frozen=True, slots=True)
class Closure:
    """What a build needs, all the way down.

    Attributes:
        root: Name of the package.
        edges: Sorted names of the dependencies of each package of the closure.
        builds: Of each dependency that is published, by name.
        direct: Names that the build itself depends on.
        indirect: The other names, sorted.
    """

    root: str
    edges: Mapping[str, Sequence[str]]
    builds: Mapping[str, Build]
    direct: tuple[str, ...]
    indirect: tuple[str, ...]


Published = dict[tuple[str, str], "Build"]
"""Builds by name and published version."""


def closure(build: Build, published: Published) -> Closure:
    """Follow the dependencies of a build; what is wanted only after an installation is left out."""
    edges: dict[str, Sequence[str]] = {}
    builds: dict[str, Build] = {build.name: build}
    queue: list[str] = [build.name]
    known: set[str] = {build.name}
    for name in queue:
        found = builds.get(name)
        needed = [each for each in found.dependencies if not each.post] if found else []
        edges[name] = sorted({str(each.name) for each in needed})
        for each in needed:
            target = published.get((each.name, each.published))
            if each.name not in known and len(known) < MOST_FOLLOWED:
                known.add(each.name)
                queue.append(each.name)
                if target:
                    builds[each.name] = target
    direct = tuple(name for name in edges[build.name] if name != build.name)
    rest = sorted(set(queue) - set(direct) - {build.name})
    del builds[build.name]
    return Closure(build.name, edges, builds, direct, tuple(rest))


def draw(found: Closure, up: str) -> tuple[str, int]:
    """Draw a closure.

    Args:
        found: What is drawn.
        up: From the page to the root of the site, with ``/`` at the end.

    Returns:
        SVG for a page, and how many packages were left out; no SVG when there is nothing to draw.
    """
    if not found.direct:
        return "", 0
    chosen = layers.choose(found.root, found.edges, MOST_NODES)
    label = {name: visible(name, MOST_LETTERS) for name in chosen.nodes}
    width = {name: 2 * PADDING + LETTER * len(text) for name, text in label.items()}
    place = layers.arrange(chosen, width, ROW, GAP)
    ends = [0.0] * len(place.columns)  # the right side of each column
    for name, (column, _) in place.nodes.items():
        ends[column] = max(ends[column], place.columns[column] + width[name])
    parts = []
    for (start, _), points in zip(chosen.edges, place.edges, strict=True):
        style = ' class="first"' if start == found.root else ""
        begin = place.columns[points[0][0]] + width[start]
        parts.append(f'<path d="{_line(begin, points, place.columns, ends)}"{style}/>')
    for name in chosen.nodes:
        column, height = place.nodes[name]
        style = "root" if name == found.root else "direct" if name in found.direct else ""
        box = (place.columns[column], height, width[name])
        parts.append(_node(label[name], box, style, _link(name, found, up)))
    wide = max(ends) + 2 * MARGIN
    high = place.height + BOX + 2 * MARGIN
    view = f"{-MARGIN:g} {-MARGIN - BOX / 2:g} {wide:.1f} {high:.1f}"
    broad = ' class="broad"' if SHRINKS[0] < wide < SHRINKS[1] else ""
    size = f'width="{wide:.0f}" height="{high:.0f}" viewBox="{view}"'
    return f'<svg aria-hidden="true"{broad} {size}>{"".join(parts)}</svg>', chosen.left_out


def _link(name: str, found: Closure, up: str) -> str:
    return f"{up}pages/p/{file_of(name)}.html" if name in found.builds else ""


def _node(text: str, box: tuple[float, float, float], style: str, link: str) -> str:
    x, y, width = box
    inner = (
        f'<rect x="{x:.1f}" y="{y - BOX / 2:.1f}" width="{width:.1f}" height="{BOX:g}" rx="6"/>'
        f'<text x="{x + PADDING:.1f}" y="{y + 4.4:.1f}">{escape(text)}</text>'
    )
    name = f' class="{style}"' if style else ""
    if link:
        return f'<a href="{escape(link)}" tabindex="-1"{name}>{inner}</a>'
    return f"<g{name}>{inner}</g>"


def _line(
    x: float, points: Sequence[tuple[int, float]], columns: Sequence[float], ends: Sequence[float]
) -> str:
    """Return the way of an edge: level through the columns that it passes, curved between them."""
    column, y = points[0]
    path = f"M{x:.1f} {y:.1f}"
    for at, (column_after, height) in enumerate(points[1:], 1):
        if at > 1 or ends[column] > x:
            x = ends[column]
            path += f"H{x:.1f}"
        to = columns[column_after]
        middle = (x + to) / 2
        path += f"C{middle:.1f} {y:.1f} {middle:.1f} {height:.1f} {to:.1f} {height:.1f}"
        column, x, y = column_after, to, height
    return path
