"""Offsets, scales and units are found from how well hypotheses explain the frames."""

from __future__ import annotations

from pathlib import Path

import pytest
from doctor_rooms import Room, serious, spoilt, write_folder, write_tum

from embmem.doctor.examine import examine

ROOM = Room()


@pytest.mark.parametrize("late", [0.0, 0.137])
def test_an_offset_between_clocks_is_found_to_a_tenth_of_a_frame(tmp_path: Path, late: float) -> None:
    said = serious(examine(write_tum(ROOM, tmp_path / "r", late=late)))
    if late == 0.0:
        assert said == {}
    else:
        assert set(said) == {"time_offset"}
        assert said["time_offset"]["time_offset"] == pytest.approx(-late, abs=0.01)


def test_the_scale_of_poses_is_found_to_a_hundredth(tmp_path: Path) -> None:
    room, factor = Room(), 1.25
    room.T[:, :3, 3] *= factor
    said = serious(examine(write_folder(room, tmp_path / "r")))
    assert set(said) == {"pose_scale"}
    assert said["pose_scale"]["pose_scale"] == pytest.approx(1 / factor, rel=0.01)


def test_a_unit_of_depth_is_told_from_a_scale_of_poses(tmp_path: Path) -> None:
    room = spoilt(lambda r: setattr(r, "depth", [d * 5 for d in r.depth]))
    assert serious(examine(write_folder(room, tmp_path / "r"))) == {"depth_unit": {"depth_unit": 2e-4}}
