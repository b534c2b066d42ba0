"""`embmem doctor`: its tables, its exit status, its files, and what is said of real recordings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from doctor_rooms import Room, write_folder

from embmem.cli.main import main
from embmem.doctor.finding import Diagnosis, Finding, typed
from embmem.recordings.interpret import AXES
from embmem.recordings.opening import read_recording


@pytest.fixture(scope="module")
def body(tmp_path_factory: pytest.TempPathFactory) -> Path:
    room = Room(n=24)
    room.T = room.T @ np.linalg.inv(AXES["body"])
    return write_folder(room, tmp_path_factory.mktemp("cli") / "body")


def test_the_flag_that_is_shown_mends_the_recording(
    body: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", str(body), f"json={tmp_path / 'd.json'}", f"fix={tmp_path / 'read.yaml'}"]) == 4
    assert "read.camera_axes=body" in capsys.readouterr().out
    diagnosis = Diagnosis.from_json(json.loads((tmp_path / "d.json").read_text()))
    assert diagnosis.fix == {"camera_axes": "body"}
    before = {file.name: file.stat().st_mtime_ns for file in body.iterdir()}
    assert main(["doctor", str(tmp_path / "read.yaml")]) == 0  # the view takes the recording's place
    assert {file.name: file.stat().st_mtime_ns for file in body.iterdir()} == before
    assert main(["doctor", str(body), "read.camera_axes=body"]) == 0


def test_a_corrected_recording_is_written_and_the_input_stays(body: Path, tmp_path: Path) -> None:
    before = {file.name: file.read_bytes() for file in body.iterdir()}
    assert main(["doctor", str(body), f"fix={tmp_path / 'mended'}"]) == 4
    assert {file.name: file.read_bytes() for file in body.iterdir()} == before
    mended = read_recording(tmp_path / "mended", frame="identity")
    truth = Room(n=24)
    assert [o.T_map_camera for o in mended][5] == pytest.approx(truth.T[5], abs=1e-6)


def test_what_cannot_be_read_is_an_error_of_the_call(tmp_path: Path) -> None:
    assert main(["doctor", str(tmp_path / "nothing")]) == 1
    assert main(["doctor", str(tmp_path), "read.camera_axes=sideways"]) == 1


def test_a_finding_says_what_to_type() -> None:
    found = Finding("x", "error", "", "", {}, {"intrinsics": [1.5, 2.0, 3.25, 4.0], "camera_axes": "body"})
    assert found.flags == "read.intrinsics=[1.5,2,3.25,4] read.camera_axes=body"
    assert typed(2e-4) == "0.0002"
    assert float(typed(-1699999998.2345)) == -1699999998.2345  # of a clock that counts from when it was switched on
    with pytest.raises(ValueError, match="severity"):
        Finding("x", "awful", "", "")
    with pytest.raises(ValueError, match="no diagnosis"):
        Diagnosis.from_json({"kind": "something else"})
