"""Navigation on discrete indoor graphs (R2R) with distances in metres along the graph."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from embmem.sim_envs.metrics.graph import Place, PlaceGraph
from embmem.sim_envs.metrics.sequences import dtw

THRESHOLD = 3.0  # [m]


def google_dtw(graph: PlaceGraph, agent: Sequence[Place], gold: Sequence[Place]) -> dict[str, float]:
    """DTW, nDTW and SDTW (Ilharco et al., arXiv:1907.05446), success up to *and including* the threshold."""
    metres = graph.metres(agent, gold)
    cost = dtw(metres)
    ndtw = math.exp(-cost / (THRESHOLD * len(gold)))
    return {"dtw": cost, "ndtw": ndtw, "sdtw": ndtw * float(metres[-1, -1] <= THRESHOLD)}


def valan_r2r(graph: PlaceGraph, agent: Sequence[Place], gold: Sequence[Place]) -> dict[str, float]:
    """The measures of VALAN's R2R problem (Lansing et al. 2019), success *strictly* below the threshold.

    A goal at the start has SPL 0 here, also for an agent that stays there.
    """
    metres = graph.metres(agent, gold)
    success = float(metres[-1, -1] < THRESHOLD)
    walked, gold_length = float(graph.steps(agent).sum()), float(graph.steps(gold).sum())
    shortest = float(graph.metres(agent[:1], gold[-1:])[0, 0])
    cost = dtw(metres)
    ndtw = math.exp(-cost / (THRESHOLD * len(gold)))
    coverage = float(np.exp(-metres.min(axis=0) / THRESHOLD).mean())
    with np.errstate(divide="ignore", invalid="ignore"):
        cost_over_length = float(np.divide(cost, gold_length))
    return {
        "ne": float(metres[-1, -1]),
        "sr": success,
        "osr": float(metres[:, -1].min() < THRESHOLD),
        "path_length": walked,
        "spl": success * shortest / max(shortest, walked) if 0 < shortest < math.inf else 0.0,
        "dtw_over_gold_length": cost_over_length,
        "ndtw": ndtw,
        "sdtw": success * ndtw,
        "cls": coverage_length_score(coverage, gold_length, walked),
    }


def coverage_length_score(coverage: float, gold_length: float, length: float) -> float:
    """CLS (Jain et al., ACL 2019, eq. 1-3); 1 where no length is expected and none was walked."""
    expected = coverage * gold_length
    if expected == 0 and length == 0:
        return 1.0
    return coverage * expected / (expected + abs(expected - length))
