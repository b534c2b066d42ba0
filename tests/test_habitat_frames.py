"""Habitat's frames, cameras and devices: closed forms and properties, without the simulator."""

from __future__ import annotations

import json
import math
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from embmem.geometry import camera_pose, heading
from embmem.observation import Intrinsics
from embmem.sim_envs.habitat.device import choose_gpu
from embmem.sim_envs.habitat.frames import (
    C,
    camera_from_habitat,
    camera_to_habitat,
    canonical,
    from_habitat,
    point_goal,
    rotation_from_habitat,
    rotation_to_habitat,
    start_pose,
    to_habitat,
    yaw_from_habitat,
)
from embmem.sim_envs.habitat.images import colours, make_semantics, metric_depth
from embmem.sim_envs.habitat.simulator import hfov_deg

coordinates = st.floats(-50, 50)
points = st.tuples(coordinates, coordinates, coordinates)
angles = st.floats(-math.pi, math.pi)


@given(points)
def test_points_turn_by_the_matrix_and_back(raw: tuple[float, float, float]) -> None:
    p = np.array(raw)
    np.testing.assert_allclose(from_habitat(p), C @ p)
    np.testing.assert_allclose(to_habitat(from_habitat(p)), p)
    assert np.linalg.det(C) == pytest.approx(1.0)


@given(angles, angles, angles)
def test_rotations_keep_their_angle_and_yaw_its_sign(a: float, b: float, c: float) -> None:
    R = Rotation.from_euler("xyz", [a, b, c]).as_matrix()
    np.testing.assert_allclose(rotation_to_habitat(rotation_from_habitat(R)), R, atol=1e-12)
    about_up = rotation_from_habitat(Rotation.from_euler("y", a).as_matrix())
    np.testing.assert_allclose(about_up, Rotation.from_euler("z", a).as_matrix(), atol=1e-12)
    # Turning a point there is turning its image here.
    p = np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(from_habitat(R @ p), rotation_from_habitat(R) @ from_habitat(p), atol=1e-9)


@given(points, angles, st.floats(-1.2, 1.2))
def test_a_sensor_of_habitat_is_our_optical_camera(raw: tuple[float, float, float], yaw: float, pitch: float) -> None:
    """Closed form: Habitat yaws about +y, then pitches about its own x; it looks along -z with y up."""
    turned = Rotation.from_euler("y", yaw) * Rotation.from_euler("x", pitch)
    T = camera_from_habitat(to_habitat(np.array(raw)), turned.as_quat())
    np.testing.assert_allclose(T, camera_pose(np.array(raw), yaw, pitch), atol=1e-9)
    np.testing.assert_allclose(T[:3, 2], from_habitat(turned.apply([0.0, 0.0, -1.0])), atol=1e-12)
    seen_yaw, seen_pitch = heading(T)
    assert math.cos(seen_yaw - yaw) == pytest.approx(1.0)
    assert seen_pitch == pytest.approx(pitch, abs=1e-6)
    position, quat = camera_to_habitat(T)
    np.testing.assert_allclose(camera_from_habitat(position, quat), T, atol=1e-9)


@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: sum(x * x for x in q) > 0.01))
def test_both_signs_of_a_quaternion_become_one(raw: list[float]) -> None:
    quat = np.array(raw)
    np.testing.assert_array_equal(canonical(quat), canonical(-quat))
    assert (canonical(quat) == quat).all() or (canonical(quat) == -quat).all()


def test_yaw_90_faces_minus_x_and_270_is_the_same_rotation_with_another_sign() -> None:
    half = math.sqrt(0.5)
    assert yaw_from_habitat(np.array([0.0, half, 0.0, half])) == pytest.approx(math.pi / 2)
    np.testing.assert_allclose(to_habitat(np.array([0.0, 1.0, 0.0])), [-1.0, 0.0, 0.0])  # our left is their -x
    for sign in (1.0, -1.0):
        assert yaw_from_habitat(sign * np.array([0.0, half, 0.0, -half])) == pytest.approx(-math.pi / 2)


@pytest.mark.parametrize("bad", [[np.nan, 0, 0, 1], [0, 0, 0, 0]])
def test_a_sensor_without_a_pose_is_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="no pose"):
        camera_from_habitat(np.zeros(3), np.array(bad, dtype=float))


@given(points, points, angles, angles)
def test_gps_compass_and_point_goal_are_habitat_labs(
    a: tuple[float, float, float], b: tuple[float, float, float], yaw: float, start_yaw: float
) -> None:
    """By its own definition: vectors of the world in the frame of the start or the agent, (-z, x) and (rho, -phi)."""
    here, there = np.array(a), np.array(b)
    in_start = Rotation.from_euler("y", start_yaw).inv().apply(to_habitat(here) - to_habitat(there))
    gps, compass = start_pose(here, yaw, there, start_yaw)
    np.testing.assert_allclose(gps, [-in_start[2], in_start[0]], atol=1e-9)
    assert math.cos(compass - (yaw - start_yaw)) == pytest.approx(1.0)
    in_agent = Rotation.from_euler("y", yaw).inv().apply(to_habitat(there) - to_habitat(here))
    rho, angle = point_goal(here, yaw, there)
    assert rho == pytest.approx(math.hypot(in_agent[2], in_agent[0]))
    if rho > 1e-6:
        assert math.cos(angle + math.atan2(in_agent[0], -in_agent[2])) == pytest.approx(1.0)


