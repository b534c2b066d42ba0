"""Two runs of the same episodes side by side: another world, another machine, another version."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape

from embmem.errors import InputError
from embmem.sim_envs.report.summary import summarise
from embmem.sim_envs.report.tables import print_summary

Row = Mapping[str, Any]
SAME_PLACE = 0.15  # [m] between the starts of an episode in both runs: a mesh may draw a start to itself


@dataclass(frozen=True)
class Comparison:
    """What two runs have in common."""

    summaries: Mapping[str, Mapping[str, Any]]  # by agent; `a` is the reference of each
    lengths: np.ndarray  # (n,) shortest path in `b` over that in `a`, of each shared episode
    only_a: int  # episodes
    only_b: int


def compare_runs(a: Path, b: Path, *, rng: np.random.Generator) -> Comparison:
    """The agents that both runs have, each paired with itself over the episodes that both have.

    Raises:
        InputError: if a folder holds no finished run, or the runs do not have the same episodes.
    """
    runs = [_rows(folder) for folder in (a, b)]
    shared = [key for key in runs[0] if key in runs[1]]
    if not shared:
        raise InputError(f"{a} and {b} share no episode of an agent; were both run with the same task and seed?")
    for key in shared:
        _check_same(runs[0][key], runs[1][key], key)
    summaries = {
        agent: summarise(
            [
                {**run[key], "agent": name}
                for name, run in zip(_names(a, b), runs, strict=True)
                for key in shared
                if key[0] == agent
            ],
            rng=rng,
        )
        for agent in dict.fromkeys(key[0] for key in shared)
    }
    agent = shared[0][0]
    lengths = [(runs[0][k].get("shortest_path"), runs[1][k].get("shortest_path")) for k in shared if k[0] == agent]
    ratios = np.array([y / x for x, y in lengths if x and y], dtype=np.float64)
    n = [len({key[1:] for key in run}) for run in runs]
    n_shared = len({key[1:] for key in shared})
    return Comparison(summaries, ratios, n[0] - n_shared, n[1] - n_shared)


def print_comparison(a: str | Path, b: str | Path, console: Console, *, seed: int = 0) -> Comparison:
    """Compare, and show an agent's tables one after the other."""
    found = compare_runs(Path(a), Path(b), rng=np.random.default_rng(seed))
    for agent, summary in found.summaries.items():
        console.print(f"[bold]{escape(agent)}[/bold]")
        print_summary(summary, console)
    if len(found.lengths):
        low, middle, high = np.percentile(found.lengths, [0, 50, 100])
        console.print(f"shortest paths in {b} over those in {a}: median {middle:.3f}, from {low:.3f} to {high:.3f}",
                      soft_wrap=True, highlight=False)  # fmt: skip
    if found.only_a or found.only_b:
        console.print(f"not compared: {found.only_a} episodes of {a} and {found.only_b} of {b}", soft_wrap=True)
    return found


def _rows(folder: Path) -> dict[tuple[str, Any, Any], Row]:
    """Rows by agent, session and episode."""
    file = folder / "episodes.jsonl"
    try:
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        return {(str(row["agent"]), row["session"], row["episode"]): row for row in rows}
    except FileNotFoundError as error:
        raise InputError(f"{folder} holds no finished run of `embmem eval` (no episodes.jsonl)") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} is not a log of episodes ({error!r:.80})") from error


def _names(a: Path, b: Path) -> Sequence[str]:
    names = [folder.name or str(folder) for folder in (a, b)]
    return names if names[0] != names[1] else [str(a), str(b)]


def _check_same(one: Row, other: Row, key: tuple[str, Any, Any]) -> None:
    """Refuse rows that are about different things."""
    where = f"agent {key[0]}, session {key[1]}, episode {key[2]}"
    if one.get("goal") != other.get("goal"):
        goals = [f"{row.get('goal')!r:.60}" for row in (one, other)]
        raise InputError(f"{where}: the goal is {goals[0]} in one run and {goals[1]} in the other")
    starts = [row["trajectory"][0] for row in (one, other) if row.get("trajectory")]
    if len(starts) == 2 and np.hypot(*(np.array(starts[0][:2]) - np.array(starts[1][:2]))) > SAME_PLACE:
        raise InputError(f"{where}: the runs start at {starts[0][:2]} and {starts[1][:2]}")
