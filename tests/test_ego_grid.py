"""The egocentric grid memory map: cells against a plain rule, equivariance, gradients, and what is forgotten first."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import embmem.testing
from embmem.errors import InputError
from embmem.geometry import camera_pose
from embmem.maps.ego_grid import EgoGrid, ego_cells, image_patches, planar_pose
from embmem.observation import Observation
from embmem.protocols import Deformation
from embmem.records import Query
from embmem.testing import LayerContract, wall_ahead

seeds = st.integers(0, 2**32 - 1)
MUG, WALL = np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.5])


def seen(stamp: float = 0.0, *, distance: float = 2.0, yaw: float = 0.0) -> Observation:
    """`wall_ahead` whose wall and mug have embeddings."""
    frame = wall_ahead(stamp, distance=distance, yaw=yaw)
    assert frame.semantic is not None
    return replace(frame, instance=frame.semantic.copy(), embeddings={1: WALL, 2: MUG})


class TestEgoGridIsALayer(LayerContract):
    @pytest.fixture(autouse=True)
    def with_embeddings(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(embmem.testing, "wall_ahead", seen)

    @pytest.fixture
    def layer(self) -> EgoGrid:
        return EgoGrid(3, patches=12)


def plain_cells(points: np.ndarray, pose: np.ndarray, side: int) -> list[int]:
    """The rule of the grid, one point at a time."""
    x, y, heading = pose.tolist()
    local = [
        (math.cos(heading) * (px - x) + math.sin(heading) * (py - y),
         -math.sin(heading) * (px - x) + math.cos(heading) * (py - y))
        for px, py in points[:, :2].tolist()
    ]  # fmt: skip
    extents = [max(p[axis] for p in local) - min(p[axis] for p in local) for axis in (0, 1)]
    half = max(max(extents) * 2 / 3, 1.0)
    cells = []
    for ahead, left in local:
        row, column = (math.floor((u + half) / (2 * half) * side) for u in (ahead, left))
        cells.append(row * side + column if 0 <= row < side and 0 <= column < side else -1)
    return cells


def scene(seed: int, n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """(points, pose) on a lattice of 1/1024 m, so that sums of them are exact."""
    rng = np.random.default_rng(seed)
    points = np.round(rng.uniform(-6, 6, (n, 3)) * 1024) / 1024
    return points, np.append(np.round(rng.uniform(-4, 4, 2) * 1024) / 1024, rng.uniform(-np.pi, np.pi))


@given(seeds, st.integers(1, 20))
def test_cells_follow_the_plain_rule(seed: int, side: int) -> None:
    points, pose = scene(seed)
    assert ego_cells(points, pose, side)[0].tolist() == plain_cells(points, pose, side)


@given(seeds, st.integers(-4, 8), st.tuples(st.integers(-9, 9), st.integers(-9, 9)))
def test_a_world_turned_by_right_angles_and_moved_gives_the_same_cells_bit_for_bit(
    seed: int, quarters: int, shift: tuple[int, int]
) -> None:
    points, pose = scene(seed)
    pose[2] = 0.0
    turn = np.linalg.matrix_power(np.array([[0.0, -1.0], [1.0, 0.0]]), quarters % 4)
    moved = points.copy()
    moved[:, :2] = points[:, :2] @ turn.T + shift
    moved_pose = np.append(turn @ pose[:2] + shift, quarters * np.pi / 2)
    cells, half = ego_cells(points, pose)
    moved_cells, moved_half = ego_cells(moved, moved_pose)
    np.testing.assert_array_equal(moved_cells, cells)
    assert moved_half == half


@given(seeds, st.integers(0, 3))
def test_a_robot_that_turns_by_right_angles_sees_the_grid_turned(seed: int, quarters: int) -> None:
    points, pose = scene(seed)
    pose[2] = 0.0
    before, half = ego_cells(points, pose)
    after, half_after = ego_cells(points, np.append(pose[:2], quarters * np.pi / 2))
    assert half_after == half
    counts = [np.bincount(cells[cells >= 0], minlength=14 * 14).reshape(14, 14) for cells in (before, after)]
    np.testing.assert_array_equal(counts[1], np.rot90(counts[0], -quarters))


@given(seeds, st.floats(-10, 10), st.floats(-50, 50), st.floats(-50, 50))
def test_any_turn_and_shift_of_the_world_moves_no_patch_that_is_off_the_borders(
    seed: int, angle: float, x: float, y: float
) -> None:
    points, pose = scene(seed)
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, -s], [s, c]])
    moved = points.copy()
    moved[:, :2] = points[:, :2] @ turn.T + (x, y)
    cells, half = ego_cells(points, pose)
    moved_cells, moved_half = ego_cells(moved, np.append(turn @ pose[:2] + (x, y), pose[2] + angle))
    assert moved_half == pytest.approx(half, abs=1e-6)
    c, s = np.cos(pose[2]), np.sin(pose[2])
    local = (points[:, :2] - pose[:2]) @ np.array([[c, -s], [s, c]])
    in_cells = (local + half) * 14 / (2 * half)
    is_clear = (np.abs(in_cells - np.round(in_cells)) > 1e-6).all(axis=1)
    np.testing.assert_array_equal(moved_cells[is_clear], cells[is_clear])


def test_patches_of_an_image_lie_where_they_were_seen() -> None:
    frame = seen()
    features, points = image_patches(frame, 12, 10.0)
    assert len(points) == 144
    is_mug = (features == MUG).all(axis=1)
    assert is_mug.sum() == 4
    np.testing.assert_allclose(points[is_mug, 0], 1.8, atol=1e-6)
    np.testing.assert_allclose(points[~is_mug, 0], 2.0, atol=1e-6)
    assert (np.abs(points[is_mug, 1]) < 0.6).all()
    near = image_patches(frame, 12, 1.9)[0]  # the wall is too far
    assert len(near) == 12
    assert (near == MUG).all()


def test_what_is_asked_for_is_found_where_it_is() -> None:
    grid = EgoGrid(3, patches=12)
    grid.observe(seen(1.0))
    grid.observe(seen(2.0, yaw=np.pi))
    hits = grid.query(Query(embedding=MUG, k=8))
    assert {round(float(hit.position[0]), 2) for hit in hits if hit.position is not None} == {1.8, -1.8}
    assert all(hit.score == pytest.approx(1.0) for hit in hits)
    assert [hit.stamp for hit in grid.query(Query(embedding=MUG, k=8, since=2.0, min_similarity=0.9))] == [2.0] * 4
    assert grid.query(Query(entity="mug")) == []
    with pytest.raises(ValueError, match="length 3"):
        grid.query(Query(embedding=np.ones(4)))


def test_memory_is_bounded_and_quiet_places_keep_their_patches() -> None:
    grid = EgoGrid(2, capacity=100)
    rng = np.random.default_rng(0)
    grid.append(np.ones((5, 2)), np.tile([20.25, 0.25, 1.0], (5, 1)), 0.0)
    for step in range(1, 200):
        grid.append(np.full((7, 2), float(step)), rng.uniform(0, 1, (7, 3)), float(step))
        assert len(grid) <= 100
    assert (grid.points[:, 0] > 20).sum() == 5  # a queue would have forgotten them after 14 steps
    busy = grid.stamps[grid.stamps > 0]
    assert busy.min() >= 180
    assert (np.diff(grid.stamps) >= 0).all()


def test_bad_patches_are_refused_whole() -> None:
    grid = EgoGrid(2, capacity=20)
    grid.append(np.ones((1, 2)), np.zeros((1, 3)), 0.0)
    for features, points in (
        (np.ones((1, 3)), np.zeros((1, 3))),
        (np.full((1, 2), 1e6), np.zeros((1, 3))),
        (np.ones((1, 2)), np.full((1, 3), np.nan)),
        (np.ones((11, 2)), np.zeros((11, 3))),
    ):
        with pytest.raises(ValueError, match=r"need|finite|too many"):
            grid.append(features, points, 1.0)
    with pytest.raises(ValueError, match="length 2"):
        grid.observe(seen())
    assert len(grid) == 1


def test_patches_follow_their_own_keyframe() -> None:
    grid = EgoGrid(3, patches=12)
    for stamp in (0.0, 10.0):
        grid.observe(seen(stamp))
    before = grid.points.copy()
    T = camera_pose(np.zeros(3), 0.0)
    T[:3, :3] = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    T[:3, 3] = (1.0, 2.0, 0.0)
    grid.deform(Deformation(stamps=np.array([0.0, 9.0]), T_new_old=np.stack([np.eye(4), T])))
    np.testing.assert_array_equal(grid.points[:144], before[:144])
    np.testing.assert_allclose(grid.points[144:], before[144:] @ T[:3, :3].T + T[:3, 3])


@pytest.mark.parametrize(
    "change",
    [
        {"points": np.full((144, 3), np.inf)},
        {"features": np.zeros((144, 4), np.float16)},
        {"features": np.full((144, 3), np.nan, np.float16)},
        {"stamps": np.zeros(143)},
    ],
)
def test_damaged_files_are_refused(change: dict[str, np.ndarray]) -> None:
    grid = EgoGrid(3, patches=12)
    grid.observe(seen())
    state = grid.save()
    with pytest.raises(InputError):
        EgoGrid.load(replace(state, arrays={**state.arrays, **change}))
    for params in ({"capacity": 20}, {"dim": 2.5}, {"place": 0.0}):
        with pytest.raises(InputError):
            EgoGrid.load(replace(state, params={**state.params, **params}))


def test_the_pose_of_a_camera_is_its_place_and_heading() -> None:
    pose = planar_pose(camera_pose(np.array([1.0, 2.0, 0.8]), 0.7, -0.2))
    np.testing.assert_allclose(pose, [1.0, 2.0, 0.7])
