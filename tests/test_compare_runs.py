"""Two runs of the same episodes: paired as they belong together, refused where they do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embmem.cli.main import main
from embmem.errors import InputError
from embmem.sim_envs.report.compare import compare_runs


def row(agent: str, session: int, episode: int, *, spl: float, length: float = 4.0, x: float = 1.0) -> dict[str, Any]:
    return {
        "agent": agent, "task": "pointnav", "session": session, "episode": episode, "goal": f"point {session}",
        "success": float(spl > 0), "spl": spl, "steps": 10, "shortest_path": length,
        "trajectory": [[x, 2.0, 0.0], [x + 1, 2.0, 0.0]],
    }  # fmt: skip


def run_of(folder: Path, rows: list[dict[str, Any]]) -> Path:
    folder.mkdir()
    (folder / "episodes.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return folder


def test_every_agent_is_paired_with_itself_over_the_shared_episodes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    here, there = rng.random(8), rng.random(8)
    a = [row(agent, i, 0, spl=v) for agent in ("memory", "oracle") for i, v in enumerate(here)]
    b = [row("memory", i, 0, spl=v, length=4.4, x=1.05) for i, v in enumerate(there)] + [row("new", 0, 0, spl=1.0)]
    extra = [row("memory", 8, 0, spl=0.5)]
    found = compare_runs(run_of(tmp_path / "a", a), run_of(tmp_path / "b", b + extra), rng=rng)
    assert list(found.summaries) == ["memory"]
    summary = found.summaries["memory"]
    assert summary["reference"] == "a"
    assert summary["agents"]["b"]["metrics"]["spl"]["mean"] == pytest.approx(there.mean())
    assert summary["differences"]["b"]["metrics"]["spl"]["mean"] == pytest.approx((there - here).mean())
    np.testing.assert_allclose(found.lengths, 1.1)
    assert (found.only_a, found.only_b) == (0, 1)


def test_the_command_shows_both_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row("forward", i, 0, spl=0.5 * (i % 2)) for i in range(4)]
    a, b = run_of(tmp_path / "embedded", rows), run_of(tmp_path / "habitat", rows)
    assert main(["compare", str(a), str(b)]) == 0
    shown = capsys.readouterr().out
    for text in ("forward", "embedded", "habitat", "McNemar", "median 1.000"):
        assert text in shown


def test_runs_of_other_episodes_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = run_of(tmp_path / "a", [row("forward", 0, 0, spl=1.0)])
    for name, other, text in (
        ("goal", {**row("forward", 0, 0, spl=1.0), "goal": "mug"}, "mug"),
        ("start", row("forward", 0, 0, spl=1.0, x=3.0), "start"),
        ("agent", row("oracle", 0, 0, spl=1.0), "share no episode"),
    ):
        with pytest.raises(InputError, match=text):
            compare_runs(a, run_of(tmp_path / name, [other]), rng=np.random.default_rng(0))
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "episodes.jsonl").write_text('{"agent": 3}\n')
    for folder, text in (("empty", "no finished run"), ("bad", "not a log")):
        assert main(["compare", str(a), str(tmp_path / folder)]) == 1
        assert text in capsys.readouterr().err
