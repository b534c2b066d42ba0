"""The exploration value against its closed form and a dense reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from embmem.maps import GridBuilder, OccupancyGrid, VoxelMap
from embmem.maps.grid import FREE, UNSEEN
from embmem.maps.value_map import best_cell, exploration_value, last_seen, outer_border, value_map
from embmem.maps.voxels.blocks import unpack
from embmem.testing import wall_ahead

states = arrays(np.int8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.sampled_from([-1, 0, 100]))


@given(st.floats(0.0, 1e4))
def test_the_value_is_the_sigmoid_of_the_age(age: float) -> None:
    value = exploration_value(np.array([age]))
    assert value[0] == pytest.approx(1.0 / (1.0 + np.exp(-0.1 * (age - 10.0))))
    assert value[0] <= exploration_value(np.array([age + 1.0]))[0]


def test_worked_ages() -> None:
    values = exploration_value(np.array([0.0, 10.0, 60.0, np.inf]))
    np.testing.assert_allclose(values, [0.26894142, 0.5, 0.99330715, 1.0])


@given(st.integers(0, 2**31))
def test_a_cell_was_last_seen_with_the_newest_block_of_its_column(seed: int) -> None:
    rng = np.random.default_rng(seed)
    voxels = VoxelMap(0.1)
    for stamp in rng.permutation(5):
        centre = rng.uniform(-2, 2, 3) * [1, 1, 0.3] + [0, 0, 0.5]
        voxels.integrate(centre + rng.uniform(-0.8, 0.8, (20, 3)), centre, stamp=float(stamp))
    grid = GridBuilder(voxels, 0.2, 0.9, -0.1).update()
    seen = last_seen(voxels, grid, z_floor=-0.1, z_max=0.9)
    blocks = unpack(voxels.blocks.keys[: voxels.blocks.n])
    of_column: dict[tuple[int, int], float] = {}
    for (x, y, z), stamp in zip(blocks.tolist(), voxels.blocks.stamps, strict=False):
        if -1 <= z <= 1:  # voxels -1 to 8
            of_column[x, y] = max(of_column.get((x, y), -np.inf), stamp)
    every = np.argwhere(np.ones(grid.cells.shape, bool))
    columns = np.floor(grid.to_points(every) / 0.8).astype(int)
    expected = np.array([of_column.get((x, y), -np.inf) for x, y in columns.tolist()]).reshape(grid.cells.shape)
    np.testing.assert_array_equal(seen, np.where(grid.cells == UNSEEN, -np.inf, expected))
    assert np.isfinite(seen[grid.cells != UNSEEN]).all()


def test_an_empty_map_was_never_seen() -> None:
    voxels = VoxelMap(0.1)
    assert last_seen(voxels, OccupancyGrid.from_voxels(voxels)).shape == (0, 0)
    assert best_cell(np.empty((0, 0)), (0, 0)) is None


@given(states)
def test_the_outer_border_is_what_is_not_free_beside_what_is(cells: np.ndarray) -> None:
    border = outer_border(OccupancyGrid(np.zeros(2), 0.1, cells))
    h, w = cells.shape
    for r in range(h):
        for c in range(w):
            around = cells[max(r - 1, 0) : r + 2, max(c - 1, 0) : c + 2]
            assert border[r, c] == (cells[r, c] != FREE and bool((around == FREE).any()))


def test_unseen_places_come_first_and_then_the_oldest() -> None:
    voxels = VoxelMap(0.1)
    for stamp, yaw in ((0.0, 0.0), (40.0, 2.0)):
        voxels.observe(wall_ahead(stamp, yaw=yaw))
    grid = OccupancyGrid.from_voxels(voxels)
    value = value_map(grid, last_seen(voxels, grid), 50.0)
    border = outer_border(grid)
    assert np.array_equal(np.isfinite(value), border)
    np.testing.assert_allclose(value[border & (grid.cells == UNSEEN)], 1.0)
    walls = border & (grid.cells != UNSEEN)
    x = grid.to_points(np.argwhere(walls))[:, 0]
    by_age = {40.0: exploration_value(np.array([10.0]))[0], 0.0: exploration_value(np.array([50.0]))[0]}
    np.testing.assert_allclose(value[walls][x > 1.0], by_age[0.0])
    np.testing.assert_allclose(value[walls][x < 0.0], by_age[40.0])


def test_similarity_is_added_with_its_weight_and_unknown_counts_nothing() -> None:
    grid = OccupancyGrid(np.zeros(2), 0.1, np.array([[0, -1, -1], [0, 100, -1]], dtype=np.int8))
    seen = np.where(grid.cells == UNSEEN, -np.inf, 90.0)
    similarity = np.array([[0.0, np.nan, 0.0], [0.0, 0.8, 0.0]])
    value = value_map(grid, seen, 100.0, similarity=similarity, weight=0.5)
    np.testing.assert_allclose(value, [[np.nan, 1.0, np.nan], [np.nan, 0.5 + 0.4, np.nan]])
    everywhere = value_map(grid, seen, 80.0, candidates=np.ones((2, 3), np.bool_))
    np.testing.assert_allclose(everywhere[0, 0], exploration_value(np.array([0.0]))[0])
    with pytest.raises(ValueError, match="shape"):
        value_map(grid, seen[:1], 100.0)
    with pytest.raises(ValueError, match="weight"):
        value_map(grid, seen, 100.0, weight=-1.0)


def test_of_cells_worth_about_the_same_the_nearest_is_best() -> None:
    value = np.full((5, 9), np.nan)
    value[0, 0], value[4, 8], value[2, 4] = 0.9999, 0.9998, 0.7
    assert best_cell(value, (4, 7)) == (4, 8)
    assert best_cell(value, (1, 1)) == (0, 0)
    value[2, 2] = 1.2
    assert best_cell(value, (4, 8)) == (2, 2)
