"""The street tasks from their configs to table, rows and report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from embmem import configs
from embmem.cli.main import compose_config, main
from embmem.errors import InputError
from embmem.sim_envs.street.task import FollowInstructions, street_folder
from embmem.sim_envs.street.tours import LandmarkTour

STREET = Path(configs.__file__).parent
TASKS = sorted(path.stem for path in (STREET / "task" / "street").glob("*.yaml"))
AGENTS = sorted(path.stem for path in (STREET / "agent" / "street").glob("*.yaml"))


@pytest.mark.parametrize("task", TASKS)
def test_a_task_brings_its_agents_and_no_house(task: str) -> None:
    config = compose_config("eval", [f"task=street/{task}"])
    assert config.get("world") is None
    assert config.episodes >= 400
    assert len(config.agents) >= 2
    assert config.task.name == f"street_{task}"


@pytest.mark.parametrize("agent", AGENTS)
def test_every_agent_can_be_made(agent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from hydra.utils import instantiate

    monkeypatch.setenv("OPENAI_API_KEY", "none")
    if agent == "language":
        pytest.importorskip("openai")

    if agent == "token":
        pytest.importorskip("torch")
    config = compose_config("eval", ["task=street/e3", f"agent=[street/{agent}]"])
    made = instantiate(config.agents[agent])
    assert callable(made.act)


def test_one_switch_leaves_out_one_part() -> None:
    config = compose_config("eval", ["task=street/e5"])
    whole = dict(config.agents.mem4nav.parts)
    for part in ("octree", "graph", "short_term", "long_term"):
        less = dict(config.agents[f"no_{part}"].parts)
        assert {key for key in whole if whole[key] != less[key]} == {part}


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "episodes.jsonl").read_text().splitlines()]


def test_a_tour_runs_from_the_command_line_and_resumes_to_the_same_rows(data_dir: Path, tmp_path: Path) -> None:
    words = [
        "eval", "task=street/e5", "agent=[street/cleared,street/mem4nav]", "episodes=3", "task.per_session=3",
        f"task.folder={data_dir / 'street'}", "workers=0",
    ]  # fmt: skip
    assert main([*words, f"out={tmp_path / 'a'}"]) == 0
    first = rows(tmp_path / "a")
    assert [(r["agent"], r["episode"]) for r in first] == [(a, i) for a in ("cleared", "mem4nav") for i in range(3)]
    assert first[-1]["memory"]["sightings"] > first[2]["memory"]["sightings"]  # kept against cleared
    assert {"success", "velma/spd_hops", "velma/kpa", "orar/sed", "orar/ndtw", "spd_m"} <= set(first[0])
    page = (tmp_path / "a" / "report.html").read_text()
    assert "SPD (VELMA)" in page
    assert "what the memory recalls" in page
    next((tmp_path / "a" / "sessions").iterdir()).unlink()
    assert main([*words, f"out={tmp_path / 'a'}"]) == 0
    drop = "seconds"
    again = [{k: v for k, v in r.items() if k != drop} for r in rows(tmp_path / "a")]
    assert again == [{k: v for k, v in r.items() if k != drop} for r in first]


def test_settings_that_make_no_sense_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="split"):
        FollowInstructions(split="paris")
    with pytest.raises(ValueError, match="max_steps"):
        LandmarkTour(max_steps=0)
    monkeypatch.delenv("EMBMEM_DATA_DIR", raising=False)
    with pytest.raises(InputError, match="EMBMEM_DATA_DIR"):
        street_folder(None)
