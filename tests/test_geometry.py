"""Poses and the pinhole camera against closed forms and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from embmem.geometry import (
    backproject,
    camera_pose,
    heading,
    invert_pose,
    pose_matrix,
    project,
    rotation_angle,
    transform_points,
)
from embmem.observation import Intrinsics

angles = st.floats(-3.1, 3.1)
pitches = st.floats(-1.5, 1.5)


@given(angles, pitches)
def test_camera_pose_is_a_rotation_that_heading_inverts(yaw: float, pitch: float) -> None:
    T = camera_pose(np.array([1.0, 2.0, 3.0]), yaw, pitch)
    np.testing.assert_allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(T[:3, :3]) == pytest.approx(1.0)
    np.testing.assert_allclose(heading(T), (yaw, pitch), atol=1e-7)


def test_optical_axes_of_a_level_camera() -> None:
    T = camera_pose(np.zeros(3), 0.0)
    np.testing.assert_allclose(T[:3, :3] @ [0, 0, 1], [1, 0, 0], atol=1e-12)  # forward is map x
    np.testing.assert_allclose(T[:3, :3] @ [1, 0, 0], [0, -1, 0], atol=1e-12)  # right is map -y
    np.testing.assert_allclose(T[:3, :3] @ [0, 1, 0], [0, 0, -1], atol=1e-12)  # down is map -z


@given(angles, angles, angles)
def test_pose_matrix_equals_scipy_and_inverts(a: float, b: float, c: float) -> None:
    rotation = Rotation.from_euler("xyz", [a, b, c])
    T = pose_matrix(np.array([1.0, -2.0, 0.5]), rotation.as_quat())
    np.testing.assert_allclose(T[:3, :3], rotation.as_matrix(), atol=1e-12)
    np.testing.assert_allclose(T @ invert_pose(T), np.eye(4), atol=1e-12)


@pytest.mark.parametrize(
    ("position", "quat", "what"),
    [
        ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 2.0], "length 2"),
        ([0.0, np.nan, 0.0], [0.0, 0.0, 0.0, 1.0], "not finite"),
        ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], "length 0"),
    ],
)
def test_bad_poses_are_refused_with_the_value(position: list[float], quat: list[float], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        pose_matrix(np.array(position), np.array(quat))


@given(st.floats(0.3, 9.0), angles, pitches)
def test_projection_inverts_backprojection(depth: float, yaw: float, pitch: float) -> None:
    k = Intrinsics.from_fov(16, 12, 79.0)
    image = np.full((12, 16), depth, dtype=np.float32)
    image[3, 4] = np.nan
    points = backproject(image, k)
    assert np.isnan(points[3, 4]).all()
    v, u = np.nonzero(np.isfinite(image))
    T = camera_pose(np.array([1.0, 2.0, 0.9]), yaw, pitch)
    in_map = transform_points(T, points[v, u].astype(np.float64))
    back = project(transform_points(invert_pose(T), in_map), k)
    np.testing.assert_allclose(back, np.stack([u, v], axis=1), atol=1e-3)


@given(angles, angles)
def test_the_angle_between_two_headings_is_the_shorter_way(a: float, b: float) -> None:
    R = [camera_pose(np.zeros(3), yaw)[:3, :3] for yaw in (a, b)]
    expected = np.abs(np.angle(np.exp(1j * (a - b))))
    assert rotation_angle(R[0].T @ R[1]) == pytest.approx(expected, abs=1e-6)


def test_points_behind_the_camera_do_not_project() -> None:
    assert np.isnan(project(np.array([[0.0, 0.0, -1.0]]), Intrinsics.from_fov(4, 4, 90.0))).all()