@given(st.integers(2, 700), st.integers(2, 700), st.floats(20, 150))
def test_the_field_of_view_comes_back_from_the_intrinsics(width: int, height: int, hfov: float) -> None:
    assert hfov_deg(Intrinsics.from_fov(width, height, hfov)) == pytest.approx(hfov)


@pytest.mark.parametrize(
    "camera",
    [
        Intrinsics(64, 48, 50.0, 51.0, 31.5, 23.5),
        Intrinsics(64, 48, 50.0, 50.0, 32.0, 23.5),
        Intrinsics(64, 48, 50.0, 50.0, 31.5, 23.5, (0.1, 0.0, 0.0, 0.0)),
    ],
)
def test_cameras_that_habitat_cannot_have_are_refused(camera: Intrinsics) -> None:
    with pytest.raises(ValueError, match="pinhole"):
        hfov_deg(camera)


def fake_root(folder: Path, *, device: bool, vendor: str | None) -> Path:
    (folder / "dev").mkdir()
    if device:
        (folder / "dev/nvidia0").touch()
    vendors = folder / "usr/share/glvnd/egl_vendor.d"
    vendors.mkdir(parents=True)
    (vendors / "50_mesa.json").write_text(json.dumps({"ICD": {"library_path": "libEGL_mesa.so.0"}}))
    if vendor is not None:
        (vendors / "10_nvidia.json").write_text(vendor)
    return folder


NVIDIA = json.dumps({"file_format_version": "1.0.0", "ICD": {"library_path": "libEGL_nvidia.so.0"}})


@pytest.mark.parametrize(
    ("device", "vendor", "gpu"),
    [(True, NVIDIA, 0), (True, None, -1), (False, NVIDIA, -1), (True, "{", -1), (True, "[]", -1), (False, None, -1)],
)
def test_a_gpu_is_used_only_where_device_and_vendor_file_are_there(
    tmp_path: Path, device: bool, vendor: str | None, gpu: int
) -> None:
    root = fake_root(tmp_path, device=device, vendor=vendor)
    assert choose_gpu(None, {}, root) == gpu
    assert choose_gpu(-1, {}, root) == -1
    if gpu == -1:
        with pytest.raises(ValueError, match="gpu=-1"):
            choose_gpu(0, {}, root)
    else:
        assert choose_gpu(0, {}, root) == 0
        with pytest.raises(ValueError, match="/dev/nvidia1"):
            choose_gpu(1, {}, root)


def test_the_environment_says_where_vendor_files_are(tmp_path: Path) -> None:
    root = fake_root(tmp_path, device=True, vendor=None)
    elsewhere = tmp_path / "conda/share/glvnd/egl_vendor.d"
    elsewhere.mkdir(parents=True)
    (elsewhere / "10_nvidia.json").write_text(NVIDIA)
    assert choose_gpu(None, {"CONDA_PREFIX": str(tmp_path / "conda")}, root) == 0
    assert choose_gpu(None, {"__EGL_VENDOR_LIBRARY_DIRS": str(elsewhere)}, root) == 0
    assert choose_gpu(None, {"__EGL_VENDOR_LIBRARY_FILENAMES": str(elsewhere / "10_nvidia.json")}, root) == 0
    assert choose_gpu(None, {"__EGL_VENDOR_LIBRARY_FILENAMES": str(elsewhere / "50_mesa.json")}, root) == -1
    with pytest.raises(ValueError, match="-2"):
        choose_gpu(-2, {}, root)


@given(st.lists(st.floats(0, 20, width=32), min_size=1, max_size=20))
def test_depth_that_was_not_measured_is_nan_and_the_rest_as_it_was(raw: list[float]) -> None:
    image = np.array([raw], dtype=np.float32)
    seen = metric_depth(image, near=0.5, far=5.0)
    measured = np.isfinite(seen)
    np.testing.assert_array_equal(measured, (image > 0) & (image >= 0.5) & (image <= 5.0))
    np.testing.assert_array_equal(seen[measured], image[measured])
    assert np.isnan(metric_depth(np.zeros((1, 1), dtype=np.float32))).all()


def test_semantic_ids_become_labels_and_things() -> None:
    named = make_semantics([(0, "Unknown"), (1, "wall"), (3, "chair"), (7, "chair"), (8, " "), (9, "unknown")])
    assert named is not None
    assert named.labels == ("unlabelled", "chair", "wall")
    semantic, instance = named.split(np.array([[0, 1, 2, 3], [7, 8, 9, 4_000_000_000]]))
    assert semantic.tolist() == [[0, 2, 0, 1], [1, 0, 0, 0]]
    assert instance.tolist() == [[0, 0, 0, 3], [7, 0, 0, 0]]
    assert make_semantics([(0, "Unknown")]) is None
    assert make_semantics([]) is None


def test_colours_lose_their_alpha_and_other_arrays_are_refused() -> None:
    rgba = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    np.testing.assert_array_equal(colours(rgba), rgba[..., :3])
    for wrong in (rgba.astype(np.float32), rgba[..., 0]):
        with pytest.raises(ValueError, match="colours"):
            colours(wrong)


def test_nothing_is_imported_before_a_scene_is_opened() -> None:
    import subprocess
    import sys

    code = "import sys, embmem.sim_envs.habitat.world; sys.exit('habitat_sim' in sys.modules)"
    with TemporaryDirectory() as folder:
        assert subprocess.run([sys.executable, "-c", code], check=False, cwd=folder).returncode == 0
