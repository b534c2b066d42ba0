"""Distorted pinholes, panoramas and LiDARs against OpenCV, brute-force projection and a room in closed form."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embmem.errors import RefusedObservation
from embmem.geometry import backproject, camera_pose, distort, invert_pose, pixel_rays, project, undistort
from embmem.ingress import IngressGate
from embmem.maps import VoxelMap
from embmem.maps.voxels.sensors import Equirectangular, Sensor, SpinningLidar
from embmem.observation import Intrinsics, Observation

LENS = (-0.28, 0.09, 0.0006, -0.0004, -0.01)
CAMERA = Intrinsics(64, 48, 40.0, 42.0, 30.0, 25.0, LENS)
RATIONAL = Intrinsics(50, 40, 32.0, 31.0, 24.0, 20.0, (0.4, -0.1, 0.001, 0.0005, 0.02, 0.6, -0.05, 0.01))
PANORAMA = Equirectangular(96, 48)
RINGS = tuple(np.radians([15.0, 11.0, 8.0, 5.0, 2.0, 0.0, -2.0, -4.0, -7.0, -10.0, -14.0, -20.0]).tolist())
LIDAR = SpinningLidar(RINGS, 120)
OTHER_LIDAR = SpinningLidar(RINGS[::-1], 75, first_azimuth=0.4, clockwise=True)
SENSORS = [CAMERA, RATIONAL, PANORAMA, LIDAR, OTHER_LIDAR]
coefficients = st.sampled_from([CAMERA.distortion, RATIONAL.distortion, (-0.2, 0.05, 0.001, -0.001)])


def matrix(k: Intrinsics) -> np.ndarray:
    return k.matrix()


@given(st.integers(0, 2**31), coefficients)
def test_projection_with_a_lens_equals_opencv(seed: int, lens: tuple[float, ...]) -> None:
    rng = np.random.default_rng(seed)
    k = Intrinsics(640, 480, 500.0, 510.0, 310.0, 250.0, lens)
    points = np.column_stack([rng.uniform(-1, 1, (20, 2)), rng.uniform(1, 3, 20)])
    expected, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), matrix(k), np.array(lens))
    np.testing.assert_allclose(project(points, k), expected[:, 0], atol=1e-9)


@pytest.mark.parametrize("k", [CAMERA, RATIONAL])
def test_backprojection_with_a_lens_equals_opencv(k: Intrinsics) -> None:
    v, u = np.mgrid[: k.height, : k.width].astype(np.float64)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 500, 1e-12)
    pixels = np.stack([u, v], -1).reshape(-1, 1, 2)
    lens = np.array(k.distortion)
    expected = cv2.undistortImagePoints(pixels, matrix(k), lens, None, criteria)[:, 0]
    expected = (expected - [k.cx, k.cy]) / [k.fx, k.fy]
    np.testing.assert_allclose(pixel_rays(k)[..., :2].reshape(-1, 2), expected, atol=1e-6)
    depth = np.full((k.height, k.width), 2.0, dtype=np.float32)
    back = project(backproject(depth, k).reshape(-1, 3).astype(np.float64), k)
    np.testing.assert_allclose(back, pixels[:, 0], atol=1e-3)


@given(st.integers(0, 2**31), coefficients)
def test_undistort_is_the_inverse_of_distort(seed: int, lens: tuple[float, ...]) -> None:
    points = np.random.default_rng(seed).uniform(-0.6, 0.6, (30, 2))
    np.testing.assert_allclose(undistort(distort(points, lens), lens), points, atol=1e-7)


@pytest.mark.parametrize("lens", [(0.1,), (0.1, 0.0, np.nan, 0.0), (0.0,) * 6, (np.inf, 0.0, 0.0, 0.0)])
def test_the_gate_refuses_senseless_distortion(lens: tuple[float, ...]) -> None:
    k = Intrinsics(4, 3, 4.0, 4.0, 1.5, 1.0, lens)
    with pytest.raises(RefusedObservation, match="distortion"):
        IngressGate().admit(Observation(0.0, np.eye(4), k))


@pytest.mark.parametrize("make", [
    lambda: Equirectangular(0, 4), lambda: SpinningLidar((0.1,), 10), lambda: SpinningLidar((0.1, 0.1), 10),
    lambda: SpinningLidar((0.0, 2.0), 10), lambda: SpinningLidar((0.0, 0.1), 0),
    lambda: SpinningLidar((0.0, 0.1), 10, first_azimuth=float("nan")),
])  # fmt: skip
def test_senseless_sensors_are_refused(make) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="need"):
        make()


def test_an_image_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="sensor"):
        VoxelMap().integrate_image(np.ones((3, 3)), PANORAMA, np.eye(4))


def image_size(sensor: Sensor) -> tuple[int, int]:
    return (len(sensor.elevations), sensor.width) if isinstance(sensor, SpinningLidar) else (
        sensor.height, sensor.width)  # fmt: skip


def rays_of(sensor: Sensor) -> np.ndarray:
    """(h, w, 3) in plain formulas."""
    height, width = image_size(sensor)
    if isinstance(sensor, Intrinsics):
        return backproject(np.ones((height, width), dtype=np.float32), sensor).astype(np.float64)
    if isinstance(sensor, Equirectangular):
        az = np.radians((np.arange(width) + 0.5) * 360.0 / width - 180.0)[None, :]
        el = np.radians(90.0 - (np.arange(height) + 0.5) * 180.0 / height)[:, None]
        return np.stack([np.cos(el) * np.sin(az), -np.sin(el) * np.ones_like(az), np.cos(el) * np.cos(az)], -1)
    sign = -1.0 if sensor.clockwise else 1.0
    az = (sensor.first_azimuth + sign * np.arange(width) * 2 * np.pi / width)[None, :]
    el = np.array(sensor.elevations)[:, None]
    return np.stack([np.cos(el) * np.cos(az), np.cos(el) * np.sin(az), np.sin(el) * np.ones_like(az)], -1)


def pixels_of(sensor: Sensor, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(row, column, distance, whether rounding may decide) of points in the sensor's frame; row -1 if unseen."""
    height, width = image_size(sensor)
    if isinstance(sensor, Intrinsics):
        with np.errstate(all="ignore"):
            u, v = project(points, sensor).T
        slope = np.hypot(*points[:, :2].T) / np.maximum(points[:, 2], 1e-9)
        seen = (points[:, 2] > 1e-3) & (slope < np.hypot(*rays_of(sensor)[..., :2].reshape(-1, 2).T).max() * 1.004)
        exact, distance = np.stack([v + 0.5, u + 0.5]), points[:, 2]
    else:
        x, y, z = points.T
        distance = np.linalg.norm(points, axis=1)
        seen = distance > 1e-3
        if isinstance(sensor, Equirectangular):
            row = (0.5 + np.arcsin(y / distance) / np.pi) * height
            exact = np.stack([row, (np.arctan2(x, z) / (2 * np.pi) + 0.5) * width])
        else:
            el, rings = np.arcsin(z / distance), np.array(sensor.elevations)
            nearest = np.abs(el[:, None] - rings).argmin(axis=1)
            gaps = np.sort(np.abs(el[:, None] - rings), axis=1)
            bottom, top = np.sort(rings)[[0, 1]], np.sort(rings)[[-1, -2]]
            edges = bottom[0] - (bottom[1] - bottom[0]) / 2, top[0] + (top[0] - top[1]) / 2
            seen &= (el > edges[0]) & (el < edges[1])
            tie = (gaps[:, 1] - gaps[:, 0] < 1e-9) | (np.abs(el[:, None] - edges) < 1e-9).any(axis=1)
            sign = -1.0 if sensor.clockwise else 1.0
            turn = sign * (np.arctan2(y, x) - sensor.first_azimuth) / (2 * np.pi) * width
            exact = np.stack([nearest + np.where(tie, 0.0, 0.5), turn % width + 0.5])
    exact = np.clip(np.where(np.isfinite(exact), exact, -5.0), -1e6, 1e6)
    row, column = np.floor(exact).astype(int)
    if not isinstance(sensor, Intrinsics):
        column %= width
    seen &= (row >= 0) & (row < height) & (column >= 0) & (column < width)
    unsure = (np.abs(exact - np.round(exact)) < 1e-6).any(axis=0)
    return np.where(seen, row, -1), column, distance, unsure


