"""A calm drawing of a dependency graph: which nodes and edges are worth showing, and where they go.

Pure: names and widths in, places out. The way of Sugiyama and others, in five steps: choose nodes, leave out
edges that others imply, put each node one column behind its last dependent, order the columns so that few
edges cross, and move nodes to the height of their neighbours. The same input always gives the same drawing.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SWEEPS = 3
"""How often the order and the heights are improved, in both directions; more changes little."""
BESIDE, BEND = 0.65, 0.3
"""Of the distance of two nodes: that of a node and a bend of an edge, and of two bends."""
PATIENCE = 2  # sweeps without fewer crossings, after which the order is left alone


@dataclass(frozen=True, slots=True)
class Chosen:
    """The part of a graph that is drawn.

    Attributes:
        nodes: Names, the root first, then by distance from it.
        edges: From a dependent to its dependency; those that others imply are left out.
        left_out: How many nodes are not drawn.
    """

    nodes: tuple[str, ...]
    edges: tuple[tuple[str, str], ...]
    left_out: int


@dataclass(frozen=True, slots=True)
class Drawing:
    """Where everything goes, in the caller's unit.

    Attributes:
        columns: The left side of each column.
        nodes: Column and height of the middle of each node.
        edges: For each edge of the graph, in its order, the columns and heights that it passes.
        height: From the first row's middle to the last's.
    """

    columns: tuple[float, ...]
    nodes: Mapping[str, tuple[int, float]]
    edges: tuple[tuple[tuple[int, float], ...], ...]
    height: float


def choose(root: str, dependencies: Mapping[str, Sequence[str]], most: int) -> Chosen:
    """Choose what is drawn: the nearest nodes, up to ``most``, without edges that a longer way implies.

    Args:
        root: Whose dependencies are drawn.
        dependencies: Of each node; a cycle is cut where it closes.
        most: Nodes, the root among them.
    """
    distance = {root: 0}
    queue = [root]
    for node in queue:
        for each in sorted(dependencies.get(node, ())):
            if each not in distance:
                distance[each] = distance[node] + 1
                queue.append(each)
    nodes = queue[:most]
    kept = _acyclic(root, dependencies, set(nodes))
    return Chosen(tuple(nodes), _reduced(kept), len(queue) - len(nodes))


def _acyclic(root: str, dependencies: Mapping[str, Sequence[str]], nodes: set[str]) -> dict[str, list[str]]:
    """Return the edges between ``nodes``, dependents first, without those that close a cycle."""
    kept: dict[str, list[str]] = {}
    finished: list[str] = []
    open_nodes: set[str] = set()

    def successors(node: str) -> list[str]:
        return [each for each in sorted(set(dependencies.get(node, ()))) if each in nodes]

    stack = [(root, iter(successors(root)))]
    kept[root] = []
    open_nodes.add(root)
    while stack:
        node, rest = stack[-1]
        for each in rest:
            if each in open_nodes:
                continue
            kept[node].append(each)
            if each not in kept:
                kept[each] = []
                open_nodes.add(each)
                stack.append((each, iter(successors(each))))
                break
        else:
            stack.pop()
            open_nodes.discard(node)
            finished.append(node)
    return {node: kept[node] for node in reversed(finished)}


def _reduced(kept: Mapping[str, Sequence[str]]) -> tuple[tuple[str, str], ...]:
    """Leave out every edge for which there is a longer way; ``kept`` has dependents first."""
    bit = {node: 1 << at for at, node in enumerate(kept)}
    below: dict[str, int] = {}
    for node in reversed(list(kept)):
        below[node] = 0
        for each in kept[node]:
            below[node] |= bit[each] | below.get(each, 0)
    edges = []
    for node, direct in kept.items():
        implied = 0
        for each in direct:
            implied |= below.get(each, 0)
        edges += [(node, each) for each in direct if not implied & bit[each]]
    return tuple(edges)


def arrange(chosen: Chosen, widths: Mapping[str, float], row: float, gap: float) -> Drawing:
    """Find a place for everything.

    Args:
        chosen: What is drawn.
        widths: Of each node.
        row: The least distance of two nodes' middles in a column; edges that pass need less.
        gap: Between two columns.
    """
    column = _columns(chosen)
    ways = [_way(number, edge, column) for number, edge in enumerate(chosen.edges)]
    last = max(column.values(), default=0)
    layers: list[list[str]] = [[] for _ in range(last + 1)]
    for node in chosen.nodes:
        layers[column[node]].append(node)
    right: dict[str, list[str]] = {}
    left: dict[str, list[str]] = {}
    for number, way in enumerate(ways):
        first = column[chosen.edges[number][0]]
        for at, (one, other) in enumerate(pairwise(way)):
            right.setdefault(one, []).append(other)
            left.setdefault(other, []).append(one)
            if at:
                layers[first + at].append(one)
    layers = _ordered(layers, left, right)
    height = _heights(layers, left, right, row)
    lowest = min(height.values(), default=0.0)
    height = {node: at - lowest for node, at in height.items()}
    sides, side = [], 0.0
    for layer in layers:
        sides.append(side)
        side += max((widths.get(node, 0.0) for node in layer), default=0.0) + gap
    return Drawing(
        tuple(sides),
        {node: (column[node], height[node]) for node in chosen.nodes},
        tuple(
            tuple((column[edge[0]] + at, height[point]) for at, point in enumerate(way))
            for edge, way in zip(chosen.edges, ways, strict=True)
        ),
        max(height.values(), default=0.0),
    )


def _columns(chosen: Chosen) -> dict[str, int]:
    """Put each node one column behind the last of its dependents."""
    column = dict.fromkeys(chosen.nodes, 0)
    waiting = dict.fromkeys(chosen.nodes, 0)
    following: dict[str, list[str]] = {node: [] for node in chosen.nodes}
    for one, other in chosen.edges:
        following[one].append(other)
        waiting[other] += 1
    ready = [node for node in chosen.nodes if not waiting[node]]
    for node in ready:
        for each in following[node]:
            column[each] = max(column[each], column[node] + 1)
            waiting[each] -= 1
            if not waiting[each]:
                ready.append(each)
    return column


def _way(number: int, edge: tuple[str, str], column: Mapping[str, int]) -> list[str]:
    """Return the points of an edge: its ends, and a bend (named by no package) in each column between."""
    one, other = edge
    bends = [f"\0{number}.{at}" for at in range(column[one] + 1, column[other])]
    return [one, *bends, other]


def _ordered(
    layers: list[list[str]], left: Mapping[str, list[str]], right: Mapping[str, list[str]]
) -> list[list[str]]:
    """Order each column by the mean place of its neighbours, from both sides in turn; keep the best."""
    best, fewest = layers, _crossings(layers, right)
    now, idle = layers, 0
    for sweep in range(2 * SWEEPS):
        if not fewest or idle == PATIENCE:
            break
        forward = sweep % 2 == 0
        beside = left if forward else right
        now = [list(layer) for layer in now]
        order = range(1, len(now)) if forward else range(len(now) - 2, -1, -1)
        for at in order:
            place = {node: float(i) for i, node in enumerate(now[at - 1 if forward else at + 1])}
            means = {
                node: _mean([place[each] for each in beside.get(node, ())], float(i))
                for i, node in enumerate(now[at])
            }
            now[at].sort(key=means.__getitem__)
        crossed = _crossings(now, right)
        idle += 1
        if crossed < fewest:
            best, fewest, idle = now, crossed, 0
    return best


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _crossings(layers: Sequence[Sequence[str]], right: Mapping[str, list[str]]) -> int:
    """Count the edges that cross, column by column."""
    count = 0
    for layer, following in pairwise(layers):
        place = {node: at for at, node in enumerate(following)}
        seen: list[int] = []
        for node in layer:
            ends = sorted(place[each] for each in right.get(node, ()))
            for end in ends:
                count += len(seen) - bisect_right(seen, end)
            for end in ends:
                seen.insert(bisect_right(seen, end), end)
    return count


def _heights(
    layers: Sequence[Sequence[str]],
    left: Mapping[str, list[str]],
    right: Mapping[str, list[str]],
    row: float,
) -> dict[str, float]:
    """Move nodes to the mean height of their neighbours, as far as the order and the distance allow."""
    steps = [_steps(layer, row) for layer in layers]
    height: dict[str, float] = {}
    for layer, rows in zip(layers, steps, strict=True):
        height.update((node, at - rows[-1] / 2) for node, at in zip(layer, rows, strict=True))
    ordered = list(zip(layers, steps, strict=True))
    for sweep in range(2 * SWEEPS + 1):
        beside = (right, left)[sweep % 2]
        for layer, rows in ordered if sweep % 2 else reversed(ordered):
            wanted = [_mean([height[each] for each in beside.get(node, ())], height[node]) for node in layer]
            height.update(zip(layer, _apart(wanted, rows), strict=True))
    return height


def _steps(layer: Sequence[str], row: float) -> list[float]:
    """Return the least height of each point of a column below the first: bends take less room than nodes."""
    found = [0.0]
    for one, other in pairwise(layer):
        bends = one.startswith("\0") + other.startswith("\0")
        found.append(found[-1] + row * (1.0, BESIDE, BEND)[bends])
    return found


def _apart(wanted: Sequence[float], steps: Sequence[float]) -> list[float]:
    """Return the heights nearest to those wanted (least squares) that keep the order and the distances."""
    if len(wanted) == 1:
        return list(wanted)
    groups: list[tuple[float, int]] = []  # mean of what is wanted less its step, and how many
    for value, step in zip(wanted, steps, strict=True):
        mean, count = value - step, 1
        while groups and groups[-1][0] > mean:
            before, many = groups.pop()
            mean = (mean * count + before * many) / (count + many)
            count += many
        groups.append((mean, count))
    flat = [mean for mean, count in groups for _ in range(count)]
    return [mean + step for mean, step in zip(flat, steps, strict=True)]
