"""Distance fields against scipy's Dijkstra on the same graph, and the ways that lead down them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from embmem.maps import descend, distance_field

masks = arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9)))


def cell_graph(blocked: np.ndarray, open_cells: set[tuple[int, int]]) -> csr_matrix:
    """Edges between free cells, plus those out of `open_cells`, which may be blocked; no corner is cut."""
    h, w = blocked.shape
    rows, columns, lengths = [], [], []
    for r in range(h):
        for c in range(w):
            if blocked[r, c] and (r, c) not in open_cells:
                continue
            for dr in (-1, 0, 1):
                for dc in (-1, 0, 1):
                    a, b = r + dr, c + dc
                    if (dr, dc) == (0, 0) or not (0 <= a < h and 0 <= b < w) or blocked[a, b]:
                        continue
                    if dr and dc and (blocked[a, c] or blocked[r, b]):
                        continue
                    rows.append(r * w + c)
                    columns.append(a * w + b)
                    lengths.append(np.hypot(dr, dc))
    return csr_matrix((lengths, (rows, columns)), shape=(h * w, h * w))


@given(masks, st.data())
def test_equals_dijkstra_on_the_cell_graph(blocked: np.ndarray, data: st.DataObject) -> None:
    h, w = blocked.shape
    cell = st.tuples(st.integers(0, h - 1), st.integers(0, w - 1))
    sources = data.draw(st.lists(cell, min_size=1, max_size=3))
    ours = distance_field(blocked, np.array(sources), 0.5)
    graph = cell_graph(blocked, set(sources))
    flat = [r * w + c for r, c in sources]
    expected = np.atleast_2d(dijkstra(graph, indices=flat)).min(axis=0).reshape(h, w) * 0.5
    np.testing.assert_allclose(ours, expected, atol=1e-9)


@given(masks, st.data())
def test_ways_down_are_shortest_and_touch_nothing(blocked: np.ndarray, data: st.DataObject) -> None:
    h, w = blocked.shape
    cell = st.tuples(st.integers(0, h - 1), st.integers(0, w - 1))
    source, start = np.array(data.draw(cell)), np.array(data.draw(cell))
    field = distance_field(blocked, source[None], 0.25)
    path = descend(field, blocked, start)
    if np.isinf(field[start[0], start[1]]):
        assert len(path) == 0
        return
    np.testing.assert_array_equal(path[[0, -1]], [start, source])
    steps = np.diff(path, axis=0)
    assert np.abs(steps).max(initial=0) <= 1
    assert np.linalg.norm(steps, axis=1).sum() * 0.25 == pytest.approx(field[start[0], start[1]])
    for (r, c), (dr, dc) in zip(path[:-1], steps, strict=True):
        assert not (dr and dc and (blocked[r + dr, c] or blocked[r, c + dc]))
    assert not blocked[tuple(path[:-1].T)].any()


def test_a_large_maze_matches_dijkstra() -> None:
    rng = np.random.default_rng(5)
    blocked = rng.random((120, 150)) < 0.3
    sources = np.argwhere(~blocked)[[10, 5000]]
    ours = distance_field(blocked, sources, 1.0)
    flat = sources[:, 0] * 150 + sources[:, 1]
    expected = dijkstra(cell_graph(blocked, set()), indices=flat).min(axis=0).reshape(blocked.shape)
    np.testing.assert_allclose(ours, expected, atol=1e-9)
    assert np.isfinite(ours).mean() > 0.4


@given(masks, st.data())
def test_the_order_of_the_sources_changes_no_bit(blocked: np.ndarray, data: st.DataObject) -> None:
    h, w = blocked.shape
    cell = st.tuples(st.integers(0, h - 1), st.integers(0, w - 1))
    sources = data.draw(st.lists(cell, min_size=1, max_size=6))
    shuffled = data.draw(st.permutations(sources))
    ours = distance_field(blocked, np.array(sources), 0.05)
    assert ours.tobytes() == distance_field(blocked, np.array(shuffled), 0.05).tobytes()


@pytest.mark.parametrize("kind", ["point", "row", "column", "diagonal", "everywhere"])
def test_sources_in_a_line_among_boxes_match_dijkstra(kind: str) -> None:
    rng = np.random.default_rng(7)
    blocked = np.zeros((90, 110), dtype=bool)
    for r, c, h, w in rng.integers((0, 0, 1, 1), (90, 110, 16, 16), size=(25, 4)):
        blocked[r : r + h, c : c + w] = True
    line = np.arange(90)
    sources = {
        "point": np.array([[0, 0]]),
        "row": np.stack([0 * line + 40, line], axis=1),
        "column": np.stack([line, 0 * line + 55], axis=1),
        "diagonal": np.stack([line, line], axis=1),
        "everywhere": np.argwhere(~blocked),
    }[kind]
    ours = distance_field(blocked, sources, 1.0)
    flat = sources[:, 0] * 110 + sources[:, 1]
    graph = cell_graph(blocked, {(int(r), int(c)) for r, c in sources})
    expected = dijkstra(graph, indices=flat, min_only=True).reshape(blocked.shape)
    np.testing.assert_allclose(ours, expected, rtol=1e-11)


def test_a_way_may_wind_through_half_a_million_cells() -> None:
    blocked = np.zeros((1001, 1001), dtype=bool)
    blocked[1::4, :-1], blocked[3::4, 1:] = True, True
    far = distance_field(blocked, np.array([[0, 0]]), 1.0)
    assert far[1000, 1000] == pytest.approx(501 * 1000 + 1000, rel=1e-12)


def test_around_a_wall() -> None:
    """
    S # G
    . # .     down two, across two, up two, with no corner cut: 6 straight steps
    . . .
    """
    blocked = np.array([[0, 1, 0], [0, 1, 0], [0, 0, 0]], dtype=bool)
    assert distance_field(blocked, np.array([[0, 2]]), 0.05)[0, 0] == pytest.approx(6 * 0.05)


def test_no_source_reaches_nothing_and_a_walled_in_one_only_itself() -> None:
    blocked = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=bool)
    assert np.isinf(distance_field(blocked, np.zeros((0, 2), dtype=int), 1.0)).all()
    alone = distance_field(blocked, np.array([[1, 1]]), 1.0)
    assert alone[1, 1] == 0
    assert np.isinf(alone).sum() == 8


def test_cells_outside_of_the_grid_are_refused() -> None:
    blocked = np.zeros((2, 3), dtype=bool)
    for bad in ([2, 0], [0, -1]):
        with pytest.raises(ValueError, match="sources"):
            distance_field(blocked, np.array([bad]), 1.0)
        with pytest.raises(ValueError, match="start"):
            descend(np.zeros((2, 3)), blocked, np.array(bad))
