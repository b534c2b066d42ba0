"""From per-episode rows to means, intervals and paired differences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from embmem.sim_envs.metrics.statistics import (
    Interval,
    bootstrap_curve,
    bootstrap_mean,
    mcnemar,
    paired_difference,
)

Row = Mapping[str, Any]
N_CURVE = 60  # points of the curve of success over steps


@dataclass(frozen=True)
class Metric:
    """A column of the tables."""

    key: str  # in a row
    title: str
    scale: int  # what a value is multiplied with to be shown
    unit: str
    is_more_better: bool


METRICS = (
    Metric("success", "Success", 100, "%", True),
    Metric("spl", "SPL", 100, "%", True),
    Metric("soft_spl", "SoftSPL", 100, "%", True),
    Metric("progress", "Progress", 100, "%", True),
    Metric("distance_to_goal", "Distance to goal", 1, "m", False),
    Metric("steps", "Steps", 1, "", False),
    Metric("path_length", "Path length", 1, "m", False),
    Metric("collisions", "Collisions", 1, "", False),
    Metric("tokens", "Tokens of memory", 1, "", False),
    # Of the language model that plans, where there is one; what it does not decide, rules do.
    Metric("by_model", "Decided by the model", 100, "%", True),
    Metric("model_tokens", "Tokens of the model", 1, "", False),
    Metric("requests", "Requests", 1, "", False),
    Metric("from_cache", "Answers from the cache", 1, "", True),
    Metric("cost", "Cost of 1000 tasks", 1000, "", False),
    # Streets; success is TC there. Published tables use one name for several formulas, so the lineage is in the name.
    Metric("velma/spd_hops", "SPD (VELMA)", 1, "hops", False),
    Metric("velma/kpa", "KPA (VELMA)", 100, "%", True),
    Metric("orar/sed", "SED (ORAR)", 100, "%", True),
    Metric("orar/ndtw", "nDTW (ORAR)", 100, "%", True),
    Metric("orar/sdtw", "SDTW (ORAR)", 100, "%", True),
    Metric("spd_m", "SPD", 1, "m", False),
    # Instructions in houses.
    Metric("vlnce/sr", "SR (VLN-CE)", 100, "%", True),
    Metric("vlnce/osr", "OSR (VLN-CE)", 100, "%", True),
    Metric("vlnce/spl", "SPL (VLN-CE)", 100, "%", True),
    Metric("vlnce/ndtw", "nDTW (VLN-CE)", 100, "%", True),
    Metric("vlnce/sdtw", "SDTW (VLN-CE)", 100, "%", True),
    Metric("rooms/sr", "SR (rooms)", 100, "%", True),
    Metric("rooms/ndtw", "nDTW (rooms)", 100, "%", True),
    Metric("rooms/cls", "CLS (rooms)", 100, "%", True),
)
MAIN = ("success", "spl", "soft_spl", "distance_to_goal", "steps", "velma/spd_hops", "velma/kpa")
IN_TERMINAL = (
    "success",
    "spl",
    "progress",
    "steps",
    "by_model",
    "velma/spd_hops",
    "velma/kpa",
    "vlnce/ndtw",
)  # what 80 columns hold; the report shows all
BREAKDOWNS = {
    "moved": "whether the goal has moved since the tour",
    "kind": "kind of question or task",
}  # key of a row: what it says


def summarise(rows: Sequence[Row], *, rng: np.random.Generator, reference: str | None = None) -> dict[str, Any]:
    """Everything the tables and plots of a run show, ready for JSON (unknown numbers are None).

    Intervals come from a bootstrap over sessions; differences are taken over the episodes that both agents ran.

    Args:
        rows: one per agent and episode, with agent, session, episode, success and any key of `METRICS`; `index` is
            the place of the episode in its session (default: `episode`).
        rng: draws the resamples.
        reference: the agent that the others are compared with; by default the first one.

    Raises:
        ValueError: if there are no rows, an agent has an episode twice, or `reference` is no agent.
    """
    agents = _by_agent(rows)
    if not agents:
        raise ValueError("no rows to summarise")
    reference = next(iter(agents)) if reference is None else reference
    if reference not in agents:
        raise ValueError(f"the reference {reference!r} is none of the agents {sorted(agents)}")
    steps_grid = _steps_grid(rows)
    return {
        "task": str(rows[0].get("task", "")),
        "reference": reference,
        "n_sessions": len({r["session"] for r in rows}),
        "n_episodes": len({(r["session"], r["episode"]) for r in rows}),
        "agents": {name: _agent_summary(own, steps_grid, rng) for name, own in agents.items()},
        "differences": {
            name: _difference(own, agents[reference], rng) for name, own in agents.items() if name != reference
        },
    }


def _by_agent(rows: Sequence[Row]) -> dict[str, dict[tuple[Any, Any], Row]]:
    """Rows by agent, then by (session, episode)."""
    agents: dict[str, dict[tuple[Any, Any], Row]] = {}
    for row in rows:
        own = agents.setdefault(str(row["agent"]), {})
        key = (row["session"], row["episode"])
        if key in own:
            raise ValueError(f"agent {row['agent']!r} has episode {key} twice")
        own[key] = row
    return agents


def _agent_summary(
    own: Mapping[tuple[Any, Any], Row], steps_grid: np.ndarray, rng: np.random.Generator
) -> dict[str, Any]:
    rows = list(own.values())
    groups: dict[int, list[Row]] = {}
    for row in rows:
        if _is_number(index := row.get("index", row["episode"])):
            groups.setdefault(int(index), []).append(row)
    return {
        "episodes": len(rows),
        "sessions": len({r["session"] for r in rows}),
        "metrics": {m.key: v for m in METRICS if (v := _mean(rows, m.key, rng)) is not None},
        "by_index": [
            {"index": index, "episodes": len(group)} | {key: _mean(group, key, rng) for key in ("success", "spl")}
            for index, group in sorted(groups.items())
        ],
        "breakdowns": {key: _breakdown(rows, key, rng) for key in BREAKDOWNS if any(key in r for r in rows)},
        "success_over_steps": _success_over_steps(rows, steps_grid, rng),
        "seconds": _seconds(rows),
    }


def _breakdown(rows: Sequence[Row], key: str, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Success and SPL for each value of a key."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        value = row.get(key)
        name = ("no", "yes")[value] if isinstance(value, bool) else str(value)
        groups.setdefault(name, []).append(row)
    return [
        {"value": value, "episodes": len(group)} | {name: _mean(group, name, rng) for name in ("success", "spl")}
        for value, group in sorted(groups.items())
    ]


def _seconds(rows: Sequence[Row]) -> dict[str, float]:
    """Mean seconds an episode spends in each part of the loop."""
    totals: dict[str, float] = {}
    for row in rows:
        for part, seconds in (row.get("seconds") or {}).items():
            totals[part] = totals.get(part, 0.0) + float(seconds)
    return {part: total / len(rows) for part, total in totals.items()}


def _mean(rows: Sequence[Row], key: str, rng: np.random.Generator) -> dict[str, Any] | None:
    """Mean and interval over the rows where the value is a finite number."""
    known = [r for r in rows if _is_number(r.get(key))]
    if not known:
        return None
    values = np.array([float(r[key]) for r in known])
    interval = bootstrap_mean(values, [r["session"] for r in known], rng=rng)
    return {**_json(interval), "n": len(known)}


def _difference(
    own: Mapping[tuple[Any, Any], Row],
    other: Mapping[tuple[Any, Any], Row],
    rng: np.random.Generator,
) -> dict[str, Any]:
    shared = [key for key in own if key in other]
    metrics = {}
    for metric in METRICS:
        keys = [k for k in shared if all(_is_number(rows[k].get(metric.key)) for rows in (own, other))]
        if keys:
            a, b = (np.array([float(rows[k][metric.key]) for k in keys]) for rows in (own, other))
            metrics[metric.key] = _json(paired_difference(a, b, [k[0] for k in keys], rng=rng))
    a, b = (np.array([bool(rows[k]["success"]) for k in shared], bool) for rows in (own, other))
    return {
        "episodes": len(shared),
        "metrics": metrics,
        "mcnemar_p": mcnemar(a, b) if shared else None,
        "only_this": int((a & ~b).sum()),
        "only_reference": int((b & ~a).sum()),
    }


def _steps_grid(rows: Sequence[Row]) -> np.ndarray:
    most = max((int(r["steps"]) for r in rows if _is_number(r.get("steps"))), default=0)
    return np.unique(np.linspace(0, most, N_CURVE).round().astype(int))


def _success_over_steps(rows: Sequence[Row], steps_grid: np.ndarray, rng: np.random.Generator) -> dict[str, list[Any]]:
    """The share of all episodes that had succeeded within n steps."""
    known = [r for r in rows if _is_number(r.get("steps"))]
    if not known:
        return {"steps": [], "mean": [], "low": [], "high": []}
    steps = np.array([r["steps"] if r["success"] else np.inf for r in known], float)
    reached = (steps[:, None] <= steps_grid).astype(float)
    curves = bootstrap_curve(reached, [r["session"] for r in known], rng=rng, n=2_000)
    names = ("mean", "low", "high")
    return {"steps": steps_grid.tolist()} | {
        name: [_known(v) for v in curve] for name, curve in zip(names, curves, strict=True)
    }


def _json(interval: Interval) -> dict[str, float | None]:
    return {name: _known(value) for name, value in interval._asdict().items()}


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
