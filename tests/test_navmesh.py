"""The navigation mesh against exact references that share no code with it."""

from __future__ import annotations

from itertools import combinations, pairwise

import networkx as nx
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from embmem.sim_envs.navmesh import SKIN, NavMesh

BOUNDS = np.array([0.0, 0.0, 10.0, 10.0])


@st.composite
def rectangles(draw: st.DrawFn, largest: int = 6) -> np.ndarray:
    """Up to `largest` rectangles with corners on whole metres, so that they often touch and line up."""
    n = draw(st.integers(0, largest))
    low = draw(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=n, max_size=n))
    size = draw(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=n, max_size=n))
    return np.array([(x, y, x + w, y + h) for (x, y), (w, h) in zip(low, size, strict=True)], float).reshape(-1, 4)


points = st.tuples(st.floats(0.01, 9.99), st.floats(0.01, 9.99)).map(np.array)


def grown(rects: np.ndarray, radius: float = 0.0) -> np.ndarray:
    m = radius + SKIN
    return np.round(rects + np.array([-m, -m, m, m]), 9)


def sees(boxes: np.ndarray, p: np.ndarray, q: np.ndarray) -> bool:
    """Cut the segment by the lines of all edges, then look at the middle of every piece longer than 1 nm."""
    with np.errstate(divide="ignore", invalid="ignore"):
        cuts = np.concatenate(
            [(boxes[:, [0, 2]].ravel() - p[0]) / (q - p)[0], (boxes[:, [1, 3]].ravel() - p[1]) / (q - p)[1]]
        )
    cuts = np.sort(np.concatenate([[0.0, 1.0], cuts[(cuts > 0) & (cuts < 1)]]))
    middle = p + ((cuts[1:] + cuts[:-1]) / 2)[:, None] * (q - p)
    middle = middle[np.diff(cuts) * np.linalg.norm(q - p) > 1e-9]
    inside = (middle[:, None] > boxes[:, :2]) & (middle[:, None] < boxes[:, 2:])
    return not inside.all(axis=2).any()


def reference_distance(rects: np.ndarray, start: np.ndarray, goal: np.ndarray) -> float:
    """Shortest path over the complete visibility graph of all corners."""
    boxes = grown(rects)
    nodes = [start, goal]
    for x0, y0, x1, y1 in boxes:
        nodes += [np.array([x, y]) for x in (x0, x1) for y in (y0, y1)]
    nodes = [p for p in nodes if ((p >= SKIN) & (p <= 10 - SKIN)).all()]
    graph = nx.Graph()
    graph.add_nodes_from([0, 1])
    for i, j in combinations(range(len(nodes)), 2):
        if sees(boxes, nodes[i], nodes[j]):
            graph.add_edge(i, j, weight=float(np.linalg.norm(nodes[i] - nodes[j])))
    try:
        return float(nx.dijkstra_path_length(graph, 0, 1))
    except nx.NetworkXNoPath:
        return np.inf


@given(rectangles(), points, points)
def test_distance_is_that_of_the_complete_visibility_graph(
    rects: np.ndarray, start: np.ndarray, goal: np.ndarray
) -> None:
    mesh = NavMesh(rects, BOUNDS, 0.0)
    assume(mesh.is_free(np.stack([start, goal])).all())
    expected = reference_distance(rects, start, goal)
    assert mesh.distances(start[None], goal[None])[0] == pytest.approx(expected, abs=1e-7)


