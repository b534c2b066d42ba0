"""Runs: the same log on any number of workers and after any interruption; folders that belong to one configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.errors import InstantiationException
from omegaconf import OmegaConf

from embmem.cli.main import compose_config
from embmem.errors import EmbmemError, InputError, OutputExistsError
from embmem.observation import Intrinsics, Observation
from embmem.sim_envs import runner
from embmem.sim_envs.run_folder import RunFolder, config_hash, log_hash
from embmem.sim_envs.strips import N_FRAMES, WIDTH, Strip

TINY = [
    "task.n_rooms=3",
    "task.per_session=2",
    "task.max_steps=12",
    "task.tour_steps_per_room=7",
    "task.min_path=1.0",
    "world.intrinsics.width=48",
    "world.intrinsics.height=36",
    "episodes=3",
]


def tiny(*overrides: str) -> dict[str, Any]:
    """A configuration of two small sessions."""
    config = OmegaConf.to_container(compose_config("eval", [*TINY, *overrides]), resolve=True)
    assert isinstance(config, dict)
    return {str(key): value for key, value in config.items()}


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """An uninterrupted run in this process."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    return out, runner.evaluate(tiny("task=after_the_night"), out, workers=0)


def test_a_run_has_a_row_for_every_agent_and_episode_in_order(whole: tuple[Path, list[dict[str, Any]]]) -> None:
    out, rows = whole
    expected = [(s, a, e) for s, n in ((0, 2), (1, 1)) for a in ("frontier", "memory") for e in range(n)]
    assert [(r["session"], r["agent"], r["episode"]) for r in rows] == expected
    assert [json.loads(line) for line in (out / "episodes.jsonl").read_text().splitlines()] == rows
    assert {"config.yaml", "versions.json", "episodes.jsonl", "sessions/000001.jsonl"} <= files(out)
    assert not [name for name in files(out) if name.endswith(".part")]
    for row in rows:
        assert row["steps"] <= 12
        assert row["scene"].startswith(f"house_{row['house_seed']}_rooms_3_night_")


@pytest.mark.parametrize("workers", [1, 2])
def test_the_log_is_the_same_on_any_number_of_workers(
    whole: tuple[Path, list[dict[str, Any]]], tmp_path: Path, workers: int
) -> None:
    rows = runner.evaluate(tiny("task=after_the_night", "strips=false"), tmp_path / "out", workers=workers)
    assert log_hash(rows) == log_hash(whole[1])
    assert not (tmp_path / "out" / "strips").exists()


