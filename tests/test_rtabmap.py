"""Databases of RTAB-Map, written after its C++ by `rtabmap_writer`: no real one lies in this repository."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest
from box_room import CAMERA, walk
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rtabmap_writer import calibration, compressed, depth_blob, rvl, stereo, transform, write_rtabmap

from embmem.cli.main import main
from embmem.errors import InputError
from embmem.geometry import camera_pose
from embmem.map_hash import map_hash
from embmem.maps import spatial_memory
from embmem.observation import Observation
from embmem.recordings.opening import open_recording, read_recording
from embmem.recordings.rtabmap_blobs import (
    calibration_of,
    decompress,
    depth_image,
    depth_size,
    poses_of,
    transform_of,
)
from embmem.recordings.writing import write_recording

NEW, OLD, OLDEST = (0, 21, 4), (0, 16, 3), (0, 11, 1)


def frames(n: int = 6) -> list[Observation]:
    return list(walk(n))


@pytest.mark.parametrize("depth", ["png", "float", "rvl"])
@pytest.mark.parametrize("version", [NEW, OLD])
def test_nodes_come_back_as_frames(tmp_path: Path, version: tuple[int, int, int], depth: str) -> None:
    made = frames()
    write_rtabmap(tmp_path / "map.db", made, version=version, depth=depth)
    read = list(read_recording(tmp_path / "map.db", frame="identity"))
    assert len(read) == len(made)
    for there, frame in zip(read, made, strict=True):
        assert there.stamp == frame.stamp
        np.testing.assert_allclose(there.T_map_camera, frame.T_map_camera, atol=2e-6)  # floats
        assert there.depth is not None
        assert frame.depth is not None
        np.testing.assert_allclose(there.depth, frame.depth, atol=0 if depth == "float" else 6e-4)
        np.testing.assert_array_equal(there.rgb, frame.rgb)
        assert (there.intrinsics.width, there.intrinsics.height) == (CAMERA.width, CAMERA.height)
        assert there.intrinsics.fx == pytest.approx(CAMERA.fx, rel=1e-6)


def test_one_command_builds_the_map_of_the_same_frames_in_a_folder(tmp_path: Path) -> None:
    """To the voxel: poses of both are those of floats."""
    made = frames(8)
    write_rtabmap(tmp_path / "map.db", made)
    read = list(read_recording(tmp_path / "map.db", frame="identity"))
    write_recording(read, tmp_path / "folder", layout="rgbd")
    memories = []
    for name in ("map.db", "folder"):
        memory = spatial_memory(0.1)
        for observation in read_recording(tmp_path / name, frame="identity"):
            memory.observe(observation)
        memories.append(map_hash(memory))
    assert memories[0] == memories[1]
    assert main(["build", str(tmp_path / "map.db"), f"out={tmp_path}/map.embmem", "resolution=0.1"]) == 0


def test_optimised_poses_come_before_odometry(tmp_path: Path) -> None:
    made = frames()
    drifted = [camera_pose(np.array([0.1 * i, 0.0, 1.0]), 0.0) for i in range(len(made))]
    write_rtabmap(tmp_path / "a.db", made, odometry=drifted)
    write_rtabmap(tmp_path / "b.db", made, odometry=drifted, is_optimised=False)
    (a, b) = (list(read_recording(tmp_path / name, frame="identity")) for name in ("a.db", "b.db"))
    np.testing.assert_allclose([o.T_map_camera for o in a], [o.T_map_camera for o in made], atol=2e-6)
    np.testing.assert_allclose([o.T_map_camera for o in b], drifted, atol=2e-6)
    streams = [open_recording(tmp_path / name).stream("pose") for name in ("a.db", "b.db")]
    assert [s.type for s in streams if s is not None] == ["optimised poses", "odometry"]


def test_depth_that_was_decimated_has_its_own_intrinsics(tmp_path: Path) -> None:
    write_rtabmap(tmp_path / "a.db", frames(), decimation=2)
    seen = next(iter(read_recording(tmp_path / "a.db", frame="identity")))
    assert (seen.intrinsics.width, seen.intrinsics.height) == (CAMERA.width // 2, CAMERA.height // 2)
    assert seen.intrinsics.fx == pytest.approx(CAMERA.fx / 2, rel=1e-6)
    assert seen.rgb is not None
    assert seen.rgb.shape[:2] == (CAMERA.height // 2, CAMERA.width // 2)


def test_odometry_of_the_longest_session_is_used_and_the_rest_told(tmp_path: Path) -> None:
    write_rtabmap(tmp_path / "a.db", frames(6), is_optimised=False, sessions=[0, 0, 1, 1, 1, 1])
    recording = open_recording(tmp_path / "a.db")
    assert recording.of_kind("depth")[0].n_samples == 4
    assert "2 nodes of 1 other sessions are left out" in recording.notes[0]


def changed(path: Path, sql: str, *values: object) -> Path:
    with sqlite3.connect(path) as db:
        db.execute(sql, values)
    db.close()
    return path


@pytest.mark.parametrize(
    ("sql", "values", "message"),
    [
        ("UPDATE Data SET calibration = ?", (stereo(),), "stereo pair"),
        ("UPDATE Data SET calibration = ?", (calibration(CAMERA, NEW) * 2,), "2 cameras"),
        ("UPDATE Data SET calibration = ?", (calibration(CAMERA, NEW)[:-1],), "is cut"),
        ("UPDATE Data SET calibration = ?", (b"x" * 100,), "calibration of kind"),
        ("UPDATE Admin SET version = ?", ("0.10.6",), "from 0.11 on can be read"),
        ("UPDATE Admin SET version = ?", ("new",), "not three numbers"),
        ("UPDATE Admin SET opt_poses = ?", (b"\0" * 40,), "optimised poses are damaged"),
        ("UPDATE Admin SET opt_ids = ?", (compressed(np.arange(2, dtype=np.int32)),), "2 nodes with optimised poses"),
        ("UPDATE Node SET stamp = ?", ("noon",), "the stamp"),
        ("UPDATE Data SET depth = ?", (None,), "no node with depth"),
        ("DROP TABLE Data", (), "no recording of a known format"),
        ("ALTER TABLE Node DROP COLUMN pose", (), "has no column pose"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path: Path, sql: str, values: tuple[object, ...], message: str) -> None:
    write_rtabmap(tmp_path / "a.db", frames(3))
    with pytest.raises(InputError, match=message) as error:
        read_recording(changed(tmp_path / "a.db", sql, *values))
    assert "a.db" in str(error.value)


def test_a_view_in_the_place_of_a_table_is_not_read(tmp_path: Path) -> None:
    write_rtabmap(tmp_path / "a.db", frames(3))
    changed(tmp_path / "a.db", "ALTER TABLE Data RENAME TO Other")
    changed(tmp_path / "a.db", "CREATE VIEW Data AS SELECT * FROM Other")
    with pytest.raises(InputError, match="no recording"):
        open_recording(tmp_path / "a.db")


def test_a_damaged_image_is_skipped_by_name(tmp_path: Path) -> None:
    write_rtabmap(tmp_path / "a.db", frames(4))
    changed(tmp_path / "a.db", "UPDATE Data SET depth = ? WHERE id = 2", depth_blob(np.ones((4, 4)), "png")[:-9])
    with pytest.raises(InputError, match="node 2: depth"):
        read_recording(tmp_path / "a.db")
    reading = read_recording(tmp_path / "a.db", on_fault="skip")
    assert len(list(reading)) == 3
    assert "node 2" in reading.faults[0].detail


def test_reading_leaves_nothing_beside_the_database(tmp_path: Path) -> None:
    write_rtabmap(tmp_path / "a.db", frames(3))
    before = (tmp_path / "a.db").read_bytes()
    list(read_recording(tmp_path / "a.db"))
    assert [p.name for p in tmp_path.iterdir()] == ["a.db"]
    assert (tmp_path / "a.db").read_bytes() == before


@given(
    arrays(
        np.uint16, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0, 1, 7, 8, 900, 65535])
    )
)
def test_rvl_comes_back(depth: np.ndarray) -> None:
    blob = rvl(depth)
    np.testing.assert_array_equal(depth_image(blob).pixels, depth)
    assert depth_size(blob) == depth.shape[::-1]


@given(arrays(np.float32, (3, 4), elements=st.floats(-100, 100, width=32)))
def test_matrices_come_back(matrix: np.ndarray) -> None:
    np.testing.assert_array_equal(decompress(compressed(matrix)).ravel(), matrix.ravel())
    T = np.vstack([matrix.astype(np.float64), [0, 0, 0, 1]])
    read = transform_of(transform(T))
    assert (read is None) == (not matrix.any())
    if read is not None:
        np.testing.assert_allclose(read, T, atol=1e-3)


def test_null_poses_are_none_and_cameras_of_old_versions_have_no_size() -> None:
    ids, T = np.array([1, 2], dtype=np.int32), np.zeros((2, 3, 4), dtype=np.float32)
    T[1] = np.eye(4)[:3]
    assert list(poses_of(compressed(ids), compressed(T))) == [2]
    old = calibration_of(calibration(CAMERA, OLDEST), OLDEST)
    assert (old.camera.width, old.camera.height, old.n_cameras) == (0, 0, 1)
    assert calibration_of(calibration(CAMERA, OLD) * 3, OLD).n_cameras == 3
