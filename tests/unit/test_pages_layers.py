from __future__ import annotations

from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opambin.publish.pages.layers import arrange, choose

ROW, GAP = 30.0, 40.0
NAMES = [f"n{at}" for at in range(12)]
graphs = st.dictionaries(st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=4), max_size=9)
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_an_edge_that_a_longer_way_implies_is_left_out() -> None:
    chosen = choose("a", {"a": ["b", "c"], "b": ["c"], "c": []}, 10)
    assert chosen.edges == (("a", "b"), ("b", "c"))
    assert chosen.nodes == ("a", "b", "c")


def test_the_nearest_are_drawn_and_the_others_counted() -> None:
    chosen = choose("a", {"a": ["c", "b"], "b": ["d"], "c": ["e", "f"]}, 4)
    assert chosen.nodes == ("a", "b", "c", "d")
    assert chosen.left_out == 2


def test_a_cycle_is_cut() -> None:
    chosen = choose("a", {"a": ["b"], "b": ["c"], "c": ["a", "b"]}, 10)
    assert chosen.edges == (("a", "b"), ("b", "c"))


def test_a_chain_is_drawn_level() -> None:
    drawing = arrange(choose("a", {"a": ["b"], "b": ["c"]}, 10), {"a": 10, "b": 20, "c": 30}, ROW, GAP)
    assert list(drawing.columns) == [0, 10 + GAP, 10 + GAP + 20 + GAP]
    assert {height for _, height in drawing.nodes.values()} == {0}
    assert drawing.height == 0


def test_edges_that_need_not_cross_do_not() -> None:
    wanted = {"a": ["b", "c"], "b": ["e"], "c": ["d"]}
    drawing = arrange(choose("a", wanted, 10), dict.fromkeys("abcde", 10.0), ROW, GAP)
    order = drawing.nodes["b"][1] < drawing.nodes["c"][1]
    assert (drawing.nodes["e"][1] < drawing.nodes["d"][1]) == order


def test_an_edge_bends_around_the_nodes_that_it_passes() -> None:
    # b and c lie between a and f, but a's edge to d passes their columns
    wanted = {"a": ["b", "d"], "b": ["c"], "c": ["f"], "d": ["g"], "f": ["g"]}
    chosen = choose("a", wanted, 10)
    drawing = arrange(chosen, dict.fromkeys("abcdfg", 10.0), ROW, GAP)
    way = drawing.edges[chosen.edges.index(("d", "g"))]
    assert [column for column, _ in way] == [1, 2, 3, 4]
    for column, height in way[1:-1]:
        assert all(abs(height - at) > ROW / 2 for c, at in drawing.nodes.values() if c == column)


@patient
@given(graphs)
def test_every_drawing_is_in_order_and_repeatable(graph: dict[str, list[str]]) -> None:
    chosen = choose("n0", graph, 9)
    widths = {node: 10.0 + at for at, node in enumerate(chosen.nodes)}
    drawing = arrange(chosen, widths, ROW, GAP)
    for one, other in chosen.edges:  # dependencies are to the right
        assert drawing.nodes[one][0] < drawing.nodes[other][0]
    for column in range(len(drawing.columns)):  # nodes of a column keep their distance, and edges from them
        heights = sorted(at for c, at in drawing.nodes.values() if c == column)
        assert all(below - above >= ROW - 1e-6 for above, below in pairwise(heights))
        bends = [at for way in drawing.edges for c, at in way[1:-1] if c == column]
        assert all(abs(bend - at) > ROW / 2 for bend in bends for at in heights)
    assert all(0 <= at <= drawing.height for _, at in drawing.nodes.values())
    assert arrange(choose("n0", dict(reversed(graph.items())), 9), widths, ROW, GAP) == drawing


@patient
@given(graphs)
def test_what_is_implied_stays_reachable(graph: dict[str, list[str]]) -> None:
    chosen = choose("n0", graph, 99)
    seen, queue = {"n0"}, ["n0"]
    for node in queue:
        for one, other in chosen.edges:
            if one == node and other not in seen:
                seen.add(other)
                queue.append(other)
    assert seen == set(chosen.nodes)
