"""A wrong lens and mirrored images are found from how well hypotheses explain the frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from doctor_rooms import CAMERA, Room, serious, spoilt, write_folder

from embmem.doctor.examine import examine


def test_a_wrong_focal_length_is_found(tmp_path: Path) -> None:
    room = Room()
    room.K[[0, 1], [0, 1]] *= 1.2
    said = serious(examine(write_folder(room, tmp_path / "r")))
    assert set(said) == {"intrinsics"}
    found = said["intrinsics"]["intrinsics"]
    assert isinstance(found, list)
    assert found[0] == pytest.approx(CAMERA.fx, rel=0.04)


def test_mirrored_images_are_found(tmp_path: Path) -> None:
    room = spoilt(lambda r: setattr(r, "depth", [np.ascontiguousarray(d[:, ::-1]) for d in r.depth]))
    room.color = [np.ascontiguousarray(c[:, ::-1]) for c in room.color]
    assert set(serious(examine(write_folder(room, tmp_path / "r")))) == {"flipped_images"}
