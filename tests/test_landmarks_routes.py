"""Routes over regions against networkx, through changes of costs, nodes and edges."""

from __future__ import annotations

from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embmem.maps.landmarks import RegionRoutes
from embmem.maps.landmarks.partition import cut

Edges = list[tuple[int, int, float]]
COSTS = st.sampled_from([0.0, 0.5, 1.0, 1.0, 2.0, 100.0, np.inf]) | st.floats(0, 10)


@st.composite
def graphs(draw: st.DrawFn, most: int = 14) -> tuple[np.ndarray, Edges]:
    """Positions and edges with costs; loops, parallel edges, zero costs, blocked edges and equal sums are common."""
    n = draw(st.integers(1, most))
    node, where = st.integers(0, n - 1), st.integers(-3, 3)
    edges = draw(st.lists(st.tuples(node, node, COSTS), max_size=4 * n))
    positions = draw(st.lists(st.tuples(where, where, where), min_size=n, max_size=n))
    return np.array(positions, dtype=float), edges


def routes_of(positions: np.ndarray, edges: Edges, *, region_size: int = 3) -> RegionRoutes:
    ends = np.array([e[:2] for e in edges], dtype=np.int64).reshape(-1, 2)
    return RegionRoutes(positions, ends, np.array([e[2] for e in edges], dtype=float), region_size=region_size)


def assert_as_networkx(routes: RegionRoutes, n: int, edges: Edges, start: int, goal: int) -> None:
    graph = nx.MultiDiGraph()
    graph.add_nodes_from(range(n))
    graph.add_weighted_edges_from(e for e in edges if np.isfinite(e[2]))
    nodes, names, cost = routes.shortest_path(start, goal)
    if not nx.has_path(graph, start, goal):
        assert (len(nodes), len(names), cost) == (0, 0, np.inf)
        return
    assert cost == pytest.approx(nx.shortest_path_length(graph, start, goal, weight="weight"), rel=1e-12)
    assert [edges[name][:2] for name in names.tolist()] == list(pairwise(nodes.tolist()))
    assert cost == pytest.approx(sum(edges[name][2] for name in names.tolist()), rel=1e-12)
    assert nodes[[0, -1]].tolist() == [start, goal]


@given(graphs(), st.integers(1, 5), st.data())
def test_paths_over_regions_are_as_short_as_those_of_networkx(
    parts: tuple[np.ndarray, Edges], region_size: int, data: st.DataObject
) -> None:
    positions, edges = parts
    routes = routes_of(positions, edges, region_size=region_size)
    if data.draw(st.booleans()):
        routes.close()
    node = st.integers(0, len(positions) - 1)
    for _ in range(3):
        assert_as_networkx(routes, len(positions), edges, data.draw(node), data.draw(node))


@given(graphs(), st.data())
def test_changed_costs_and_added_parts_are_as_if_built_anew(
    parts: tuple[np.ndarray, Edges], data: st.DataObject
) -> None:
    positions, edges = parts[0], list(parts[1])
    routes = routes_of(positions, edges)
    for _ in range(data.draw(st.integers(1, 6))):
        kind = data.draw(st.sampled_from(["cost", "cost", "nodes", "edges", "close"]))
        if kind == "close":
            routes.close()
        elif kind == "nodes":
            more = data.draw(graphs(6))[0]
            routes.add_nodes(more)
            positions = np.concatenate([positions, more])
        elif kind == "edges":
            node = st.integers(0, len(positions) - 1)
            added = data.draw(st.lists(st.tuples(node, node, COSTS), max_size=5))
            ends = np.array([e[:2] for e in added], dtype=np.int64).reshape(-1, 2)
            routes.add_edges(ends, np.array([e[2] for e in added], dtype=float))
            edges += added
        elif edges:
            at = data.draw(st.lists(st.integers(0, len(edges) - 1), min_size=1, max_size=12))
            costs = [data.draw(COSTS) for _ in at]
            looked = routes.set_costs(np.array(at), np.array(costs))
            assert looked >= len(set(at))
            for i, cost in zip(at, costs, strict=True):
                edges[i] = (*edges[i][:2], cost)
        node = st.integers(0, len(positions) - 1)
        assert_as_networkx(routes, len(positions), edges, data.draw(node), data.draw(node))


