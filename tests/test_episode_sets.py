"""Episodes go to a Habitat file and come back as a task: the same starts, goals and shortest paths."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from embmem.cli.main import main

SMALL = ["task.n_rooms=4", "world.intrinsics.width=48", "world.intrinsics.height=36"]


def write(path: Path, task: str, *more: str) -> int:
    return main(["episodes", f"task={task}", "episodes=3", "seed=4", f"out={path}", *SMALL, *more])


def rows_of(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "episodes.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("task", "distance"), [("objectnav", 0.1), ("pointnav", 0.2)])
def test_a_file_gives_the_episodes_that_the_task_gave(task: str, distance: float, tmp_path: Path) -> None:
    file = tmp_path / "val.json.gz"
    assert write(file, task) == 0
    common = ["agent=oracle", "episodes=3", "seed=4", "workers=0", "strips=false"]
    assert main(["eval", f"task={task}", *common, *SMALL, f"out={tmp_path / 'direct'}"]) == 0
    from_file = ["task=from_file", f"task.path={file}", f"task.success_distance={distance}", *SMALL[1:]]
    assert main(["eval", *from_file, *common, f"out={tmp_path / 'read'}"]) == 0
    direct, read = rows_of(tmp_path / "direct"), rows_of(tmp_path / "read")
    assert len(direct) == len(read) == 3
    for a, b in zip(direct, read, strict=True):
        assert (a["scene"], a["n_rooms"], a["success"], b["success"]) == (b["scene"], 4, 1.0, 1.0)
        assert b["shortest_path"] == pytest.approx(a["shortest_path"], abs=1e-3)  # files have five decimals
        assert b["shortest_path_in_file"] == pytest.approx(a["shortest_path"], abs=1e-4)
        assert a["trajectory"][0] == pytest.approx(b["trajectory"][0], abs=2e-3)  # type: ignore[index]


def test_files_are_the_same_every_time_and_are_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = tmp_path / "a.json.gz", tmp_path / "b.json.gz"
    assert write(a, "objectnav") == write(b, "objectnav") == 0
    assert a.read_bytes() == b.read_bytes()
    assert write(a, "pointnav") == 1
    assert f"{a} exists" in capsys.readouterr().err
    assert a.read_bytes() == b.read_bytes()


@pytest.mark.parametrize("task", ["search_again", "after_the_night", "multion", "questions"])
def test_what_habitats_form_cannot_hold_is_refused(
    task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["episodes", f"task={task}", "episodes=1", f"out={tmp_path / 'x.json.gz'}"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_more_episodes_than_there_are_and_foreign_scenes_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "val.json.gz"
    assert write(file, "pointnav") == 0
    call = ["eval", "task=from_file", f"task.path={file}", "agent=forward", "workers=0", f"out={tmp_path / 'run'}"]
    assert main([*call, "episodes=4", "task.max_steps=2", *SMALL[1:]]) == 1
    assert "holds 3 episodes" in capsys.readouterr().err
    content = json.loads(gzip.decompress(file.read_bytes()))
    content["episodes"][0]["scene_id"] = "hm3d/00800.glb"
    file.write_bytes(gzip.compress(json.dumps(content).encode()))
    assert main([*call, "episodes=1"]) == 1
    assert "hm3d/00800.glb" in capsys.readouterr().err
