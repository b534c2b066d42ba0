"""`embmem build`, `query` and `export` as a user calls them: what they answer and how they fail."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from box_room import MUG, SIZE, walk

from embmem.cli.main import main
from embmem.recordings.rgbd_writer import write_rgbd_folder
from embmem.recordings.writing import write_recording


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recordings") / "room"
    write_rgbd_folder(walk(24), path)
    return path


@pytest.fixture(scope="module")
def built(recorded: Path) -> Path:
    path = recorded.parent / "room.embmem"
    assert main(["build", f"recording={recorded}", f"out={path}"]) == 0
    return path


@pytest.fixture
def folder(recorded: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(recorded, tmp_path / "room"))


def ask(capsys: pytest.CaptureFixture[str], memory: Path, *questions: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["query", f"file={memory}", "json=true", *questions]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def snapshot(folder: Path) -> dict[Path, bytes]:
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_build_says_what_it_built(recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", f"recording={recorded}", f"out={tmp_path}/a.embmem", "resolution=0.1", "every=2"]) == 0
    output = capsys.readouterr()
    for word in ("12 in", "none", "occupied", "0.1 m", "on disk"):
        assert word in output.out
    assert output.err == ""
    assert {p.name for p in tmp_path.iterdir()} == {"a.embmem", "a.html"}


def test_the_gates_policy_decides_about_a_bent_pose(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pose = folder / "frame-000003.pose.txt"
    T = np.loadtxt(pose)
    T[:3, :3] *= 1.01
    np.savetxt(pose, T)
    call = ["build", f"recording={folder}", f"out={folder.parent}/a.embmem"]
    assert main(call) == 1
    assert str(pose) in capsys.readouterr().err
    assert main([*call, "memory.gate.policies.pose_not_rigid=repair"]) == 0
    assert "1 pose_not_rigid" in capsys.readouterr().out


def test_points_are_occupied_free_or_unknown(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wall = ask(capsys, built, f"point={[2.5, 0.0, 1.0]}")["point"]
    assert wall["nearest"]["distance"] < 0.06
    air = ask(capsys, built, "point=[2.5,3.2,1.2]")["point"]
    assert (air["state"], air["log_odds"] < 0) == ("free", True)
    outside = ask(capsys, built, "point=[-3,2,1]")["point"]
    assert outside == {**outside, "state": "unknown", "log_odds": None, "n_views": 0, "views": []}


def test_a_point_names_the_views_that_saw_it(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen = ask(capsys, built, f"point={MUG.tolist()}")["point"]["views"]
    assert seen
    for view in seen:  # `walk` looks along the tangent of a circle
        angle = 2 * np.pi * round(view["stamp"] * 10) / 24
        ahead = np.array([np.sin(angle), -np.cos(angle)])
        to_mug = MUG[:2] - np.array(view["position"])[:2]
        assert np.arccos(ahead @ to_mug / np.linalg.norm(to_mug)) < np.radians(38)
    behind_the_wall = ask(capsys, built, f"point={[2.5, -0.4, 1.2]}")["point"]
    assert behind_the_wall["n_views"] == 0


def test_rays_end_at_the_walls_and_boxes_hold_them(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = ask(capsys, built, "ray=[2.5,2,1.2,1,0,0]", "box=[4.9,1.5,0.9,5.1,2.5,1.4]", "nearest=[2.5,3.5,1.2]")
    assert answer["ray"]["is_hit"]
    assert answer["ray"]["position"] == pytest.approx([SIZE[0], 2.0, 1.2], abs=0.08)
    assert answer["box"]["n_occupied"] > 100
    assert answer["nearest"]["position"][1] == pytest.approx(SIZE[1], abs=0.06)
    nothing = ask(capsys, built, "ray=[2.5,2,1.2,1,0,0]", "max_range=1")["ray"]
    assert nothing == {"is_hit": False, "distance": None, "position": None}


def test_an_entity_is_found_where_it_is(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = ask(capsys, built, "entity=mug")["entity"]
    assert np.linalg.norm(np.array(answer["objects"][0]["position"]) - MUG) < 0.15
    assert answer["objects"][0]["entity"] == "mug"
    assert ask(capsys, built, "entity=mug", "near=[0,4,0]", "radius=1")["entity"]["objects"] == []
    unheard = ask(capsys, built, "entity=unicorn")["entity"]
    assert unheard == {"objects": [], "views": [], "known_entities": ["floor", "mug", "wall"]}


def test_a_semantic_memory_answers_in_words_and_says_when_nothing_matches(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, encoder = tmp_path / "room.embmem", "encoder._target_=box_room.WordVectors"
    semantic = ["memory=semantic", "perceive=labels", "memory.voxels.payload.prototypes.dim=8", "colour=true"]
    assert main(["build", f"recording={recorded}", f"out={path}", *semantic, f"perceive.{encoder}"]) == 0
    found = ask(capsys, path, "text='a mug for tea'", encoder)["text"]
    assert found["is_found"]
    assert found["things"][0]["entity"] == "mug"
    assert np.linalg.norm(np.array(found["things"][0]["position"]) - MUG) < 0.15
    assert ask(capsys, path, "text=submarine", encoder)["text"] == {"is_found": False, "things": []}
    assert ask(capsys, path, "changes=0")["changes"]["n_regions"] == 0  # nothing moves in this room
    assert main(["query", f"file={path}", "text='a mug'", encoder]) == 0
    assert "mug" in capsys.readouterr().out


def test_tables_are_for_people(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["query", f"file={built}", "entity=mug", "point=[2.5,3.2,1.2]"]) == 0
    text = capsys.readouterr().out
    assert "mug" in text
    assert "free" in text


def test_another_process_gives_the_same_answers(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    questions = ["point=[2.5,0.0,1.0]", "ray=[2.5,2,1.2,1,0,0]", "entity=mug", "box=[0,0,0,5,4,3]"]
    command = [sys.executable, "-m", "embmem.cli.main", "query", f"file={built}", "json=true", *questions]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == ask(capsys, built, *questions)


def test_the_same_recording_gives_the_same_map(recorded: Path, built: Path, tmp_path: Path) -> None:
    assert main(["build", f"recording={recorded}", f"out={tmp_path}/b.embmem"]) == 0
    for export, memory in (("x", built), ("y", tmp_path / "b.embmem")):
        assert main(["export", f"file={memory}", f"out={tmp_path / export}", "formats=[ply,map_server]"]) == 0
    assert snapshot(tmp_path / "x") == snapshot(tmp_path / "y")


def hash_of(output: str) -> str:
    return output.split("hash of the map")[1].split()[1]


@pytest.mark.parametrize("layout", ["mcap", "lerobot"])
def test_the_same_frames_in_another_format_give_the_same_map(
    layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_recording(walk(6), tmp_path / "folder")
    assert main(["build", f"{tmp_path}/folder", f"out={tmp_path}/a.embmem"]) == 0
    of_folder = hash_of(capsys.readouterr().out)
    other = tmp_path / ("other.mcap" if layout == "mcap" else "other")
    write_recording(walk(6), other, layout=layout)
    assert main(["build", str(other), f"out={tmp_path}/b.embmem"]) == 0
    assert hash_of(capsys.readouterr().out) == of_folder
    assert main(["build", str(other), f"out={tmp_path}/c.embmem", "read.depth_unit=0.002"]) == 0
    assert hash_of(capsys.readouterr().out) != of_folder


def test_export_writes_what_other_programs_read(built: Path, tmp_path: Path) -> None:
    assert main(["export", f"file={built}", f"out={tmp_path}/e"]) == 0
    assert {p.name for p in (tmp_path / "e").iterdir()} == {"map.ply", "map.pgm", "map.yaml", "map.png"}
    meta = yaml.safe_load((tmp_path / "e" / "map.yaml").read_text())
    pixels = cv2.imread(str(tmp_path / "e" / "map.pgm"), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    column = int((2.5 - meta["origin"][0]) / 0.05)
    row = pixels.shape[0] - 1 - int((3.2 - meta["origin"][1]) / 0.05)
    assert pixels[row, column] == 254
    wall_row = pixels.shape[0] - 1 - int((0.0 - meta["origin"][1]) / 0.05)
    assert (pixels[wall_row - 1 : wall_row + 2, column] == 0).any()


def _nan_pose(folder: Path) -> str:
    pose = np.loadtxt(folder / "frame-000003.pose.txt")
    pose[0, 3] = np.nan
    np.savetxt(folder / "frame-000003.pose.txt", pose)
    return "frame-000003.pose.txt"


def _quaternion(folder: Path) -> str:
    (folder / "frame-000003.pose.txt").write_text("1 1 1 0 0 0 2")
    return "frame-000003.pose.txt"


def _truncated(folder: Path) -> str:
    file = folder / "frame-000005.depth.png"
    file.write_bytes(file.read_bytes()[:300])
    return file.name


def _missing(folder: Path) -> str:
    (folder / "frame-000005.depth.png").unlink()
    return "frame-000005.depth"


def _wrong_size(folder: Path) -> str:
    cv2.imwrite(str(folder / "frame-000005.depth.png"), np.ones((7, 9), np.uint16))
    return "frame-000005.depth.png"


def _clock(folder: Path) -> str:
    stamps = [float(x) for x in (folder / "timestamps.txt").read_text().split()]
    (folder / "timestamps.txt").write_text("\n".join(map(str, [*stamps[:6], 0.0, *stamps[7:]])))
    return "frame-000006.pose.txt"


def _no_intrinsics(folder: Path) -> str:
    (folder / "camera-intrinsics.txt").unlink()
    return "camera-intrinsics.txt"


def _intrinsics_of_words(folder: Path) -> str:
    (folder / "camera-intrinsics.txt").write_text("a lens")
    return "camera-intrinsics.txt"


def _tilted_frame(folder: Path) -> str:
    np.savetxt(folder / "T_map_world.txt", 2 * np.eye(4))
    return "T_map_world.txt"


FRAME_FAULTS = (_nan_pose, _quaternion, _truncated, _missing, _wrong_size, _clock)


@pytest.mark.parametrize("damage", [*FRAME_FAULTS, _no_intrinsics, _intrinsics_of_words, _tilted_frame])
def test_bad_input_is_one_line_that_names_it_and_leaves_nothing(
    folder: Path, tmp_path: Path, damage: Callable[[Path], str], capfd: pytest.CaptureFixture[str]
) -> None:
    name = damage(folder)
    before = snapshot(tmp_path)
    assert main(["build", f"recording={folder}", f"out={tmp_path}/a.embmem"]) == 1
    error = capfd.readouterr().err  # also what C libraries write
    assert name in error
    assert error.startswith("embmem: ")
    assert error.count("\n") == 1
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("damage", FRAME_FAULTS)
def test_a_bad_frame_may_be_skipped_and_is_counted(
    folder: Path, tmp_path: Path, damage: Callable[[Path], str], capfd: pytest.CaptureFixture[str]
) -> None:
    damage(folder)
    assert main(["build", f"recording={folder}", f"out={tmp_path}/a.embmem", "on_fault=skip"]) == 0
    output = capfd.readouterr()
    assert "23 in" in output.out
    assert " 1 " in output.out.split("refused")[1].splitlines()[0]
    assert output.err == ""


def test_build_replaces_a_file_only_when_told(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine.embmem"
    out.write_text("precious")
    assert main(["build", f"recording={recorded}", f"out={out}", "every=12"]) == 1
    assert "mine.embmem exists" in capsys.readouterr().err
    assert out.read_text() == "precious"
    assert main(["build", f"recording={recorded}", f"out={out}", "every=12", "overwrite=true"]) == 0
    assert main(["query", f"file={out}", "point=[0,0,0]"]) == 0
    assert {p.name for p in tmp_path.iterdir()} == {"mine.embmem", "mine.html"}
    out.unlink()
    assert main(["build", f"recording={recorded}", f"out={out}", "every=12"]) == 1
    assert "mine.html exists" in capsys.readouterr().err
    assert main(["build", f"recording={recorded}", f"out={out}", "every=12", "report=false"]) == 0


@pytest.mark.parametrize(
    ("argv", "status", "word"),
    [
        (["build", "recording=nowhere", "out=a.embmem"], 1, "nowhere"),
        (["build", "recording={recorded}", "out=no/such/folder/a.embmem"], 1, "no/such/folder"),
        (["build", "recording={recorded}"], 1, "out"),
        (["build", "recording={recorded}", "out=a.embmem", "resolution=-1"], 1, "resolution"),
        (["build", "recording={recorded}", "out=a.embmem", "frame=upside"], 1, "upside"),
        (["build", "recording={recorded}", "out=a.embmem", "on_fault=pray"], 1, "pray"),
        (["build", "recording={recorded}", "out=a.embmem", "read.depth_unit=mm"], 1, "depth_unit must be a number"),
        (
            ["build", "recording={recorded}", "out=a.embmem", "read.pose=nothing"],
            1,
            "no stream 'nothing' for read.pose",
        ),
        (["build", "recording={recorded}", "out=a.embmem", "read.lens=wide"], 2, "lens"),
        (["build", "recording={recorded}", "out=a.embmem", "every=often"], 2, "every must be a whole number"),
        (["build", "recording={recorded}", "out=a.embmem", "every=0"], 1, "every"),
        (["build", "recording={recorded}", "out={built}", "overwrite=no"], 2, "overwrite must be true or false"),
        (["build", "recording={recorded}", "out=a.embmem", "colour=red"], 2, "colour"),
        (["query", "file=nowhere.embmem", "point=[0,0,0]"], 1, "nowhere.embmem"),
        (["query", "file={built}"], 1, "nothing was asked"),
        (["query", "file={built}", "point=[0,0]"], 1, "point must be 3"),
        (["query", "file={built}", "point=[0,0,nan]"], 1, "point must be 3"),
        (["query", "file={built}", "point=here"], 1, "point must be 3"),
        (["query", "file={built}", "ray=[0,0,0,0,0,0]"], 1, "ray"),
        (["query", "file={built}", "entity=mug", "radius=far"], 2, "radius must be a number"),
        (["query", "file={built}", "entity=mug", "json=please"], 2, "json must be true or false"),
        (["query", "file={built}", "colour=red"], 2, "colour"),
        (["query", "file={recorded}/labels.txt", "point=[0,0,0]"], 1, "labels.txt"),
        (["export", "file={built}", "out={recorded}"], 1, "not an empty folder"),
        (["export", "file={built}", "out=e", "formats=[stl]"], 1, "stl"),
        (["export", "file={built}", "out=e", "formats=[]"], 1, "formats"),
        (["export", "file=nowhere.embmem", "out=e"], 1, "nowhere.embmem"),
    ],
)
def test_a_wrong_call_is_one_line_and_writes_nothing(
    argv: list[str], status: int, word: str, recorded: Path, built: Path, tmp_path: Path,
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    before = snapshot(recorded.parent)
    assert main([a.format(recorded=recorded, built=built) for a in argv]) == status
    error = capfd.readouterr().err
    assert word in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
    assert snapshot(recorded.parent) == before