@given(rectangles(12), points, points, points)
def test_distance_is_a_metric_that_the_path_attains(
    rects: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray
) -> None:
    mesh = NavMesh(rects, BOUNDS, 0.1)
    assume(mesh.is_free(np.stack([a, b, c])).all())
    (ab, ac), bc = mesh.distances(np.stack([b, c]), a[None]), mesh.distances(b[None], c[None])[0]
    assert ab == pytest.approx(mesh.distances(a[None], b[None])[0], abs=1e-9)
    assert mesh.distances(a[None], a[None])[0] == 0.0
    assert ab >= np.linalg.norm(a - b) - 1e-9
    assert ac <= ab + bc + 1e-9
    path = mesh.path(a, b[None])
    if np.isinf(ab):
        assert path.shape == (0, 2)
        return
    assert np.array_equal(path[[0, -1]], [a, b])
    assert np.linalg.norm(np.diff(path, axis=0), axis=1).sum() == pytest.approx(ab, abs=1e-9)
    assert all(sees(grown(rects, 0.1), p, q) for p, q in pairwise(path))


@given(rectangles(10), st.integers(0, 2**31))
def test_distance_to_several_goals_is_that_to_the_nearest(rects: np.ndarray, seed: int) -> None:
    mesh = NavMesh(rects, BOUNDS, 0.1)
    assume(mesh.is_free(np.array([[9.5, 9.5]]))[0])
    rng = np.random.default_rng(seed)
    goals, starts = (np.stack([mesh.sample(rng) for _ in range(n)]) for n in (6, 12))
    each = np.stack([mesh.distances(starts, goal[None]) for goal in goals])
    assert mesh.distances(starts, goals) == pytest.approx(each.min(axis=0), abs=1e-9)
    for start, goal in zip(starts, goals[each.argmin(axis=0)], strict=True):
        assert np.array_equal(mesh.path(start, goals)[-1], goal)


def test_distance_lies_between_euclid_and_a_fine_grid() -> None:
    rng = np.random.default_rng(3)
    low = rng.uniform(0, 9, (12, 2))
    rects = np.concatenate([low, low + rng.uniform(0.3, 3, (12, 2))], axis=1)
    mesh = NavMesh(rects, BOUNDS, 0.15)
    xs = np.linspace(0.2, 9.8, 49)
    cells = np.stack(np.meshgrid(xs, xs, indexing="ij"), axis=-1)
    free = mesh.is_free(cells.reshape(-1, 2)).reshape(49, 49)
    boxes = grown(rects, 0.15)
    grid = nx.Graph()
    for i, j in np.argwhere(free):
        for k, m in ((i + 1, j), (i, j + 1), (i + 1, j + 1), (i + 1, j - 1)):
            if 0 <= m < 49 and k < 49 and free[k, m] and sees(boxes, cells[i, j], cells[k, m]):
                grid.add_edge((i, j), (k, m), weight=float(np.linalg.norm(cells[i, j] - cells[k, m])))
    source = tuple(np.argwhere(free)[0])
    upper = nx.single_source_dijkstra_path_length(grid, source)
    nodes = list(upper)
    exact = mesh.distances(np.array([cells[n] for n in nodes]), cells[source][None])
    bound = np.array([upper[n] for n in nodes])
    euclid = np.array([np.linalg.norm(cells[n] - cells[source]) for n in nodes])
    assert len(nodes) > 500
    assert (exact <= bound + 1e-9).all()
    assert (exact >= euclid - 1e-9).all()
    # An 8-connected path is at most 8.3 % longer than a straight one; corners cost at most another cell each.
    assert (bound <= 1.09 * exact + 0.8).all()


@given(rectangles(10), points, st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3)), max_size=6))
def test_moving_never_enters_an_obstacle_and_never_tunnels(
    rects: np.ndarray, start: np.ndarray, moves: list[tuple[float, float]]
) -> None:
    mesh = NavMesh(rects, BOUNDS, 0.2)
    assume(mesh.is_free(start[None])[0])
    position = start
    for move in moves:
        moved, collided = mesh.step(position, np.array(move))
        gap = np.maximum(rects[:, :2] - moved, moved - rects[:, 2:]).max(axis=1, initial=-np.inf)
        assert (gap > 0.2).all()
        assert ((moved > 0.2) & (moved < 9.8)).all()
        assert mesh.is_free(moved[None])[0]
        walked = mesh.distances(position[None], moved[None])[0]
        assert walked <= np.linalg.norm(move) + 1e-9
        if not collided:
            assert np.array_equal(moved, position + np.array(move))
        position = moved