def test_an_interrupted_run_goes_on_to_the_same_log(
    whole: tuple[Path, list[dict[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, out = tiny("task=after_the_night"), tmp_path / "out"
    calls: list[int] = []
    work = runner.work_session

    def interrupted(payload: Any, index: int, say: Any) -> Any:
        calls.append(index)
        if len(calls) == 2:
            (out / "sessions" / "000001.jsonl.part").write_text('{"agent": "mem')  # killed while writing
            raise KeyboardInterrupt
        return work(payload, index, say)

    monkeypatch.setattr(runner, "work_session", interrupted)
    with pytest.raises(KeyboardInterrupt):
        runner.evaluate(config, out, workers=0)
    assert not (out / "episodes.jsonl").exists()
    rows = runner.evaluate(config, out, workers=0)
    assert log_hash(rows) == log_hash(whole[1])
    assert calls == [0, 1, 1]  # the finished session was not run again
    assert runner.evaluate(config, out, workers=0) == rows
    assert calls == [0, 1, 1]


def test_a_failing_session_is_named_and_the_house_in_it(tmp_path: Path) -> None:
    config = tiny("task.min_path=25.0", "task.max_path=26.0", "episodes=1")
    with pytest.raises(EmbmemError, match=r"^session 0 failed: house 10000 with 3 rooms gives 0 of 1"):
        runner.evaluate(config, tmp_path / "out", workers=1)


def test_impossible_settings_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    for config in (tiny("episodes=0"), {**tiny(), "agents": {}}):
        with pytest.raises(ValueError, match="episodes >= 1"):
            runner.evaluate(config, tmp_path / "out")
    with pytest.raises(InstantiationException):
        runner.evaluate(tiny("agents.memory.replan=0"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_belongs_to_one_configuration(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "out", {"seed": 1, "task": {"a": 1}, "workers": 1})
    folder.add(0, [{"session": 0, "agent": "a", "episode": 0, "x": 0.1}])
    again = RunFolder(tmp_path / "out", {"seed": 1, "task": {"a": 1}, "workers": 7})
    assert again.finished() == {0: [{"session": 0, "agent": "a", "episode": 0, "x": 0.1}]}
    with pytest.raises(OutputExistsError, match=r"task\.a: 1 there, 2 here"):
        RunFolder(tmp_path / "out", {"seed": 1, "task": {"a": 2}})


def test_foreign_folders_and_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    (tmp_path / "file").write_text("x")
    for name in ("full", "file"):
        with pytest.raises(OutputExistsError, match=name):
            RunFolder(tmp_path / name, {})
    assert files(tmp_path) == {"full/thesis.tex", "file"}


def test_a_damaged_session_or_configuration_is_named(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "out", {"seed": 1})
    (tmp_path / "out" / "sessions" / "000003.jsonl").write_text('{"a": 1}\n{"a"')
    with pytest.raises(InputError, match=r"000003\.jsonl: line 2"):
        folder.finished()
    (tmp_path / "out" / "config.yaml").write_text("a: [1")
    with pytest.raises(InputError, match=r"config\.yaml"):
        RunFolder(tmp_path / "out", {"seed": 1})


def test_hashes_see_what_counts_and_nothing_else() -> None:
    row = {"session": 0, "agent": "a", "episode": 0, "success": 1.0, "seconds": {"act": 1.0}}
    other = {**row, "episode": 1}
    assert log_hash([row, other]) == log_hash([other, {**row, "seconds": {"act": 2.0}}])
    assert log_hash([row]) != log_hash([{**row, "success": 0.0}])
    assert config_hash({"seed": 1, "workers": 1}) == config_hash({"seed": 1, "workers": 2})
    assert config_hash({"seed": 1}) != config_hash({"seed": 2})


@pytest.mark.parametrize("n_frames", [1, 5, 23, 24, 25, 500])
def test_a_strip_shows_frames_in_order_from_first_to_last(tmp_path: Path, n_frames: int) -> None:
    camera = Intrinsics.from_fov(8, 6, 79.0)
    strip = Strip(tmp_path / "s" / "a.png")
    for i in range(n_frames):
        rgb = np.full((6, 8, 3), i % 256, np.uint8)
        strip.watch(Observation(float(i), np.eye(4), camera, rgb=rgb))
    image = strip.image()
    assert image is not None
    assert image.shape == (6, 8 * N_FRAMES, 3)
    shown = image[0, ::8, 0].astype(int)
    assert shown[0] == 0
    assert shown[-1] == (n_frames - 1) % 256
    if n_frames <= 256:
        assert (np.diff(shown) >= 0).all()
        assert np.abs(shown - np.linspace(0, n_frames - 1, N_FRAMES)).max() <= max(1.0, n_frames / 12)


def test_strips_are_small_pictures_of_the_first_sessions(whole: tuple[Path, list[dict[str, Any]]]) -> None:
    import cv2

    names = {name for name in files(whole[0]) if name.startswith("strips/")}
    assert names == {f"strips/{a}_{i}.png" for a in ("frontier", "memory") for i in ("0_0", "0_1", "1_0")}
    picture = cv2.imread(str(whole[0] / "strips" / "memory_0_1.png"))
    assert picture is not None
    assert picture.shape[1] <= N_FRAMES * WIDTH


def test_no_colours_make_no_strip(tmp_path: Path) -> None:
    strip = Strip(tmp_path / "a.png")
    strip.watch(Observation(0.0, np.eye(4), Intrinsics.from_fov(8, 6, 79.0)))
    strip.save()
    assert list(tmp_path.iterdir()) == []
