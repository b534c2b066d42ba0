"""Shortest paths on graphs against networkx and scipy."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from embmem.maps import RouteGraph

Parts = tuple[np.ndarray, np.ndarray, np.ndarray]


@st.composite
def graphs(draw: st.DrawFn) -> Parts:
    """Positions, edges and lengths; loops, parallel edges, zero lengths and equal sums are common."""
    n = draw(st.integers(1, 12))
    node = st.integers(0, n - 1)
    edges = draw(st.lists(st.tuples(node, node), max_size=30))
    few = st.sampled_from([0.0, 0.5, 1.0, 1.0, 2.0, 100.0])
    lengths = draw(st.lists(few | st.floats(0, 10), min_size=len(edges), max_size=len(edges)))
    where = st.integers(-3, 3)
    positions = draw(st.lists(st.tuples(where, where, where), min_size=n, max_size=n))
    d = draw(st.integers(2, 3))
    return np.array(positions, dtype=float)[:, :d], np.array(edges, dtype=int).reshape(-1, 2), np.array(lengths)


def reference(parts: Parts, directed: bool) -> nx.MultiDiGraph:
    positions, edges, lengths = parts
    graph = nx.MultiDiGraph()
    graph.add_nodes_from(range(len(positions)))
    for (a, b), length in zip(edges.tolist(), lengths.tolist(), strict=True):
        graph.add_edge(a, b, weight=length)
        if not directed:
            graph.add_edge(b, a, weight=length)
    return graph


def grid_edges(side: int) -> np.ndarray:
    cells = np.arange(side * side).reshape(side, side)
    along, across = np.stack([cells[:, :-1], cells[:, 1:]], axis=-1), np.stack([cells[:-1], cells[1:]], axis=-1)
    return np.concatenate([along.reshape(-1, 2), across.reshape(-1, 2)])


def streets(rng: np.random.Generator, side: int) -> Parts:
    """A grid of crooked streets, some missing, numbered at random."""
    positions = np.stack(np.divmod(np.arange(side * side), side), axis=1) + rng.uniform(-0.3, 0.3, (side * side, 2))
    edges = grid_edges(side)
    edges = edges[rng.random(len(edges)) < 0.85]
    lengths = np.hypot(*(positions[edges[:, 0]] - positions[edges[:, 1]]).T) * rng.uniform(1.0, 1.4, len(edges))
    number = rng.permutation(side * side)
    shuffled = np.empty_like(positions)
    shuffled[number] = positions
    return shuffled, number[edges], lengths


@given(graphs(), st.booleans(), st.data())
def test_paths_are_as_short_as_those_of_networkx(parts: Parts, directed: bool, data: st.DataObject) -> None:
    node = st.integers(0, len(parts[0]) - 1)
    start, goal = data.draw(node), data.draw(node)
    graph = reference(parts, directed)
    path, length = RouteGraph(*parts, directed=directed).shortest_path(start, goal)
    if not nx.has_path(graph, start, goal):
        assert len(path) == 0
        assert length == np.inf
        return
    assert length == pytest.approx(nx.shortest_path_length(graph, start, goal, weight="weight"), rel=1e-12)
    assert path[[0, -1]].tolist() == [start, goal]
    assert len(set(path.tolist())) == len(path)
    steps = [min(e["weight"] for e in graph[a][b].values()) for a, b in pairwise(path)]
    assert length == pytest.approx(sum(steps), rel=1e-12)


@given(graphs(), st.booleans(), st.data())
def test_distances_are_those_of_networkx(parts: Parts, directed: bool, data: st.DataObject) -> None:
    source = data.draw(st.integers(0, len(parts[0]) - 1))
    expected = nx.single_source_dijkstra_path_length(reference(parts, directed), source, weight="weight")
    ours = RouteGraph(*parts, directed=directed).distances(source)
    np.testing.assert_allclose(ours, [expected.get(i, np.inf) for i in range(len(ours))], rtol=1e-12)


@given(graphs(), st.randoms(use_true_random=False))
def test_distances_do_not_depend_on_the_order_of_the_edges(parts: Parts, random: Random) -> None:
    positions, edges, lengths = parts
    order = np.array(random.sample(range(len(edges)), len(edges)), dtype=int)
    again = RouteGraph(positions, edges[order], lengths[order])
    assert again.distances(0).tobytes() == RouteGraph(*parts).distances(0).tobytes()


def test_a_town_matches_scipy_to_the_last_bit() -> None:
    positions, edges, lengths = parts = streets(np.random.default_rng(3), 70)
    graph = RouteGraph(*parts)
    n = len(positions)
    matrix = csr_array((lengths, (edges[:, 0], edges[:, 1])), shape=(n, n))
    for start in (0, 1234):
        expected = dijkstra(matrix, directed=False, indices=start)
        np.testing.assert_array_equal(graph.distances(start), expected)
        for goal in range(0, n, 500):
            assert graph.shortest_path(start, goal)[1] == expected[goal]


def test_the_same_graph_gives_the_same_path_among_equals() -> None:
    edges = grid_edges(30)
    positions = np.stack(np.divmod(np.arange(900.0), 30), axis=1)
    paths = {RouteGraph(positions, edges, np.ones(len(edges))).shortest_path(0, 899)[0].tobytes() for _ in range(3)}
    assert len(paths) == 1


def test_lengths_below_the_straight_line_and_one_way_streets() -> None:
    """
    0 --5--> 1      a lift of length 0.1 leads over 2 to 1; nothing leads back
     \\.1-> 2 --.1--> 1
    """
    positions = np.array([[0.0, 0.0], [10.0, 0.0], [5.0, 80.0]])
    graph = RouteGraph(positions, np.array([[0, 1], [0, 2], [2, 1]]), np.array([5.0, 0.1, 0.1]), directed=True)
    path, length = graph.shortest_path(0, 1)
    assert path.tolist() == [0, 2, 1]
    assert length == pytest.approx(0.2)
    assert np.isinf(graph.distances(1)[[0, 2]]).all()


def test_what_is_no_graph_is_refused() -> None:
    positions, edges = np.zeros((3, 2)), np.array([[0, 1], [1, 2]])
    for bad in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="for edge 1"):
            RouteGraph(positions, edges, np.array([1.0, bad]))
    for bad in (np.nan, -np.inf):
        with pytest.raises(ValueError, match="for node 2"):
            RouteGraph(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, bad]]), edges, np.ones(2))
    with pytest.raises(ValueError, match="2 edges"):
        RouteGraph(positions, edges, np.ones(3))
    with pytest.raises(ValueError, match="below 3"):
        RouteGraph(positions, np.array([[0, 3]]), np.ones(1))
    with pytest.raises(ValueError, match="coordinates"):
        RouteGraph(np.zeros((3, 4)), edges, np.ones(2))
    graph = RouteGraph(positions, edges, np.ones(2))
    for node in (-1, 3):
        with pytest.raises(ValueError, match="node"):
            graph.distances(node)
        with pytest.raises(ValueError, match="node"):
            graph.shortest_path(0, node)


def test_a_graph_without_edges_leads_nowhere() -> None:
    graph = RouteGraph(np.zeros((2, 2)), np.zeros((0, 2), dtype=int), np.zeros(0))
    assert graph.shortest_path(1, 1)[0].tolist() == [1]
    assert graph.shortest_path(0, 1)[1] == np.inf
    assert RouteGraph(np.zeros((0, 3)), np.zeros((0, 2), dtype=int), np.zeros(0)).n_nodes == 0
