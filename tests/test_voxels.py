"""The voxel map against plain dictionaries, brute force and worked scenes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from embmem.errors import FileVersionError, InputError
from embmem.geometry import camera_pose, invert_pose, pixel_rays
from embmem.maps import VoxelMap
from embmem.observation import Intrinsics, Observation
from embmem.protocols import Deformation, Layer
from embmem.records import Query
from embmem.testing import LayerContract, wall_ahead

RES = 0.25
clouds = arrays(np.float64, st.tuples(st.integers(1, 12), st.just(3)), elements=st.floats(-2.0, 2.0, width=32))
origins = arrays(np.float64, 3, elements=st.floats(-0.625, 0.625, width=32))


class TestVoxelMapContract(LayerContract):
    @pytest.fixture
    def layer(self) -> Layer:
        return VoxelMap(0.1)


def key(point: np.ndarray) -> tuple[int, ...]:
    return tuple(np.floor(np.asarray(point) / RES).astype(int).tolist())


def chord(voxel: np.ndarray, start: np.ndarray, end: np.ndarray, grown: float = 0.0) -> np.ndarray:
    """Length of the part of start-end that lies in each voxel (low corners; all in voxels), `grown` on every side."""
    delta, low, high = end - start, voxel - grown, voxel + 1.0 + grown
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = (low - start) / delta, (high - start) / delta
    inside = (low < start) & (start < high)
    enter = np.where(delta == 0, np.where(inside, -np.inf, np.inf), np.minimum(a, b)).max(axis=-1)
    leave = np.where(delta == 0, np.where(inside, np.inf, -np.inf), np.maximum(a, b)).min(axis=-1)
    return np.maximum(np.minimum(leave, 1.0) - np.maximum(enter, 0.0), 0.0) * np.linalg.norm(delta)


class DictionaryMap:
    """The integrator in a few plain lines: bytes in a dictionary, free space by measuring every voxel of a box."""

    def __init__(self, max_range: float, *, every_ray: bool = False) -> None:
        self.max_range = max_range
        self.every_ray = every_ray
        self.sure: dict[tuple[int, ...], int] = {}
        self.unsure: set[tuple[int, ...]] = set()  # where a ray grazed an edge, either answer is right

    def integrate(self, points: np.ndarray, origin: np.ndarray) -> None:
        points = points[(points != origin).any(axis=1)]  # a point that is its own origin has no ray
        distance = np.linalg.norm(points - origin, axis=1)
        is_hit = distance <= self.max_range
        scale = np.where(is_hit, 1.0, self.max_range / np.maximum(distance, 1e-9))
        ends = np.where(is_hit[:, None], points, origin + (points - origin) * scale[:, None])
        hits = {key(p) for p, hit in zip(ends, is_hit, strict=True) if hit}
        free = {key(p) for p, hit in zip(ends, is_hit, strict=True) if not hit and not self.every_ray}
        # what OctoMap walks: to the exact point; else to the centre of each distinct end voxel
        targets = ends / RES if self.every_ray else np.array([np.array(k) + 0.5 for k in {key(p) for p in ends}])
        for target in targets:
            end = key(target * RES)
            corners = np.sort(np.array([end, key(origin)]), axis=0)
            ranges = [np.arange(a - 1, b + 2) for a, b in corners.T]
            box = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
            start = origin / RES
            passed = {tuple(v) for v in box[chord(box, start, target) > 1e-6].tolist()}
            grazed = {tuple(v) for v in box[chord(box, start, target, grown=1e-6) > 0].tolist()}
            free |= passed - {end}
            self.unsure |= grazed - passed - {end}
        for voxel in hits | free:
            step = 27 if voxel in hits else -13
            self.sure[voxel] = int(np.clip(self.sure.get(voxel, 0) + step, -64, 112))


@given(st.lists(st.tuples(clouds, origins), min_size=1, max_size=3), st.booleans())
@settings(max_examples=60)
def test_point_clouds_match_a_plain_dictionary(frames: list[tuple[np.ndarray, np.ndarray]], every_ray: bool) -> None:
    voxels, model = VoxelMap(RES, max_range=1.5), DictionaryMap(1.5, every_ray=every_ray)
    for points, origin in frames:
        voxels.integrate(points, origin, every_ray=every_ray)
        model.integrate(points, origin)
    known = np.concatenate([voxels.occupied(), voxels.free()])
    ours = {key(c): round(value * 32) for c, value in zip(known, voxels.log_odds(known), strict=True)}
    certain = set(model.sure) - model.unsure
    assert certain <= set(ours)
    assert set(ours) <= set(model.sure) | model.unsure
    assert all(ours[voxel] == model.sure[voxel] for voxel in certain)


@given(clouds, origins, st.randoms(use_true_random=False))
def test_order_and_repetition_of_points_do_not_matter(points: np.ndarray, origin: np.ndarray, random) -> None:  # type: ignore[no-untyped-def]
    shuffled = [*range(len(points)), *range(len(points))]
    random.shuffle(shuffled)
    a, b = VoxelMap(RES), VoxelMap(RES)
    a.integrate(points, origin)
    b.integrate(points[shuffled], origin)
    assert a.save().arrays["cells"].tobytes() == b.save().arrays["cells"].tobytes()


def scene(rng: np.random.Generator, k: Intrinsics, pitch: float) -> Observation:
    """A camera at a random place that sees random depth with holes."""
    patches = rng.uniform(0.5, 4.0, (k.height // 5, k.width // 5))
    depth = (np.kron(patches, np.ones((5, 5))) + rng.uniform(0, 0.1, (k.height, k.width))).astype(np.float32)
    depth[rng.random(depth.shape) < 0.1] = np.nan
    return Observation(0.0, camera_pose(rng.uniform(-1, 1, 3), rng.uniform(-3, 3), pitch), k, depth=depth)


@pytest.mark.parametrize("pitch", [0.0, -0.5, 0.3])
def test_depth_images_match_brute_force_projection(pitch: float) -> None:
    k, res, max_range = Intrinsics.from_fov(40, 30, 79.0), 0.1, 2.5
    observation = scene(np.random.default_rng(3), k, pitch)
    voxels = VoxelMap(res, max_range=max_range)
    voxels.observe(observation)
    T, depth = observation.T_map_camera, observation.depth
    assert depth is not None
    v, u = np.mgrid[: k.height, : k.width]
    rays = np.stack([(u - k.cx) / k.fx, (v - k.cy) / k.fy, np.ones(u.shape)], axis=-1)
    is_hit = np.linalg.norm(rays, axis=-1) * depth <= max_range
    ends = (rays * depth[..., None])[is_hit] @ T[:3, :3].T + T[:3, 3]
    hits = {tuple(x) for x in np.floor(ends / res).astype(int).tolist()}

    low, high = np.floor((T[:3, 3] - 3.2) / res), np.floor((T[:3, 3] + 3.2) / res)
    box = np.stack(np.meshgrid(*[np.arange(a, b) for a, b in zip(low, high, strict=True)], indexing="ij"), -1)
    box = box.reshape(-1, 3)
    camera = ((box + 0.5) * res) @ invert_pose(T)[:3, :3].T + invert_pose(T)[:3, 3]
    camera, box = camera[camera[:, 2] > 1e-3], box[camera[:, 2] > 1e-3]
    x, y = camera[:, 0] / camera[:, 2] * k.fx + k.cx, camera[:, 1] / camera[:, 2] * k.fy + k.cy
    seen = (x > -0.5) & (x < k.width - 0.5) & (y > -0.5) & (y < k.height - 0.5)
    camera, box, pixel = camera[seen], box[seen], np.stack([y, x], 1)[seen]
    row, column = np.floor(pixel + 0.5).astype(int).T
    measured, length = depth[row, column], np.linalg.norm(rays[row, column], axis=1)
    is_far = measured * length > max_range
    reach = np.where(is_far, max_range / length, measured - res * np.sqrt(3) / 2)
    on_edge = (np.abs(pixel + 0.5 - np.round(pixel + 0.5)) < 1e-6).any(axis=1) | (np.abs(camera[:, 2] - reach) < 1e-5)
    free = {tuple(b) for b in box[camera[:, 2] <= reach].astype(int).tolist()}
    unsure = {tuple(b) for b in box[on_edge].astype(int).tolist()}
    cut = (rays / np.linalg.norm(rays, axis=-1, keepdims=True) * max_range)[np.isfinite(depth) & ~is_hit]
    free |= {tuple(b) for b in np.floor((cut @ T[:3, :3].T + T[:3, 3]) / res).astype(int).tolist()}

    occupied = {tuple(x) for x in np.floor(voxels.occupied() / res).astype(int).tolist()}
    ours_free = {tuple(x) for x in np.floor(voxels.free() / res).astype(int).tolist()}
    assert occupied == hits
    assert (ours_free ^ (free - hits)) <= unsure
    assert len(ours_free) > 500


@pytest.mark.parametrize("integrator", ["ends", "rays"])
def test_depth_images_by_rays_equal_their_point_clouds(integrator: str) -> None:
    k = Intrinsics.from_fov(40, 30, 79.0)
    for seed in range(4):
        observation = scene(np.random.default_rng(seed), k, -0.2)
        image, cloud = (VoxelMap(0.1, max_range=2.5, integrator=integrator) for _ in range(2))
        image.observe(observation)
        assert observation.depth is not None
        rays, T = pixel_rays(k), observation.T_map_camera
        points = (rays * observation.depth[..., None].astype(float)).reshape(-1, 3) @ T[:3, :3].T + T[:3, 3]
        cloud.integrate(points, T[:3, 3].copy(), every_ray=integrator == "rays")
        for ours, theirs in ((image.occupied(), cloud.occupied()), (image.free(), cloud.free())):
            assert {tuple(x) for x in np.round(ours, 3).tolist()} == {tuple(x) for x in np.round(theirs, 3).tolist()}


def test_negative_and_infinite_depth_is_no_measurement() -> None:
    seen = wall_ahead()
    assert seen.depth is not None
    bad = np.array([np.nan, np.inf, -np.inf, -1.0, 0.0], dtype=np.float32)
    for integrator in ("projective", "ends", "rays"):
        blind, partly, clean = (VoxelMap(0.1, integrator=integrator) for _ in range(3))
        blind.observe(replace(seen, depth=np.resize(bad, seen.depth.shape)))
        assert blind.blocks.n == 0
        holes = np.where(np.arange(seen.depth.size).reshape(seen.depth.shape) % 3 == 0, np.nan, seen.depth)
        others = np.where(np.isnan(holes), np.resize(bad, holes.shape), holes)
        partly.observe(replace(seen, depth=others.astype(np.float32)))
        clean.observe(replace(seen, depth=holes.astype(np.float32)))
        assert partly.save().arrays["cells"].tobytes() == clean.save().arrays["cells"].tobytes()


def test_free_space_ends_at_a_wall_and_what_lies_behind_stays_unknown() -> None:
    voxels = VoxelMap(0.05)
    voxels.observe(wall_ahead(distance=2.02))
    points = np.array([[1.0, 0.0, 1.0], [1.83, 0.0, 1.0], [2.02, 0.5, 1.2], [2.5, 0.0, 1.0], [-1.0, 0.0, 1.0]])
    odds = voxels.log_odds(points)
    assert odds[0] < 0 < min(odds[1], odds[2])
    assert np.isnan(odds[3:]).all()


def test_a_thing_that_left_is_carved_away_and_one_that_came_appears() -> None:
    voxels, spot = VoxelMap(0.05), np.array([[1.83, 0.0, 1.0]])
    for stamp in range(10):
        voxels.observe(wall_ahead(float(stamp), distance=2.02))
    gone = wall_ahead(10.0, distance=2.02)
    gone = replace(gone, depth=np.full((24, 32), 2.02, dtype=np.float32))
    assert voxels.log_odds(spot)[0] == 3.5
    for _ in range(9):
        voxels.observe(gone)
    assert voxels.log_odds(spot)[0] < 0
    for _ in range(3):
        voxels.observe(wall_ahead(11.0, distance=2.02))
    assert voxels.log_odds(spot)[0] > 0


def test_beyond_the_range_only_free_space_is_used() -> None:
    voxels = VoxelMap(0.1, max_range=1.0)
    voxels.observe(wall_ahead(distance=3.0))
    assert len(voxels.occupied()) == 0
    assert 0.8 < np.linalg.norm(voxels.free() - [0.0, 0.0, 1.0], axis=1).max() < 1.1


@given(clouds, st.integers(0, 2**31))
def test_ray_cast_matches_brute_force_over_all_voxels(points: np.ndarray, seed: int) -> None:
    voxels = VoxelMap(RES)
    voxels.integrate(points, np.zeros(3))
    rng = np.random.default_rng(seed)
    starts, directions = rng.uniform(-2, 2, (20, 3)), rng.normal(size=(20, 3))
    directions[:3] = [[1, 0, 0], [0, -1, 0], [0, 0, 1]]
    ours = voxels.cast(starts, directions, 3.0)
    low = voxels.occupied() - RES / 2
    for start, direction, distance in zip(starts, directions / np.linalg.norm(directions, axis=1)[:, None], ours,
                                          strict=True):  # fmt: skip
        with np.errstate(divide="ignore", invalid="ignore"):
            a, b = (low - start) / direction, (low + RES - start) / direction
        enter, leave = np.minimum(a, b).max(axis=1), np.maximum(a, b).min(axis=1)
        met = np.maximum(enter, 0.0)[(leave > enter + 1e-9) & (leave > 0)]
        nearest = met.min(initial=np.inf)
        assert distance == pytest.approx(nearest if nearest <= 3.0 else np.inf, abs=1e-9)


@given(clouds, clouds)
def test_nearest_occupied_matches_brute_force(points: np.ndarray, asked: np.ndarray) -> None:
    voxels = VoxelMap(RES)
    voxels.integrate(points, np.full(3, 0.1))
    positions, distances = voxels.nearest_occupied(asked)
    every = np.linalg.norm(voxels.occupied()[None] - asked[:, None], axis=2)
    np.testing.assert_allclose(distances, every.min(axis=1))
    np.testing.assert_allclose(np.linalg.norm(positions - asked, axis=1), distances)


def test_nearest_occupied_of_an_empty_map_is_nowhere() -> None:
    positions, distances = VoxelMap().nearest_occupied(np.zeros((2, 3)))
    assert np.isnan(positions).all()
    assert np.isinf(distances).all()


@given(clouds)
def test_moving_by_whole_voxels_and_turning_by_right_angles_loses_nothing(points: np.ndarray) -> None:
    voxels = VoxelMap(RES)
    voxels.integrate(points, np.zeros(3), stamp=4.0)
    occupied, free = voxels.occupied(), voxels.free()
    T = camera_pose(np.array([3, -5, 2]) * RES, np.pi / 2, 0.0)
    voxels.deform(Deformation(stamps=np.array([0.0, 4.0]), T_new_old=np.stack([np.eye(4), T])))
    for before, after in ((occupied, voxels.occupied()), (free, voxels.free())):
        expected = np.round((before @ T[:3, :3].T + T[:3, 3]) / RES - 0.5)
        assert {tuple(x) for x in expected.tolist()} == {tuple(x) for x in np.round(after / RES - 0.5).tolist()}


def test_a_deformation_moves_each_block_with_its_own_keyframe() -> None:
    voxels = VoxelMap(0.1)
    voxels.integrate(np.array([[1.05, 0.05, 0.05]]), np.array([0.95, 0.05, 0.05]), stamp=1.0)
    voxels.integrate(np.array([[9.05, 0.05, 0.05]]), np.array([8.95, 0.05, 0.05]), stamp=2.0)
    T = np.stack([np.eye(4), np.eye(4)])
    T[1, 1, 3] = 0.5
    voxels.deform(Deformation(stamps=np.array([1.0, 2.0]), T_new_old=T))
    np.testing.assert_allclose(voxels.occupied(), [[1.05, 0.05, 0.05], [9.05, 0.55, 0.05]])
    hits = voxels.query(Query(near=np.array([9.0, 0.5, 0.0]), since=2.0))
    assert [hit.stamp for hit in hits] == [2.0]


def test_a_slightly_turned_wall_stays_closed() -> None:
    voxels = VoxelMap(0.05)
    y, z = np.meshgrid(np.arange(-1, 1, 0.02), np.arange(0, 1, 0.02))
    wall = np.stack([np.full(y.size, 1.52), y.ravel(), z.ravel()], axis=1)
    voxels.integrate(wall, np.array([0.0, 0.0, 0.5]), stamp=1.0)
    T = camera_pose(np.zeros(3), 0.15) @ invert_pose(camera_pose(np.zeros(3), 0.0))
    voxels.deform(Deformation(stamps=np.array([1.0]), T_new_old=T[None]))
    moved = wall[(np.abs(wall[:, 1]) < 0.9) & (np.abs(wall[:, 2] - 0.5) < 0.4)] @ T[:3, :3].T
    directions = moved - [0.0, 0.0, 0.5]
    distance = voxels.cast(np.tile([0.0, 0.0, 0.5], (len(moved), 1)), directions, 3.0)
    assert np.abs(distance - np.linalg.norm(directions, axis=1)).max() < 0.13


def test_growth_over_many_blocks_keeps_every_voxel() -> None:
    rng = np.random.default_rng(0)
    voxels, expected = VoxelMap(0.05), set()
    for i in range(60):
        centre = rng.uniform(-40, 40, 3)
        points = centre + rng.uniform(-0.7, 0.7, (60, 3))
        voxels.integrate(points, centre, stamp=float(i))
        expected |= {tuple(p) for p in np.floor(points / 0.05).astype(int).tolist()}
    assert voxels.blocks.n > 1024  # more than the first capacity
    assert {tuple(p) for p in np.floor(voxels.occupied() / 0.05).astype(int).tolist()} == expected


def test_points_that_are_not_finite_are_skipped() -> None:
    voxels = VoxelMap(0.1)
    voxels.integrate(np.array([[np.nan, 0.0, 0.0], [np.inf, 0.0, 0.0], [1.04, 0.04, 0.04]]), np.full(3, 0.05))
    np.testing.assert_allclose(voxels.occupied(), [[1.05, 0.05, 0.05]])
    assert np.isnan(voxels.log_odds(np.array([[np.nan, 0.0, 0.0], [1e12, 0.0, 0.0]]))).all()


@pytest.mark.parametrize("arguments", [
    {"resolution": 0.0}, {"resolution": float("nan")}, {"hit": -1.0}, {"miss": 0.1}, {"low": -0.1}, {"high": 9.0},
    {"max_range": 0.0}, {"max_range": 1000.0}, {"hit": 0.001},
])  # fmt: skip
def test_senseless_parameters_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"need|must"):
        VoxelMap(**arguments)


def test_rays_and_origins_out_of_range_are_refused() -> None:
    voxels = VoxelMap()
    with pytest.raises(ValueError, match="within"):
        voxels.integrate(np.zeros((1, 3)), np.array([1e9, 0.0, 0.0]))
    with pytest.raises(ValueError, match="directions"):
        voxels.cast(np.zeros((1, 3)), np.zeros((1, 3)), 1.0)
    with pytest.raises(ValueError, match="max_range"):
        voxels.cast(np.zeros((1, 3)), np.ones((1, 3)), np.inf)


def test_malformed_states_are_refused() -> None:
    voxels = VoxelMap(0.1)
    voxels.observe(wall_ahead())
    state = voxels.save()
    keys, cells, stamps = (state.arrays[name] for name in ("keys", "cells", "stamps"))
    for name, array in {
        "keys": keys[::-1].copy(), "cells": cells[:, :5].copy(), "stamps": np.full_like(stamps, np.nan),
    }.items():  # fmt: skip
        with pytest.raises(InputError):
            VoxelMap.load(replace(state, arrays={**state.arrays, name: array}))
    for array in (keys.astype(np.int32), np.full_like(keys, -1)):
        with pytest.raises(InputError):
            VoxelMap.load(replace(state, arrays={**state.arrays, "keys": array}))
    with pytest.raises(InputError, match="clamps"):
        VoxelMap.load(replace(state, arrays={**state.arrays, "cells": np.full_like(cells, 120)}))
    for params in ({}, {**state.params, "hit": "big"}, {**state.params, "hit": -1.0}, {**state.params, "extra": 1.0},
                   {**state.params, "resolution": float("nan")}):  # fmt: skip
        with pytest.raises(InputError):
            VoxelMap.load(replace(state, params=params))
    with pytest.raises(FileVersionError):
        VoxelMap.load(replace(state, version=0))