def voxel_set(points: np.ndarray, resolution: float) -> set[tuple[int, ...]]:
    return {tuple(x) for x in np.floor(points / resolution).astype(int).tolist()}


def bumpy(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    patches = np.kron(rng.uniform(0.4, 3.2, (size[0] // 4 + 1, size[1] // 4 + 1)), np.ones((4, 4)))
    ranges = patches[: size[0], : size[1]] + rng.uniform(0, 0.1, size)
    for bad in (np.nan, -1.0, 0.0, np.inf):
        ranges[rng.random(size) < 0.03] = bad
    return ranges.astype(np.float32)


@pytest.mark.parametrize("sensor", SENSORS)
@pytest.mark.parametrize("seed", [0, 1])
def test_range_images_match_brute_force_projection(sensor: Sensor, seed: int) -> None:
    rng, res, max_range = np.random.default_rng(seed), 0.1, 2.5
    ranges, rays = bumpy(rng, image_size(sensor)), rays_of(sensor)
    T = camera_pose(rng.uniform(-1, 1, 3), rng.uniform(-3, 3), rng.uniform(-0.8, 0.8))
    voxels = VoxelMap(res, max_range=max_range)
    voxels.integrate_image(ranges, sensor, T)

    length = np.linalg.norm(rays, axis=-1)
    valid = np.isfinite(ranges) & (ranges > 0) & np.isfinite(length)
    is_far = valid & (ranges * length > max_range)
    scale = np.where(is_far, max_range / length, np.where(valid, ranges, np.nan))
    ends = (rays * scale[..., None]) @ T[:3, :3].T + T[:3, 3]
    hits, cut = voxel_set(ends[valid & ~is_far], res), voxel_set(ends[is_far], res)
    reach = np.where(is_far, scale, np.where(valid, ranges - res * np.sqrt(3) / 2, 0.0))

    low, high = np.floor((T[:3, 3] - 3.2) / res), np.floor((T[:3, 3] + 3.2) / res)
    box = np.stack(np.meshgrid(*[np.arange(a, b) for a, b in zip(low, high, strict=True)], indexing="ij"), -1)
    box = box.reshape(-1, 3)
    inverse = invert_pose(T)
    row, column, distance, unsure = pixels_of(sensor, ((box + 0.5) * res) @ inverse[:3, :3].T + inverse[:3, 3])
    free = (row >= 0) & (distance <= reach[row, np.clip(column, 0, reach.shape[1] - 1)])
    unsure |= np.abs(distance - reach[row, np.clip(column, 0, reach.shape[1] - 1)]) < 1e-5
    expected = {tuple(b) for b in box[free].astype(int).tolist()} | cut
    either = {tuple(b) for b in box[unsure].astype(int).tolist()}
    on_edge = np.abs(ends / res - np.round(ends / res)).min(axis=-1) < 1e-5  # float32 rays of the reference
    grazed = voxel_set(ends[valid & on_edge], res)
    grazed |= {(x + i, y + j, z + k) for x, y, z in grazed for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)}

    assert voxel_set(voxels.occupied(), res) ^ hits <= grazed
    assert voxel_set(voxels.free(), res) ^ (expected - hits) <= either | grazed
    assert len(voxels.free()) > 500


def room_ranges(rays: np.ndarray, T: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Range to the walls of a box around the origin, in closed form."""
    directions = rays @ T[:3, :3].T
    with np.errstate(divide="ignore"):
        t = np.maximum((half - T[:3, 3]) / directions, (-half - T[:3, 3]) / directions)
    return np.asarray(t.min(axis=-1))


@pytest.mark.parametrize("integrator", ["projective", "ends", "rays"])
@pytest.mark.parametrize("sensor", SENSORS)
def test_a_room_is_free_inside_and_solid_at_its_walls(sensor: Sensor, integrator: str) -> None:
    half, res = np.array([1.75, 1.35, 1.15]), 0.1  # walls in the middle of voxels
    T = camera_pose(np.array([0.2, -0.1, 0.15]), 0.4, 0.1)
    if isinstance(sensor, SpinningLidar):
        T[:3, :3] = np.eye(3)
    ranges = room_ranges(rays_of(sensor), T, half)
    voxels = VoxelMap(res, integrator=integrator)
    voxels.integrate_image(ranges, sensor, T)
    occupied, free = voxels.occupied(), voxels.free()
    assert np.abs(np.abs(occupied) - half).min(axis=1).max() <= res / 2 + 1e-6
    assert (np.abs(free) < half + res / 2).all()
    assert len(occupied) > 100
    assert len(free) > len(occupied)
    inner = np.floor(T[:3, 3] / res) + 0.5
    toward = rays_of(sensor)[image_size(sensor)[0] // 2, 5] @ T[:3, :3].T
    assert (voxels.log_odds((inner * res + 0.6 * toward / np.linalg.norm(toward))[None]) < 0).all()


@pytest.mark.parametrize("sensor", SENSORS)
def test_rays_of_an_image_equal_rays_to_its_points(sensor: Sensor) -> None:
    rng = np.random.default_rng(4)
    ranges = bumpy(rng, image_size(sensor)).astype(np.float64)
    T = camera_pose(rng.uniform(-1, 1, 3), 0.3, 0.2)
    rays = pixel_rays(sensor) if isinstance(sensor, Intrinsics) else sensor.directions()
    is_valid = np.isfinite(ranges) & (ranges > 0)
    points = (rays[is_valid] * ranges[is_valid][:, None]) @ T[:3, :3].T + T[:3, 3]
    for integrator in ("ends", "rays"):
        image, cloud = (VoxelMap(0.07, max_range=2.0, integrator=integrator) for _ in range(2))
        image.integrate_image(ranges, sensor, T)
        cloud.integrate(points, T[:3, 3].copy(), every_ray=integrator == "rays")
        a, b = (voxel_set(each.occupied(), 0.07) for each in (image, cloud))
        assert len(a ^ b) <= 2  # an end on a face
        a, b = (voxel_set(each.free(), 0.07) for each in (image, cloud))
        assert len(a ^ b) <= 0.002 * len(a) + 2


def test_a_lens_changes_the_map_and_a_plain_pinhole_takes_the_fast_path() -> None:
    plain = Intrinsics(64, 48, 40.0, 42.0, 30.0, 25.0)
    none = Intrinsics(64, 48, 40.0, 42.0, 30.0, 25.0, (0.0,) * 4)
    depth, maps = np.full((48, 64), 2.0, dtype=np.float32), []
    for k in (plain, none, CAMERA):
        maps.append(VoxelMap(0.1))
        maps[-1].observe(Observation(0.0, camera_pose(np.zeros(3), 0.0), k, depth=depth))
    occupied = [voxel_set(each.occupied(), 0.1) for each in maps]
    free = [voxel_set(each.free(), 0.1) for each in maps]
    assert occupied[0] == occupied[1] != occupied[2]
    assert len(free[0] ^ free[1]) <= 0.001 * len(free[0])
