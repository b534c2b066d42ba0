"""Registration: finds the motion, equals the ICP of Open3D, refuses what slides, is ambiguous or in empty space."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from embmem.geometry import invert_pose, transform_points
from embmem.maps.coarse_alignment import SearchRange
from embmem.maps.registration import Acceptance, Registration, prepare, register, seen_free

VOXEL = 0.1


def rectangle(corner: list[float], u: list[float], v: list[float], rng: np.random.Generator) -> np.ndarray:
    """Points on a rectangle, about one a voxel, 5 mm noisy."""
    n = int(np.linalg.norm(u) * np.linalg.norm(v) / VOXEL**2)
    at = rng.uniform(size=(n, 2))
    return np.array(corner) + at[:, :1] * np.array(u) + at[:, 1:] * np.array(v) + rng.normal(0, 0.005, (n, 3))


def room(seed: int, *, furniture: bool = True) -> np.ndarray:
    """An L-shaped room around the origin, with a cupboard and a table; no two headings look alike."""
    rng = np.random.default_rng(seed)
    parts = [
        rectangle([-2, -1.5, 0], [5, 0, 0], [0, 4, 0], rng), rectangle([-2, -1.5, 0], [5, 0, 0], [0, 0, 2], rng),
        rectangle([-2, -1.5, 0], [0, 4, 0], [0, 0, 2], rng), rectangle([3, -1.5, 0], [0, 2.5, 0], [0, 0, 2], rng),
        rectangle([-2, 2.5, 0], [3, 0, 0], [0, 0, 2], rng), rectangle([1, 1, 0], [0, 1.5, 0], [0, 0, 2], rng),
        rectangle([1, 1, 0], [2, 0, 0], [0, 0, 2], rng),
    ]  # fmt: skip
    if furniture:
        parts += [
            rectangle([-2, 1.5, 1.2], [0.6, 0, 0], [0, 1, 0], rng),
            rectangle([-1.4, 1.5, 0], [0, 1, 0], [0, 0, 1.2], rng),
            rectangle([1.2, -1.2, 0.7], [1.1, 0.3, 0], [-0.2, 0.7, 0], rng),
        ]
    return np.concatenate(parts)


def motion(x: float, y: float, z: float, yaw: float, tilt: float = 0.0) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = Rotation.from_euler("zx", [yaw, tilt]).as_matrix()
    T[:3, 3] = x, y, z
    return T


def difference(found: Registration, T: np.ndarray) -> tuple[float, float]:
    """(distance [m], angle [rad])."""
    E = invert_pose(found.T_target_source) @ T
    return float(np.linalg.norm(E[:3, 3])), float(np.linalg.norm(Rotation.from_matrix(E[:3, :3]).as_rotvec()))


@settings(max_examples=15)
@given(st.floats(-0.15, 0.15), st.floats(-0.15, 0.15), st.floats(-0.1, 0.1), st.floats(-0.08, 0.08))
def test_a_small_motion_is_found_from_a_guess(x: float, y: float, z: float, yaw: float) -> None:
    T = motion(x, y, z, yaw)
    found = register(transform_points(invert_pose(T), room(1)), room(2), np.eye(4), voxel=VOXEL)
    assert found.is_verified, found.why_not
    distance, angle = difference(found, T)
    assert distance < 0.01
    assert angle < 0.005


@settings(max_examples=6)
@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-np.pi, np.pi))
def test_any_upright_motion_is_found_without_a_guess(x: float, y: float, yaw: float) -> None:
    T = motion(x, y, 0.0, yaw)
    found = register(transform_points(invert_pose(T), room(1)), room(2), voxel=VOXEL)
    assert found.is_verified, found.why_not
    assert difference(found, T)[0] < 0.01


def test_the_search_stays_within_its_range() -> None:
    T = motion(2.0, 0.0, 0.0, 1.0)
    source = transform_points(invert_pose(T), room(1))
    near = register(source, room(2), np.eye(4), voxel=VOXEL, search=SearchRange(0.5, 0.3))
    assert not near.is_verified
    far = register(source, room(2), np.eye(4), voxel=VOXEL, search=SearchRange(2.5, 1.2))
    assert far.is_verified
    lifted = transform_points(motion(0.0, 0.0, -0.8, 0.0), source)
    found = register(lifted, room(2), np.eye(4), voxel=VOXEL, search=SearchRange(2.5, 1.2, height=1.0))
    assert found.is_verified
    assert found.T_target_source[2, 3] == pytest.approx(0.8, abs=0.01)


def test_features_find_a_motion_in_any_attitude() -> None:
    pytest.importorskip("open3d", reason="needs Open3D (extra recon)")
    T = motion(1.0, -2.0, 0.5, 2.0, tilt=0.8)
    found = register(transform_points(invert_pose(T), room(1)), room(2), voxel=VOXEL, upright=False)
    assert found.is_verified, found.why_not
    assert difference(found, T)[0] < 0.01


def test_it_ends_where_the_icp_of_open3d_ends() -> None:
    o3d: Any = pytest.importorskip("open3d", reason="needs Open3D (extra recon)")
    T = motion(0.1, -0.05, 0.05, 0.05, tilt=0.03)
    source, target = transform_points(invert_pose(T), room(1)), room(2)
    clouds = [o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points)) for points in (source, target)]
    clouds[1].estimate_normals(o3d.geometry.KDTreeSearchParamKNN(12))
    reg = o3d.pipelines.registration
    theirs = np.eye(4)
    for reach in (0.5, 0.3, 0.15):
        theirs = reg.registration_icp(*clouds, reach, theirs, reg.TransformationEstimationPointToPlane()).transformation
    distance, angle = difference(register(source, target, np.eye(4), voxel=VOXEL), np.asarray(theirs))
    assert distance < 0.005
    assert angle < 0.002


def test_the_error_is_no_larger_than_the_covariance_says() -> None:
    """Mean squared Mahalanobis distance of 6 degrees of freedom is 6; it may be less, for real points err together."""
    errors = []
    for seed in range(12):
        found = register(room(2 * seed), room(2 * seed + 1), np.eye(4), voxel=VOXEL)
        R = Rotation.from_matrix(found.T_target_source[:3, :3]).as_rotvec()
        xi = np.concatenate([R, found.T_target_source[:3, :3].T @ found.T_target_source[:3, 3]])
        errors.append(xi @ np.linalg.inv(found.covariance) @ xi)
    assert 0.0 < np.mean(errors) < 6.0
    assert np.sqrt(np.diag(found.covariance)).max() < 0.02


def corridor(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    sides = [([-4.0, y, 0.0], [8.0, 0.0, 0.0], [0.0, 0.0, 2.0]) for y in (-0.8, 0.8)]
    return np.concatenate([rectangle(*side, rng) for side in [*sides, ([-4.0, -0.8, 0.0], [8.0, 0, 0], [0, 1.6, 0])]])


def test_a_corridor_slides_and_is_not_believed() -> None:
    found = register(corridor(1), corridor(2), motion(0.2, 0.0, 0.0, 0.0), voxel=VOXEL)
    assert not found.is_verified
    assert "slide" in found.why_not
    assert found.T_target_source[0, 3] == pytest.approx(0.2, abs=0.05)  # stays where the guess has it
    assert found.covariance[3, 3] > 100 * found.covariance[4, 4]


def test_a_wall_in_space_that_was_seen_to_be_empty_speaks_against_a_pose() -> None:
    source = np.concatenate([room(1), rectangle([0.5, -0.5, 0], [0, 1.2, 0], [0, 0, 2], np.random.default_rng(3))])
    target, head = room(2), np.array([-1.0, 0.0, 1.2])
    blind = register(source, target, np.eye(4), voxel=VOXEL)
    assert blind.is_verified
    strict = Acceptance(max_violation=0.02)
    seeing = register(source, target, np.eye(4), voxel=VOXEL, target_free=seen_free(target, head), acceptance=strict)
    assert not seeing.is_verified
    assert "empty" in seeing.why_not
    clean = register(room(1), target, np.eye(4), voxel=VOXEL, target_free=seen_free(target, head))
    assert clean.is_verified
    assert clean.violation < 0.01


def test_free_space_ends_before_the_points() -> None:
    target, head = room(2), np.array([-1.0, 0.0, 1.2])
    is_free = seen_free(target, head, margin=0.3)
    way = target - head
    ranges = np.linalg.norm(way, axis=1)
    clear = ranges > 0.8
    assert is_free(head + way * 0.3)[clear].mean() > 0.9
    assert not is_free(target).any()
    assert not is_free(head + way * 3.0).any()


def test_two_poses_that_fit_alike_are_ambiguous() -> None:
    rng = np.random.default_rng(0)
    square = np.concatenate([
        rectangle([-2, -2, 0], [4, 0, 0], [0, 0, 2], rng), rectangle([-2, 2, 0], [4, 0, 0], [0, 0, 2], rng),
        rectangle([-2, -2, 0], [0, 4, 0], [0, 0, 2], rng), rectangle([2, -2, 0], [0, 4, 0], [0, 0, 2], rng),
        rectangle([-2, -2, 0], [4, 0, 0], [0, 4, 0], rng),
    ])  # fmt: skip
    found = register(square, square, voxel=VOXEL)
    assert not found.is_verified
    assert "another pose" in found.why_not
    assert register(square, square, np.eye(4), voxel=VOXEL).is_verified


def test_different_rooms_are_not_taken_for_one() -> None:
    other = room(2, furniture=False)
    other[:, 0] *= 1.6
    other[:, 1] *= 0.6
    assert not register(room(1), other, voxel=VOXEL).is_verified


def test_same_bits_every_time_and_prepared_clouds_are_equal() -> None:
    T = motion(0.3, -0.5, 0.0, 0.7)
    source, target = transform_points(invert_pose(T), room(1)), room(2)
    one, two = (register(source, target, voxel=VOXEL) for _ in range(2))
    three = register(prepare(source), prepare(target), voxel=VOXEL)
    for other in (two, three):
        assert other.T_target_source.tobytes() == one.T_target_source.tobytes()
        assert other.covariance.tobytes() == one.covariance.tobytes()


def test_bad_input_is_refused_and_little_input_is_not_verified() -> None:
    with pytest.raises(ValueError, match="finite"):
        register(np.full((50, 3), np.nan), room(1))
    with pytest.raises(ValueError, match="guess"):
        register(room(1), room(2), np.full((4, 4), np.inf))
    with pytest.raises(ValueError, match="voxel"):
        register(room(1), room(2), voxel=0.0)
    with pytest.raises(ValueError, match="yaw"):
        SearchRange(yaw=4.0)
    vast = register(np.random.default_rng(0).uniform(0, 900, (200, 3)), room(2), voxel=0.01)
    assert not vast.is_verified
    assert "too large" in vast.why_not
    pole = np.linspace([0.0, 0, 0], [0.0, 0, 2], 40)
    assert "slide" in register(pole, pole, voxel=VOXEL).why_not
    few = register(np.zeros((5, 3)), room(2))
    assert not few.is_verified
    assert "points" in few.why_not
    apart = register(room(1), room(2) + 100.0, np.eye(4), voxel=VOXEL)
    assert not apart.is_verified
    strict = register(room(1), room(2), np.eye(4), voxel=VOXEL, acceptance=Acceptance(max_rmse=1e-4))
    assert "off" in strict.why_not
