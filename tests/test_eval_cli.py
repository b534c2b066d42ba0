"""`embmem eval` as a user meets it: what it prints, what it writes, how it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hydra.utils import instantiate

from embmem.cli.main import compose_config, main
from embmem.sim_envs.tasks.task import Task

TASKS = sorted(path.stem for path in (Path(__file__).parents[1] / "configs" / "task").glob("*.yaml"))
TINY = [
    "task.n_rooms=3",
    "task.per_session=2",
    "task.max_steps=8",
    "task.min_path=1.0",
    "world.intrinsics.width=32",
    "world.intrinsics.height=24",
    "episodes=2",
    "workers=0",
    "agent=[random,oracle]",
]


def test_a_run_prints_its_table_and_leaves_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert main(["eval", *TINY, f"out={out}"]) == 0
    first = capsys.readouterr().out
    assert "oracle" in first
    assert "episode log " in first
    assert {path.name for path in out.iterdir()} >= {"episodes.jsonl", "summary.json", "report.html", "config.yaml"}
    assert json.loads((out / "summary.json").read_text())["n_episodes"] == 2
    written = (out / "sessions" / "000000.jsonl").stat().st_mtime_ns
    assert main(["eval", *TINY, f"out={out}"]) == 0  # nothing is left to do
    assert capsys.readouterr().out == first
    assert (out / "sessions" / "000000.jsonl").stat().st_mtime_ns == written
    assert main(["eval", *TINY, f"out={out}", "seed=5"]) == 1
    error = capsys.readouterr().err
    assert error.splitlines()[-1].startswith(f"embmem: out={out} holds a run with another configuration (seed: 0")


def test_the_folder_is_named_after_task_and_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["eval", *TINY, "task=pointnav", "agent=oracle"]) == 0
    assert main(["eval", *TINY, "task=pointnav", "agent=oracle", "seed=1"]) == 0
    names = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert len(names) == 2
    assert all(name.startswith("pointnav-") for name in names)


@pytest.mark.parametrize(
    ("overrides", "status", "named"),
    [
        (["no_such_setting=1"], 2, "no_such_setting"),
        (["task=no_such_task"], 2, "no_such_task"),
        (["agent=nobody"], 2, "nobody"),
        (["task.tour=sideways"], 1, "sideways"),
        (["task.per_session=0"], 1, "per_session"),
        (["episodes=0"], 1, "episodes >= 1"),
        (["workers=-1"], 1, "workers=-1"),
        (["world.intrinsics.width=-3"], 1, "-3x24"),
        (["noise.camera.hole_rate=7.5"], 1, "hole_rate=7.5"),
        (["agent=memory", "agents.memory.replan=0"], 1, "replan must be >= 1"),
    ],
)
def test_bad_settings_get_one_line_and_a_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], overrides: list[str], status: int, named: str
) -> None:
    assert main(["eval", *TINY, f"out={tmp_path / 'run'}", *overrides]) == status
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert lines[-1].startswith("embmem: ")
    assert named in lines[-1]
    assert list(tmp_path.iterdir()) == []


def test_a_taken_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    assert main(["eval", *TINY, f"out={tmp_path}"]) == 1
    assert f"out={tmp_path} is not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("name", [name for name in TASKS if name != "from_file"])  # has no default file
def test_every_task_has_its_settings_in_its_file(name: str) -> None:
    task = instantiate(compose_config("eval", [f"task={name}"]).task)
    assert isinstance(task, Task)
    assert task.name == name
    assert task == type(task)()  # the file shows the defaults of the class


def test_help_shows_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "per_session: 10" in shown
    for name in TASKS:
        assert name in shown
