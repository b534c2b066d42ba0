"""The Euclidean field against scipy on dense copies, brute force, and itself computed anew."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.interpolate import RegularGridInterpolator
from scipy.ndimage import distance_transform_edt

from embmem.geometry import camera_pose
from embmem.maps import VoxelMap
from embmem.maps.voxels.euclidean import EuclideanField
from embmem.protocols import Deformation
from embmem.testing import wall_ahead

RES = 0.25
N = 56  # voxels along the edge of the dense copy
clouds = arrays(np.float64, st.tuples(st.integers(1, 12), st.just(3)), elements=st.floats(-2.0, 2.0, width=32))
origins = arrays(np.float64, 3, elements=st.floats(-1.0, 1.0, width=32))
frames = st.lists(st.tuples(clouds, origins), min_size=1, max_size=4)
policies = st.sampled_from(["free", "occupied"])
reaches = st.sampled_from([0.25, 0.8, 1.6, 2.3])  # 1, 3.2, 6.4 and 9.2 voxels


def dense_points() -> np.ndarray:
    axis = (np.arange(N) - N // 2 + 0.5) * RES
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)


def dense_field(voxels: VoxelMap, max_distance: float, unknown: str) -> np.ndarray:
    """The definition, written with scipy on all voxels of a box that is wider than the map by more than the reach."""
    odds = voxels.log_odds(dense_points()).reshape(N, N, N)
    solid = odds > 0 if unknown == "free" else ~(odds <= 0)
    if solid.all() or not solid.any():
        return np.full(solid.shape, -max_distance if solid.all() else max_distance)
    distance = np.where(solid, -distance_transform_edt(solid), distance_transform_edt(~solid)) * RES
    is_far = np.abs(distance) > max_distance * (1 + 1e-9)
    return np.where(is_far, np.copysign(max_distance, distance), distance)


@given(frames, policies, reaches)
@settings(max_examples=20)
def test_equals_scipy_on_a_dense_copy_after_every_frame(
    steps: list[tuple[np.ndarray, np.ndarray]], unknown: str, reach: float
) -> None:
    voxels = VoxelMap(RES, max_range=2.0, hit=0.5, miss=-0.45)  # one miss takes back most of a hit
    field = EuclideanField(voxels, reach, unknown=unknown)
    for points, origin in steps:
        voxels.integrate(points, origin)
        field.update()
        ours = field.distance(dense_points()).reshape(N, N, N)
        np.testing.assert_allclose(ours, dense_field(voxels, reach, unknown), rtol=1e-12)


@given(frames, policies, reaches)
@settings(max_examples=30)
def test_updates_equal_a_full_computation_bit_for_bit(
    steps: list[tuple[np.ndarray, np.ndarray]], unknown: str, reach: float
) -> None:
    voxels = VoxelMap(RES, max_range=2.0, hit=0.5, miss=-0.45)
    field = EuclideanField(voxels, reach, unknown=unknown)
    for points, origin in steps:
        voxels.integrate(points, origin)
        field.update()
        field.distance(points + 1.0)  # blocks beside the map
    anew = EuclideanField(voxels, reach, unknown=unknown)
    anew.update()
    points = np.random.default_rng(0).uniform(-5, 5, (3000, 3))
    assert field.distance(points).tobytes() == anew.distance(points).tobytes()
    assert field.gradient(points).tobytes() == anew.gradient(points).tobytes()


def test_a_thing_that_left_leaves_no_trace() -> None:
    voxels = VoxelMap(0.1)
    field = EuclideanField(voxels, 1.0)
    wall = np.array([[2.05, y, z] for y in np.arange(-1, 1, 0.1) for z in np.arange(0, 2, 0.1)])
    thing = np.array([[1.05, 0.05, 1.05]])
    voxels.integrate(thing, np.array([0.05, 0.05, 1.05]))
    field.update()
    before = field.distance(np.array([[1.05, 0.05, 1.05], [1.05, 0.35, 1.05], [1.05, 0.35, 1.45]]))
    np.testing.assert_allclose(before, [-0.1, 0.3, 0.5])
    for _ in range(10):
        voxels.integrate(wall, np.array([0.05, 0.05, 1.05]))
        field.update()
    np.testing.assert_allclose(field.distance(thing), [1.0])


def test_unknown_space_is_as_solid_as_asked_for() -> None:
    voxels = VoxelMap(0.1)
    voxels.observe(wall_ahead(distance=2.0))
    free, solid = EuclideanField(voxels), EuclideanField(voxels, unknown="occupied")
    free.update()
    solid.update()
    behind_the_camera = np.array([[-0.55, 0.05, 1.05]])
    assert free.distance(behind_the_camera)[0] == pytest.approx(2.0)
    assert solid.distance(behind_the_camera)[0] < 0
    before_the_wall = np.array([[1.45, 0.45, 1.05]])
    assert solid.distance(before_the_wall)[0] <= free.distance(before_the_wall)[0] < 0.6


@given(clouds, arrays(np.float64, (20, 3), elements=st.floats(-3.0, 3.0, width=32)))
@settings(max_examples=25)
def test_interpolation_matches_scipy_and_gradients_finite_differences(points: np.ndarray, asked: np.ndarray) -> None:
    voxels = VoxelMap(RES, max_range=3.9)
    voxels.integrate(points, np.zeros(3))
    field = EuclideanField(voxels, 1.6)
    field.update()
    axis = (np.arange(N) - N // 2 + 0.5) * RES
    peer = RegularGridInterpolator((axis, axis, axis), dense_field(voxels, 1.6, "free"))
    np.testing.assert_allclose(field.distance(asked, interpolate=True), peer(asked), atol=1e-12)
    # inside of a cell between centres, where the interpolated field is smooth
    place = asked / RES - 0.5
    asked = (np.floor(place) + np.clip(place - np.floor(place), 0.1, 0.9) + 0.5) * RES
    step = 1e-3 * RES
    slopes = [(peer(asked + step * e) - peer(asked - step * e)) / (2 * step) for e in np.eye(3)]
    np.testing.assert_allclose(field.gradient(asked), np.stack(slopes, axis=1), atol=1e-8)


def test_the_gradient_leads_away_from_a_wall() -> None:
    voxels = VoxelMap(0.1)
    voxels.integrate(
        np.array([[2.05, y, z] for y in np.arange(-2, 2, 0.05) for z in np.arange(-2, 2, 0.05)]), np.zeros(3)
    )
    field = EuclideanField(voxels, 1.0)
    field.update()
    np.testing.assert_allclose(field.gradient(np.array([[1.5, 0.0, 0.0]])), [[-1.0, 0.0, 0.0]], atol=1e-12)
    np.testing.assert_allclose(field.distance(np.array([[1.5, 0.0, 0.0]]), interpolate=True), [0.55])
    assert (field.gradient(np.array([[0.5, 0.0, 0.0]])) == 0.0).all()


def test_an_update_computes_only_what_a_change_may_concern() -> None:
    voxels = VoxelMap(0.1)
    field = EuclideanField(voxels, 1.0)
    rng = np.random.default_rng(1)
    for x in range(8):
        voxels.integrate(rng.uniform(-2, 2, (300, 3)) + np.array([4.0 * x, 0, 0]), np.array([4.0 * x, 0.0, 0.0]))
    n_blocks = field.update()
    assert n_blocks == voxels.blocks.n
    assert field.update() == 0
    voxels.integrate(np.array([[0.55, 0.55, 0.55]]), np.array([0.55, 0.55, 0.35]))
    assert 0 < field.update() < n_blocks / 8


def test_a_field_follows_a_deformed_map() -> None:
    voxels = VoxelMap(RES)
    voxels.integrate(np.array([[1.1, 0.1, 0.1]]), np.full(3, 0.1), stamp=1.0)
    field = EuclideanField(voxels, 1.0)
    field.update()
    T = camera_pose(np.array([0.0, 8 * RES, 0.0]), np.pi / 2, 0.0)
    voxels.deform(Deformation(stamps=np.array([1.0]), T_new_old=T[None]))
    field.update()
    occupied = voxels.occupied()
    np.testing.assert_allclose(field.distance(occupied), -RES)
    np.testing.assert_allclose(field.distance(occupied + np.array([0, 0, 2 * RES])), 2 * RES)


def test_empty_maps_and_points_out_of_range_have_answers() -> None:
    field = EuclideanField(VoxelMap(), 1.0)
    assert field.update() == 0
    points = np.array([[0.0, 0.0, 0.0], [np.nan, 0.0, 0.0], [np.inf, 0.0, 0.0], [1e12, 0.0, 0.0]])
    for interpolate in (False, True):
        distances = field.distance(points, interpolate=interpolate)
        assert distances[0] == 1.0
        assert np.isnan(distances[1:]).all()
    assert np.isnan(field.gradient(points)[1:]).all()
    assert len(field.distance(np.empty((0, 3)))) == 0
    solid = EuclideanField(VoxelMap(), 1.0, unknown="occupied")
    assert solid.distance(np.zeros((1, 3)))[0] == -1.0


def test_asking_far_away_does_not_grow_the_field() -> None:
    voxels = VoxelMap(0.1)
    voxels.observe(wall_ahead())
    field = EuclideanField(voxels, 1.0)
    field.update()
    before = field.n_bytes()
    field.distance(np.random.default_rng(0).uniform(50, 90, (1000, 3)))
    assert field.n_bytes() == before


@pytest.mark.parametrize("max_distance", [0.0, 0.05, 12.8, float("nan"), float("inf")])
def test_reaches_out_of_range_are_refused(max_distance: float) -> None:
    with pytest.raises(ValueError, match="max_distance"):
        EuclideanField(VoxelMap(0.1), max_distance)


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown"):
        EuclideanField(VoxelMap(), unknown="maybe")
