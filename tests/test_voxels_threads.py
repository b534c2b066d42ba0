"""Threads, tiles and plain functions change nothing in a voxel map; per-point origins and what is skipped."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core.dispatcher import Dispatcher

from embmem.geometry import camera_pose
from embmem.maps import VoxelMap
from embmem.maps.voxels import integrate, project, rays, sensors
from embmem.maps.voxels.sensors import Equirectangular
from embmem.maps.voxels.tiles import Tiling
from embmem.observation import Intrinsics, Observation

INTEGRATORS = ["projective", "ends", "rays"]
CAMERA = Intrinsics.from_fov(60, 44, 79.0)
LENS = Intrinsics(60, 44, 36.0, 36.0, 29.5, 21.5, (-0.2, 0.05, 0.001, 0.0))


def frames(seed: int, k: Intrinsics) -> list[Observation]:
    """Three frames of random patches with holes, some of them far."""
    rng = np.random.default_rng(seed)
    made = []
    for stamp in range(3):
        depth = np.kron(rng.uniform(0.3, 4.0, (11, 12)), np.ones((4, 5))).astype(np.float32)
        depth[rng.random(depth.shape) < 0.1] = rng.choice([np.nan, np.inf, -1.0])
        T = camera_pose(rng.uniform(-1, 1, 3), rng.uniform(-3, 3), rng.uniform(-0.6, 0.6))
        made.append(Observation(float(stamp), T, k, depth=depth))
    return made


def same(a: VoxelMap, b: VoxelMap) -> bool:
    ours, theirs = a.save().arrays, b.save().arrays
    return ours.keys() == theirs.keys() and all(ours[name].tobytes() == theirs[name].tobytes() for name in ours)


def observed(made: list[Observation], *, tile_bytes: int | None = None, **settings: Any) -> VoxelMap:
    voxels = VoxelMap(0.07, max_range=2.5, **settings)
    if tile_bytes is not None:
        voxels._marker.tile_bytes = tile_bytes
    for observation in made:
        voxels.observe(observation)
    return voxels


@pytest.mark.parametrize("k", [CAMERA, LENS], ids=["pinhole", "lens"])
@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_one_two_and_three_threads_give_equal_bytes(integrator: str, k: Intrinsics) -> None:
    made = frames(0, k)
    one, two, three = (observed(made, integrator=integrator, threads=n) for n in (1, 2, 3))
    assert same(one, two)
    assert same(one, three)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("k", [CAMERA, LENS], ids=["pinhole", "lens"])
@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_tiles_of_any_size_give_equal_bytes(integrator: str, k: Intrinsics, threads: int) -> None:
    made = frames(1, k)
    whole = observed(made, integrator=integrator)
    for tile_bytes in (512, 30_000):
        assert same(whole, observed(made, integrator=integrator, threads=threads, tile_bytes=tile_bytes))


@given(st.integers(0, 2**31), st.booleans(), st.integers(9, 14), st.booleans())
@settings(max_examples=25)
def test_point_clouds_are_the_same_by_tiles_and_threads(
    seed: int, every_ray: bool, log_bytes: int, is_moving: bool
) -> None:
    rng = np.random.default_rng(seed)
    points = rng.uniform(-2, 2, (150, 3))
    points[:20] = np.round(points[:20] * 4) / 4  # ends on faces, edges and corners of voxels
    origin = rng.uniform(-0.1, 0.1, (150 if is_moving else 1, 3))
    origin = np.round(origin * 8) / 8 if rng.random() < 0.3 else origin
    maps = [VoxelMap(0.125, max_range=1.7, threads=threads) for threads in (1, 2, 1)]
    maps[2]._marker.tile_bytes = max(1 << log_bytes, 8 * 512)
    for voxels in maps:
        voxels.integrate(points, origin if is_moving else origin[0], every_ray=every_ray)
    assert same(maps[0], maps[1])
    assert same(maps[0], maps[2])


@given(
    st.lists(st.integers(-30, 30), min_size=3, max_size=3), st.lists(st.integers(0, 40), min_size=3, max_size=3),
    st.lists(st.floats(0, 1), min_size=3, max_size=3), st.integers(9, 20),
)  # fmt: skip
def test_tiles_cover_the_box_once_and_grow_away_from_home(
    low: list[int], size: list[int], share: list[float], log_bytes: int
) -> None:
    first, last = np.array(low), np.array(low) + size
    home = first + np.floor(np.array(share) * size).astype(int)
    tiling = Tiling(first, last, np.stack([home, home]), 1 << log_bytes)
    made = [tile for _, tile in tiling]
    assert len({number for number, _ in tiling}) == len(made) == len(tiling)
    assert all(np.prod(tile[3:]) <= 1 << log_bytes for tile in made)
    corners = np.array([tile[:3] for tile in made])
    assert len(np.unique(corners, axis=0)) == len(made)
    assert (corners.min(axis=0) <= first * 8).all()
    assert (corners.max(axis=0) + made[0][3:] >= (last + 1) * 8).all()
    assert (((corners - made[0][:3]) % made[0][3:]) == 0).all()
    assert (np.array(made[0][:3]) <= home * 8).all()
    assert (home * 8 < np.array(made[0][:3]) + made[0][3:]).all()


def test_a_long_range_needs_little_memory() -> None:
    voxels, rng = VoxelMap(0.05, max_range=100.0), np.random.default_rng(0)
    angles = rng.uniform(0, 2 * np.pi, 300)
    points = np.column_stack([90 * np.cos(angles), 90 * np.sin(angles), rng.uniform(-5, 5, 300)])
    voxels.integrate(points, np.zeros(3), every_ray=True)
    assert voxels._marker._words.nbytes <= voxels._marker.tile_bytes
    assert (voxels.log_odds(points) > 0).all()
    assert (voxels.log_odds(points * 0.9) < 0).all()


def test_origins_too_far_apart_for_one_tile_are_refused() -> None:
    voxels = VoxelMap(0.1)
    voxels._marker.tile_bytes = 4096
    with pytest.raises(ValueError, match="apart"):
        voxels.integrate(np.array([[0.5, 0.0, 0.0], [9.0, 0.0, 0.0]]), np.array([[0.0, 0.0, 0.0], [8.0, 0.0, 0.0]]))


def test_each_point_is_seen_from_its_own_origin_and_blocks_get_the_latest_stamp() -> None:
    voxels = VoxelMap(0.1)
    points = np.array([[1.05, 0.05, 0.05], [1.05, 2.05, 0.05]])
    origins = np.array([[0.05, 0.05, 0.05], [0.05, 2.05, 0.05]])
    voxels.integrate(points, origins, np.array([3.0, 4.0]), every_ray=True)
    np.testing.assert_allclose(np.sort(voxels.occupied(), axis=0), points)
    free = np.unique(np.round(voxels.free()[:, 1], 2))
    assert free.tolist() == [0.05, 2.05]
    assert len(voxels.free()) == 20
    assert set(voxels.blocks.stamps[: voxels.blocks.n].tolist()) == {4.0}


def test_what_has_no_ray_is_skipped_and_counted() -> None:
    voxels = VoxelMap(0.1)
    origin = np.array([0.05, 0.05, 0.05])
    points = np.array([[np.nan, 0, 0], [np.inf, 0, 0], [0, 0, -np.inf], origin, [1e300, 1e300, 0], [1.05, 0.05, 0.05]])
    for every_ray in (False, True):
        voxels.integrate(points, origin, every_ray=every_ray)
    assert voxels.stats()["skipped"] == 10
    np.testing.assert_allclose(voxels.occupied(), [[1.05, 0.05, 0.05]])
    origins = np.tile(origin, (3, 1))
    origins[0], origins[1] = [1e9, 0.0, 0.0], [np.nan, 0.0, 0.0]
    voxels.integrate(np.tile(points[-1:], (3, 1)), origins)
    assert voxels.stats()["skipped"] == 12
    voxels.integrate(points[-1:], origins[:1].repeat(1, axis=0) * 0 + origin)
    voxels.integrate(np.empty((0, 3)), origin)
    assert voxels.stats()["skipped"] == 12
    with pytest.raises(ValueError, match="origin"):
        voxels.integrate(points, origins)


@pytest.mark.parametrize("settings", [{"threads": 0}, {"integrator": "beams"}])
def test_senseless_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="need"):
        VoxelMap(0.1, **settings)


def test_the_integrator_is_saved_with_the_map() -> None:
    voxels = observed(frames(3, CAMERA), integrator="rays")
    assert VoxelMap.load(voxels.save()).integrator == "rays"
    assert "integrator" not in observed(frames(3, CAMERA)).save().params


def test_leaf_functions_give_the_same_as_plain_python() -> None:
    rng = np.random.default_rng(0)
    steps = integrate.byte_steps(0.85, -0.4, -2.0, 3.5)
    model = sensors.sensor_model(Equirectangular(40, 20))
    for _ in range(200):
        p, q = rng.normal(size=3), rng.normal(size=3)
        calls: list[tuple[Any, tuple[Any, ...]]] = [
            (integrate.new_byte, (int(rng.integers(3)), np.int8(rng.integers(-128, 113)), steps)),
            (rays.cut_point, (p, q, 1.5)),
            (rays.crossings, (p[0], q[0])),
            (rays.next_axis, tuple(p)),
            (rays.flat_index, (*rng.integers(-5, 30, 3).tolist(), (0, 0, 0, 24, 16, 8))),
            (project.measured, (p[0], 1.3, 0.1, 1.0)),
            (project.pixel_of, (p[0], p[1], abs(p[2]) + 0.1, (20.0, 20.0, 10.0, 8.0), (16, 20))),
            (sensors.pixel_of_point, (*p, *model)),
        ]
        for function, arguments in calls:
            ours, plain = np.atleast_1d(function(*arguments)), np.atleast_1d(function.py_func(*arguments))
            np.testing.assert_allclose(ours, plain, rtol=1e-12, err_msg=str(function))


def test_kernels_that_threads_share_leave_the_lock() -> None:
    for module in (integrate, project, rays):
        for name, function in inspect.getmembers(module, lambda member: isinstance(member, Dispatcher)):
            takes_a_range = {"start", "stop"} <= set(inspect.signature(function.py_func).parameters)
            assert not (takes_a_range and not function.targetoptions.get("nogil")), name
