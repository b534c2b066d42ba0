"""The floor plan against a dense reference, and its updates against starting from scratch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from embmem.geometry import camera_pose
from embmem.maps import GridBuilder, OccupancyGrid, VoxelMap
from embmem.maps.grid import FREE, OCCUPIED, UNSEEN
from embmem.protocols import Deformation
from embmem.testing import wall_ahead

cells = arrays(np.int8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.sampled_from([-1, 0, 100]))
clouds = arrays(np.float64, st.tuples(st.integers(1, 30), st.just(3)), elements=st.floats(-1.5, 1.5, width=32))


def dense(voxels: VoxelMap, z_min: float, z_max: float, z_floor: float) -> dict[tuple[int, int], int]:
    """The rule of the grid, one column at a time: (x, y) of what is not unseen."""
    columns: dict[tuple[int, int], dict[int, bool]] = {}
    for points, solid in ((voxels.occupied(), True), (voxels.free(), False)):
        for x, y, z in np.floor(points / voxels.resolution).astype(int).tolist():
            columns.setdefault((x, y), {})[z] = solid
    low, middle, high = (round(z / voxels.resolution) for z in (z_floor, z_min, z_max))
    state = {}
    for cell, column in columns.items():
        band = [solid for z, solid in column.items() if middle <= z < high]
        floor = any(solid for z, solid in column.items() if low <= z < middle)
        if band or floor:
            state[cell] = OCCUPIED if any(band) else FREE
    return state


def sparse(grid: OccupancyGrid) -> dict[tuple[int, int], int]:
    known = np.argwhere(grid.cells != UNSEEN)
    points = np.floor(grid.to_points(known) / grid.resolution).astype(int).tolist()
    return {(x, y): int(grid.cells[r, c]) for (x, y), (r, c) in zip(points, known.tolist(), strict=True)}


@given(st.lists(clouds, min_size=1, max_size=3))
def test_equals_the_dense_rule_after_every_frame_and_from_scratch(frames: list[np.ndarray]) -> None:
    voxels = VoxelMap(0.1)
    builder = GridBuilder(voxels, z_min=0.2, z_max=0.7, z_floor=-0.3)
    for i, points in enumerate(frames):
        voxels.integrate(points + np.array([0.4 * i, -0.9 * i, 0.0]), np.array([0.05, 0.05, 0.3]))
        expected = dense(voxels, 0.2, 0.7, -0.3)
        assert sparse(builder.update()) == expected
        assert sparse(OccupancyGrid.from_voxels(voxels, 0.2, 0.7, -0.3)) == expected


def test_a_room_grows_frame_by_frame_as_from_scratch() -> None:
    voxels = VoxelMap(0.05)
    builder = GridBuilder(voxels)
    for i in range(24):
        voxels.observe(wall_ahead(float(i), distance=2.0 + 0.1 * i, yaw=0.5 * i))
        builder.update()
    scratch = sparse(OccupancyGrid.from_voxels(voxels))
    assert sparse(builder.grid) == scratch == dense(voxels, 0.15, 1.0, -0.15)
    assert {FREE, OCCUPIED} <= set(scratch.values())


def test_nothing_new_changes_nothing_and_a_deformation_starts_over() -> None:
    voxels = VoxelMap(0.1)
    builder = GridBuilder(voxels)
    assert builder.update().cells.shape == (0, 0)
    assert builder.grid.frontiers() == []
    voxels.observe(wall_ahead(1.0))
    before = builder.update().cells.copy()
    np.testing.assert_array_equal(builder.update().cells, before)
    T = camera_pose(np.array([3.0, 0.0, 0.0]), np.pi / 2)
    T[:3, :3] = np.eye(3)
    voxels.deform(Deformation(stamps=np.array([1.0]), T_new_old=T[None]))
    assert sparse(builder.update()) == dense(voxels, 0.15, 1.0, -0.15)
    x = builder.grid.to_points(np.argwhere(builder.grid.cells == OCCUPIED))[:, 0]
    assert x.min() > 4.5


def test_rows_go_along_y_and_columns_along_x() -> None:
    voxels = VoxelMap(0.1)
    voxels.integrate(np.array([[2.05, -0.95, 0.5]]), np.array([0.05, -0.95, 0.5]))
    grid = OccupancyGrid.from_voxels(voxels)
    (row, column) = np.argwhere(grid.cells == OCCUPIED)[0]
    np.testing.assert_allclose(grid.origin + (np.array([column, row]) + 0.5) * 0.1, [2.05, -0.95])
    assert (grid.cells[row, column - 19 : column] == FREE).all()


@given(cells)
def test_points_and_cells_are_inverse(states: np.ndarray) -> None:
    grid = OccupancyGrid(np.array([-3.7, 1.2]), 0.05, states)
    every = np.argwhere(states < 127)
    np.testing.assert_array_equal(grid.to_cells(grid.to_points(every)), every)
    assert grid.contains(every).all()
    assert not grid.contains(np.array([[-1, 0], [0, -1], states.shape])).any()


@given(cells, st.sampled_from([0.0, 0.05, 0.1, 0.12, 0.18, 0.4]))
def test_inflation_blocks_what_is_within_the_radius(states: np.ndarray, radius: float) -> None:
    blocked = OccupancyGrid(np.zeros(2), 0.05, states).inflate(radius)
    occupied = np.argwhere(states == OCCUPIED)
    every = np.argwhere(states < 127)
    apart = np.linalg.norm(every[:, None] - occupied[None], axis=2) * 0.05
    expected = (apart <= radius + 1e-9).any(axis=1).reshape(states.shape)
    np.testing.assert_array_equal(blocked, expected)


@given(cells, st.integers(1, 4))
def test_frontiers_are_the_free_cells_beside_unseen_ones(states: np.ndarray, least: int) -> None:
    grid = OccupancyGrid(np.array([1.0, 2.0]), 0.1, states)
    h, w = states.shape
    brute = set()
    for r, c in np.argwhere(states == FREE).tolist():
        around = [(r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)]
        if any(not (0 <= a < h and 0 <= b < w) or states[a, b] == UNSEEN for a, b in around):
            brute.add((r, c))
    frontiers = grid.frontiers(least)
    found = [tuple(cell) for frontier in frontiers for cell in frontier.cells.tolist()]
    mask = np.zeros((h, w), dtype=bool)
    for cell in brute:
        mask[cell] = True
    labels, n = ndimage.label(mask, np.ones((3, 3)))
    sizes = sorted((int((labels == i + 1).sum()) for i in range(n)), reverse=True)
    assert [len(frontier) for frontier in frontiers] == [size for size in sizes if size >= least]
    assert set(found) <= brute
    assert len(set(found)) == len(found)
    for frontier in frontiers:
        assert len({int(labels[r, c]) for r, c in frontier.cells}) == 1
        assert frontier.cells.tolist().count(grid.to_cells(frontier.centre[None])[0].tolist()) == 1


def test_senseless_heights_are_refused() -> None:
    with pytest.raises(ValueError, match="z_floor"):
        GridBuilder(VoxelMap(), z_min=1.0, z_max=0.5)
    with pytest.raises(ValueError, match="no voxel"):
        GridBuilder(VoxelMap(0.5), z_min=0.1, z_max=0.2)


@given(cells, st.floats(0.0, 0.5), st.floats(0.0, 0.8), st.floats(0.5, 8.0))
def test_costs_follow_the_formula_of_nav2_cell_by_cell(
    values: np.ndarray, inscribed: float, more: float, scaling: float
) -> None:
    grid = OccupancyGrid(np.zeros(2), 0.1, values)
    costs = grid.costs(inscribed, inscribed + more, scaling)
    walls = np.argwhere(values == OCCUPIED)
    for row, column in np.ndindex(values.shape):
        distance = 0.1 * min((float(np.hypot(row - r, column - c)) for r, c in walls), default=np.inf)
        if values[row, column] == UNSEEN:
            expected = 255.0
        elif distance == 0.0:
            expected = 254.0
        elif distance <= inscribed + 1e-9:
            expected = 253.0
        else:
            expected = 252.0 * np.exp(-scaling * (distance - inscribed)) if distance <= inscribed + more + 1e-9 else 0.0
        assert abs(float(costs[row, column]) - expected) <= 1.0


def test_costs_want_a_robot_that_fits_into_its_surroundings() -> None:
    with pytest.raises(ValueError, match="inscribed"):
        OccupancyGrid(np.zeros(2), 0.1, np.zeros((2, 2), np.int8)).costs(0.5, 0.2)