def streets(side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A grid of crooked streets, some missing, both ways."""
    rng = np.random.default_rng(3)
    n = side * side
    positions = np.zeros((n, 3))
    positions[:, :2] = np.stack(np.divmod(np.arange(n), side), axis=1) + rng.uniform(-0.3, 0.3, (n, 2))
    cells = np.arange(n).reshape(side, side)
    along, across = np.stack([cells[:, :-1], cells[:, 1:]], axis=-1), np.stack([cells[:-1], cells[1:]], axis=-1)
    edges = np.concatenate([along.reshape(-1, 2), across.reshape(-1, 2)])
    edges = edges[rng.random(len(edges)) < 0.85]
    edges = np.concatenate([edges, edges[:, ::-1]])
    lengths = np.linalg.norm(positions[edges[:, 0]] - positions[edges[:, 1]], axis=1)
    return positions, edges, lengths * rng.uniform(1.0, 1.4, len(edges))


def test_a_town_with_closed_streets_matches_scipy() -> None:
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import dijkstra

    positions, edges, costs = streets(50)
    routes = RegionRoutes(positions, edges, costs, region_size=128)
    rng = np.random.default_rng(0)
    for _ in range(5):
        at = rng.integers(0, len(edges), 3)
        costs[at] *= rng.choice([0.3, 3.0, 100.0], 3)
        routes.set_costs(at, costs[at])
        start = int(rng.integers(len(positions)))
        expected = dijkstra(csr_array((costs, edges.T), shape=(len(positions),) * 2), indices=start)
        for goal in rng.integers(0, len(positions), 20).tolist():
            assert routes.shortest_path(start, goal)[2] == pytest.approx(expected[goal], rel=1e-12)
    assert routes.stats()["open"] == 0


def test_a_changed_cost_leaves_far_regions_alone() -> None:
    looked = []
    for side in (40, 80):
        positions, edges, costs = streets(side)
        routes = RegionRoutes(positions, edges, costs, region_size=64)
        routes.close()
        some = np.random.default_rng(0).integers(0, len(edges), 200)
        looked.append(np.mean([routes.set_costs(np.array([i]), costs[[i]] * 2.0) for i in some]))
    assert looked[1] < 1.3 * looked[0]  # with four times the edges


def test_a_change_gives_the_short_cuts_of_a_fresh_build() -> None:
    positions, edges, costs = streets(30)
    routes = RegionRoutes(positions, edges, costs, region_size=100)
    routes.close()
    rng = np.random.default_rng(1)
    for i in rng.integers(0, len(edges) - 8, 200):
        at = i + np.arange(rng.integers(1, 8))  # streets in a row: a path may use all of them
        costs[at] *= rng.choice([0.5, 2.0])
        routes.set_costs(at, costs[at])
    fresh = RegionRoutes(positions, edges, costs, region_size=100)
    fresh.close()
    for ours, expected in zip(routes._tables, fresh._tables, strict=True):
        np.testing.assert_array_equal(ours, expected)
    assert routes.stats()["arcs"] == fresh.stats()["arcs"]


@given(graphs(40), st.integers(1, 9))
def test_parts_hold_every_point_once_and_are_small(parts: tuple[np.ndarray, Edges], size: int) -> None:
    order, starts = cut(parts[0], size)
    assert sorted(order.tolist()) == list(range(len(parts[0])))
    sizes = np.diff(np.append(starts, len(order)))
    assert (sizes >= 1).all()
    assert (sizes <= size).all()


def test_what_is_no_graph_is_refused_and_changes_nothing() -> None:
    positions, edges, costs = np.zeros((2, 3)), np.array([[0, 1]]), np.ones(1)
    routes = RegionRoutes(positions, edges, costs)
    for bad in (-1.0, np.nan):
        with pytest.raises(ValueError, match="0 or more"):
            routes.set_costs(np.array([0]), np.array([bad]))
        with pytest.raises(ValueError, match="0 or more"):
            routes.add_edges(edges, np.array([bad]))
    with pytest.raises(ValueError, match="below 2"):
        routes.add_edges(np.array([[0, 2]]), costs)
    with pytest.raises(ValueError, match="below 1"):
        routes.set_costs(np.array([1]), costs)
    with pytest.raises(ValueError, match="finite"):
        routes.add_nodes(np.full((1, 3), np.nan))
    with pytest.raises(ValueError, match="as many costs"):
        routes.add_edges(edges, np.ones(2))
    with pytest.raises(ValueError, match=r"one of 0\.\.1"):
        routes.shortest_path(0, 2)
    with pytest.raises(ValueError, match="at least one"):
        RegionRoutes(positions, edges, costs, region_size=0)
    assert routes.shortest_path(0, 1)[2] == 1.0
    assert routes.shortest_path(0, 0)[0].tolist() == [0]
    assert routes.stats()["edges"] == 1
