"""Direction, axes and order of poses are found from how well hypotheses explain the frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from doctor_rooms import Room, serious, spoilt, write_folder, write_tum

from embmem.doctor.examine import examine
from embmem.recordings.interpret import AXES

ROOM = Room()


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(ROOM, tmp_path_factory.mktemp("rooms") / "clean")


def test_a_clean_recording_has_nothing_wrong(clean: Path) -> None:
    assert serious(examine(clean)) == {}


def test_what_is_said_is_what_is_then_read(clean: Path) -> None:
    said = serious(examine(clean, {"camera_axes": "body"}))
    assert said == {"camera_axes": {"camera_axes": "optical"}}
    assert serious(examine(clean, {"camera_axes": "body", **said["camera_axes"]})) == {}


@pytest.mark.parametrize("axes", ["body", "opengl"])
def test_axes_of_another_frame_are_named(tmp_path: Path, axes: str) -> None:
    room = spoilt(lambda r: setattr(r, "T", r.T @ np.linalg.inv(AXES[axes])))
    assert serious(examine(write_folder(room, tmp_path / "r"))) == {"camera_axes": {"camera_axes": axes}}


def test_extrinsics_are_told_from_poses(tmp_path: Path) -> None:
    room = spoilt(lambda r: setattr(r, "T", np.linalg.inv(r.T)))
    said = serious(examine(write_folder(room, tmp_path / "r")))
    assert said == {"inverted_pose": {"pose_direction": "world_to_camera"}}


def test_quaternions_with_w_first_are_told(tmp_path: Path) -> None:
    said = serious(examine(write_tum(ROOM, tmp_path / "r", order="wxyz")))
    assert said == {"quaternion_order": {"quaternion": "wxyz"}}