def test_a_head_on_step_stops_at_the_wall_and_an_oblique_one_slides() -> None:
    mesh = NavMesh(np.array([[5.0, 0.0, 6.0, 10.0]]), BOUNDS, 0.2)
    position, collided = mesh.step(np.array([4.7, 5.0]), np.array([0.25, 0.0]))
    assert collided
    assert position == pytest.approx([4.8, 5.0], abs=2e-6)
    step = 0.25 * np.sqrt(0.5)
    position, collided = mesh.step(np.array([4.7, 5.0]), np.array([step, step]))
    assert collided
    assert position == pytest.approx([4.8, 5.0 + step], abs=2e-6)


def test_an_inner_corner_ends_the_slide() -> None:
    mesh = NavMesh(np.array([[5.0, 0.0, 6.0, 10.0], [0.0, 5.0, 6.0, 6.0]]), BOUNDS, 0.2)
    position, collided = mesh.step(np.array([4.0, 4.5]), np.array([2.0, 1.5]))
    assert collided
    assert position == pytest.approx([4.8, 4.8], abs=2e-6)


def test_touching_obstacles_leave_no_way_through() -> None:
    wall = np.array([[4.0, 0.0, 5.0, 5.0], [4.0, 5.0, 5.0, 10.0]])
    diagonal = np.array([[0.0, 0.0, 5.0, 5.0], [5.0, 5.0, 10.0, 10.0]])
    for rects, a, b in ((wall, [1.0, 5.0], [8.0, 5.0]), (diagonal, [1.0, 9.0], [9.0, 1.0])):
        mesh = NavMesh(rects, BOUNDS, 0.0)
        ends = np.array([a, b])
        assert mesh.is_free(ends).all()
        assert mesh.distances(ends[:1], ends[1:])[0] == np.inf
        assert len(set(mesh.island(ends))) == 2


def test_a_path_hugs_the_grown_corners() -> None:
    mesh = NavMesh(np.array([[4.0, 4.0, 6.0, 6.0]]), BOUNDS, 0.5)
    ends = np.array([[3.5, 3.0], [3.5, 7.0]])
    assert mesh.distances(ends[:1], ends[1:])[0] == pytest.approx(4.0, abs=1e-5)
    assert mesh.path(np.array([5.0, 3.0]), np.array([[5.0, 7.0]])) == pytest.approx(
        np.array([[5.0, 3.0], [3.5, 3.5], [3.5, 6.5], [5.0, 7.0]]), abs=1e-5
    )


