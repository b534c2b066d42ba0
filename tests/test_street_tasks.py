"""The street tasks from their configs to table, rows and report."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_street_moves import grid

from embmem import configs
from embmem.cli.main import compose_config, main
from embmem.errors import InputError
from embmem.sim_envs.metrics.graph import EARTH_RADIUS, STREET_ORIGIN
from embmem.sim_envs.street.task import FollowInstructions, street_folder
from embmem.sim_envs.street.tours import LandmarkTour

STREET = Path(configs.__file__).parent
TASKS = sorted(path.stem for path in (STREET / "task" / "street").glob("*.yaml"))
AGENTS = sorted(path.stem for path in (STREET / "agent" / "street").glob("*.yaml") if "parts" not in path.stem)
PARTS = ("octree", "graph", "short_term", "long_term")


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
    for part in PARTS:
        less = dict(config.agents[f"no_{part}"].parts)
        assert {key for key in whole if whole[key] != less[key]} == {part}


def test_one_command_has_three_planners_with_every_part_left_out_in_turn() -> None:
    agents = compose_config("eval", ["task=street/planners"]).agents
    assert len(agents) == 3 * (len(PARTS) + 2)
    for planner, prefix in (("mem4nav", ""), ("learned", "learned_"), ("language", "language_")):
        whole = agents[planner]
        for part in (*PARTS, "token_dim"):
            less = agents[f"{prefix}no_{part}" if part in PARTS else f"{prefix}token"]
            assert {key for key in whole.parts if whole.parts[key] != less.parts[key]} == {part}
            assert {key for key in whole if whole[key] != less[key]} == {"parts"}


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "episodes.jsonl").read_text().splitlines()]


def town(folder: Path) -> Path:
    """A small grid in the files of the public data, with two instructions for one route and one for another."""
    streets, (latitude, longitude) = grid(4, 4), np.radians(STREET_ORIGIN)
    angles = np.degrees(streets.xy / EARTH_RADIUS / (np.cos(latitude), 1.0) + (longitude, latitude))
    starts = np.repeat(np.arange(len(streets)), streets.n_exits)
    links = zip(starts.tolist(), streets.headings.tolist(), streets.ends.tolist(), strict=True)
    way = streets.way(0, len(streets) - 1)
    assert way is not None
    route = [f"p{i}" for i in way[:7]]
    texts = ("Go past the bank. Stop at the church.", "Walk to the church.", "Turn right at the Citibank and stop.")
    episodes = [
        {"instructions_id": i, "navigation_text": text, "route_panoids": route[: 7 - i // 2], "start_heading": 0}
        for i, text in enumerate(texts)
    ]
    files = {
        "graph/nodes.txt.gz": [f"p{i},0,{y!r},{x!r}" for i, (x, y) in enumerate(angles.tolist())],
        "graph/links.txt.gz": [f"p{a},{heading!r},p{b}" for a, heading, b in links],
        "graph/partition.txt.gz": [f"p{i},unseen" for i in range(len(streets))],
        "map2seq/unseen_dev.jsonl.gz": [json.dumps(episode) for episode in episodes],
    }
    for name, lines in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(gzip.compress("\n".join(lines).encode()))
    return folder


def test_a_tour_runs_from_the_command_line_and_resumes_to_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EMBMEM_DATA_DIR", raising=False)
    reach = "{_target_:embmem.policies.street.candidates.Reach,least:4,most:8}"
    words = [
        "eval", "task=street/e5", "agent=[street/cleared,street/mem4nav]", "episodes=3", "task.per_session=3",
        f"task.folder={town(tmp_path / 'street')}", "workers=0", f"+agents.cleared.reach={reach}",
        f"+agents.mem4nav.reach={reach}",
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
    for row in (*first, *(again := rows(tmp_path / "a"))):
        del row["seconds"]
    assert again == first


def test_settings_that_make_no_sense_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="split"):
        FollowInstructions(split="paris")
    with pytest.raises(ValueError, match="max_steps"):
        LandmarkTour(max_steps=0)
    monkeypatch.delenv("EMBMEM_DATA_DIR", raising=False)
    with pytest.raises(InputError, match="EMBMEM_DATA_DIR"):
        street_folder(None)
