"""Street-view navigation (Touchdown, map2seq) as each published code base computes it.

The same words mean different things in them, so every function carries the lineage's name and results are reported
as `lineage/measure`. `agent` and `gold` are places, start first; the goal is the last of `gold`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from embmem.sim_envs.metrics.continuous import path_length
from embmem.sim_envs.metrics.graph import Place, PlaceGraph
from embmem.sim_envs.metrics.indoor import coverage_length_score
from embmem.sim_envs.metrics.sequences import dtw, edit_distance

MEM4NAV_THRESHOLD = 3.0  # [m]
VALAN_THRESHOLD = 2.0  # [hops]


def velma(graph: PlaceGraph, agent: Sequence[Place], gold: Sequence[Place]) -> dict[str, float]:
    """TC, SPD in directed hops and key point accuracy (VELMA, Schumann et al., AAAI 2024).

    Key points are the first two places and every edge taken at a junction (more than two ways out). The numerator
    counts distinct shared key points, the denominator all of the gold route, repeated ones too, as published.
    """
    completed = graph.is_within_one_hop(agent[-1], gold[-1])
    wanted = _key_points(graph, gold)
    shared = len(set(wanted) & set(_key_points(graph, agent)))
    return {
        "tc": float(completed),
        "spd_hops": float(graph.hops(agent[-1:], gold[-1:])[0, 0]),
        "kpa": (shared + completed) / (len(wanted) + 1),
    }


def orar(graph: PlaceGraph, agent: Sequence[Place], gold: Sequence[Place]) -> dict[str, float]:
    """The measures of the ORAR and VLN-Transformer code (Schumann and Riezler, ACL 2022): undirected hops.

    nDTW divides by twice the *root* of the route's length and CLS counts places instead of metres: both differ
    from the papers they cite, and are what the published street tables show.
    """
    hops = graph.hops(gold, agent, is_directed=False).T
    completed = graph.is_within_one_hop(agent[-1], gold[-1])
    edits = edit_distance(agent, gold, transposition=True)
    cost = dtw(hops)
    ndtw = math.exp(-cost / (2 * math.sqrt(len(gold))))
    coverage = float(np.exp(-hops.min(axis=0)).mean())
    return {
        "tc": float(completed),
        "spd_hops": float(hops[-1, -1]),
        "sed": completed * (1 - edits / max(len(agent), len(gold))),
        "cls": coverage_length_score(coverage, float(len(gold)), float(len(agent))),
        "dtw": cost,
        "ndtw": ndtw,
        "sdtw": completed * ndtw,
    }


def valan_touchdown(graph: PlaceGraph, agent: Sequence[Place], gold: Sequence[Place]) -> dict[str, float]:
    """The measures of VALAN's Touchdown problem (Lansing et al. 2019): directed hops, success below two.

    Its SED divides the edit distance by the *product* of both lengths.
    """
    hops = graph.hops(agent, gold)
    success = float(hops[-1, -1] < VALAN_THRESHOLD)
    cost = dtw(hops)
    ndtw = math.exp(-cost / (VALAN_THRESHOLD * len(gold)))
    return {
        "ne_hops": float(hops[-1, -1]),
        "sr": success,
        "dtw_over_gold_nodes": cost / len(gold),
        "ndtw": ndtw,
        "sdtw": success * ndtw,
        "sed": success * (1 - edit_distance(gold, agent) / (len(gold) * len(agent))),
    }


def mem4nav_release(graph: PlaceGraph, agent: Sequence[Place], gold: Sequence[Place]) -> dict[str, float]:
    """The measures of the Mem4Nav release: metres, success up to and including 3 m of straight line.

    Positions are single precision there, so they are here. nDTW divides by the route's straight-line length, SPL by
    its length on the graph, where a missing edge counts as the straight line; both measures are 0 for a route
    without length unless the agent stayed on it.
    """
    path, route = (graph.positions(places).astype(np.float32) for places in (agent, gold))
    completed = float(np.linalg.norm(path[-1].astype(float) - route[-1].astype(float)) <= MEM4NAV_THRESHOLD)
    walked, straight = path_length(path), path_length(route)
    ways = graph.steps(gold)
    gaps = np.linalg.norm(np.diff(graph.positions(gold), axis=0), axis=1)
    on_graph = float(np.where(np.isfinite(ways), ways, gaps).sum())
    if straight > 0:
        cost = dtw(np.linalg.norm(path[:, None] - route[None], axis=2).astype(float))
        ndtw = math.exp(-cost / straight)
    else:
        ndtw = float(len(path) == len(route) == 1 and np.allclose(path, route))
    saved = on_graph / max(on_graph, walked) if on_graph > 0 else float(walked == 0)
    return {
        "tc": completed,
        "spd_m": float(graph.metres(agent[-1:], gold[-1:])[0, 0]),
        "ndtw": ndtw,
        "spl": completed * saved,
        "agent_len_m": walked,
        "expert_len_m": straight,
    }


def _key_points(graph: PlaceGraph, path: Sequence[Place]) -> list[Place | tuple[Place, Place]]:
    if len(path) <= 1:
        return []
    return [*path[:2], *(edge for edge in pairwise(path) if graph.graph.out_degree(edge[0]) > 2)]