@given(rectangles(12), points, points)
def test_one_island_means_a_finite_distance(rects: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    mesh = NavMesh(rects, BOUNDS, 0.1)
    ends = np.stack([a, b])
    islands = mesh.island(ends)
    assert np.array_equal(islands > 0, mesh.is_free(ends))
    is_joined = islands[0] == islands[1] > 0
    assert np.isfinite(mesh.distances(ends[:1], ends[1:])[0]) == is_joined


@pytest.mark.parametrize("wall", [3.0, 7.0])
def test_the_largest_island_is_the_first_and_the_default_for_samples(wall: float) -> None:
    mesh = NavMesh(np.array([[wall, 0.0, wall + 0.1, 10.0]]), BOUNDS, 0.1)
    left, right = mesh.island(np.array([[1.0, 5.0], [9.0, 5.0]]))
    assert (left, right) == ((2, 1) if wall < 5 else (1, 2))
    drawn = np.array([mesh.sample(np.random.default_rng(seed)) for seed in range(20)])
    assert (mesh.island(drawn) == 1).all()


@given(st.integers(0, 2**31))
def test_only_what_a_straight_line_misses_is_at_the_distance_of_a_straight_line(seed: int) -> None:
    rng = np.random.default_rng(seed)
    low = rng.uniform([0, 4], [9.8, 5.8], (60, 2))  # a flat band: shallow lines cross many bins of a row
    rects = np.concatenate([low, low + rng.uniform(0.01, 0.1, (60, 2))], axis=1)  # smaller than the bins
    cores = rects + np.array([1e-4, 1e-4, -1e-4, -1e-4])
    mesh = NavMesh(rects, BOUNDS, 0.0)
    ends = rng.uniform([0.01, 4], [9.99, 6], (30, 2))
    ends = ends[mesh.is_free(ends)]
    for a, b in pairwise(ends):
        is_straight = mesh.distances(a[None], b[None])[0] <= np.linalg.norm(a - b) + 1e-10
        if sees(grown(rects), a, b):
            assert is_straight
        elif not sees(cores, a, b):  # a line that only grazes is longer by less than can be told
            assert not is_straight


@given(rectangles(8), st.integers(0, 2**31))
def test_samples_are_free_repeatable_and_stay_on_the_island(rects: np.ndarray, seed: int) -> None:
    mesh = NavMesh(rects, BOUNDS, 0.1)
    assume(mesh.is_free(np.array([[9.5, 9.5]]))[0])
    home = np.array([9.5, 9.5])
    drawn = [mesh.sample(np.random.default_rng(seed), home) for _ in range(2)]
    assert np.array_equal(drawn[0], drawn[1])
    assert mesh.island(drawn[0][None])[0] == mesh.island(home[None])[0]
    assert mesh.island(mesh.sample(np.random.default_rng(seed))[None])[0] == 1


def test_samples_spread_uniformly_over_the_free_area() -> None:
    rng = np.random.default_rng(0)
    mesh = NavMesh(np.array([[0.0, 0.0, 8.0, 8.0]]), BOUNDS, 0.0)
    x = np.array([mesh.sample(rng) for _ in range(4000)])
    assert mesh.is_free(x).all()
    assert np.mean((x > 8).all(axis=1)) == pytest.approx(4 / 36, abs=0.025)  # five standard deviations


def test_blocked_and_missing_places_are_infinitely_far() -> None:
    mesh = NavMesh(np.array([[4.0, 4.0, 6.0, 6.0]]), BOUNDS, 0.1)
    nowhere = np.array([[5.0, 5.0], [np.nan, 1.0], [-3.0, 2.0], [1e12, 0.0], [np.inf, 1.0]])
    assert not mesh.is_free(nowhere).any()
    assert np.isinf(mesh.distances(nowhere, np.array([[1.0, 1.0]]))).all()
    assert np.isinf(mesh.distances(np.array([[1.0, 1.0]]), nowhere)).all()
    assert np.isinf(mesh.distances(np.array([[1.0, 1.0]]), np.empty((0, 2)))).all()
    with pytest.raises(ValueError, match="no free space"):
        mesh.sample(np.random.default_rng(0), np.array([5.0, 5.0]))


def test_no_free_space_is_said_not_sampled() -> None:
    mesh = NavMesh(np.array([[0.0, 0.0, 10.0, 10.0]]), BOUNDS, 0.1)
    assert mesh.island(np.array([[5.0, 5.0]]))[0] == 0
    with pytest.raises(ValueError, match="no free space"):
        mesh.sample(np.random.default_rng(0))
    with pytest.raises(ValueError, match="no free space"):
        NavMesh(np.empty((0, 4)), np.array([0.0, 0.0, 1.0, 1.0]), 0.6).sample(np.random.default_rng(0))


@pytest.mark.parametrize("rect", [[0, 0, 0, 1], [0, 1, 1, 0], [0, 0, np.nan, 1]])
def test_rectangles_without_extent_are_refused(rect: list[float]) -> None:
    with pytest.raises(ValueError, match="rectangle"):
        NavMesh(np.array([rect], dtype=float), BOUNDS, 0.1)


def test_a_negative_radius_is_refused() -> None:
    with pytest.raises(ValueError, match="radius"):
        NavMesh(np.empty((0, 4)), BOUNDS, -0.1)
