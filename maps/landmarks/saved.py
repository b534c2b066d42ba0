"""The saved form of a landmark graph, and its checks when it comes from a file."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from embmem.errors import InputError
from embmem.maps.landmarks.learning import FARTHEST, Trail
from embmem.maps.landmarks.tables import EDGE, NODE, Tables
from embmem.maps.states import checked_array, checked_numbers
from embmem.protocols import LayerState

NUMBERS = ("near", "similar", "max_jump", "region_size", "alpha", "beta", "prior_success", "prior_failure")
_NODE_COLUMNS = ("position", "anchor", "last_seen", "count")
_EDGE_COLUMNS = ("source", "target", "length", "seconds", "instruction", "measured", "timed", "successes", "failures")

_MOST_IDS = 1 << 62


def arrays_of(tables: Tables, trail: Trail | None, merged: dict[int, int], n_skipped: int) -> dict[str, np.ndarray]:
    """The living rows as plain arrays, the edges in order of their ends."""
    rows = np.flatnonzero(tables.nodes["is_alive"])
    row_of = np.full(tables.n_nodes, -1, dtype=np.int32)
    row_of[rows] = np.arange(len(rows))
    edges = tables.edges[tables.edges["is_alive"]]
    edges["source"], edges["target"] = row_of[edges["source"]], row_of[edges["target"]]
    edges = edges[np.lexsort((edges["target"], edges["source"]))]
    arrays = {"id": tables.ids[rows].copy(), "descriptor": tables.descriptors[rows].copy()}
    arrays |= {name: np.ascontiguousarray(tables.nodes[name][rows]) for name in _NODE_COLUMNS}
    arrays |= {f"edge_{name}": np.ascontiguousarray(edges[name]) for name in _EDGE_COLUMNS}
    arrays["merged"] = np.array(sorted(merged.items()), dtype=np.int64).reshape(-1, 2)
    arrays["counters"] = np.array([tables.next_id, n_skipped], dtype=np.int64)
    arrays["trail_row"] = np.array([], dtype=np.int64)
    arrays["trail"] = np.array([], dtype=np.float64)
    if trail is not None:
        arrays["trail_row"] = np.array([row_of[trail.row] if trail.row >= 0 else -1], dtype=np.int64)
        arrays["trail"] = np.array([trail.left, trail.travelled, trail.stamp, *trail.position])
    return arrays


def settings_of(state: LayerState) -> dict[str, Any]:
    """The arguments that a saved graph was made with.

    Raises:
        InputError: if one is missing, unknown or of another type.
    """
    params = dict(state.params)
    both_ways = params.pop("both_ways", None)
    numbers: dict[str, Any] = checked_numbers(replace(state, params=params), NUMBERS)
    region_size = numbers["region_size"]
    if not isinstance(both_ways, bool) or region_size != int(region_size):
        raise InputError(f"layer {state.kind!r}: both_ways is {both_ways!r} and region_size {region_size}")
    return numbers | {"both_ways": both_ways, "region_size": int(region_size)}


def from_state(state: LayerState) -> tuple[Tables, Trail | None, dict[int, int], int]:
    """(tables, trail, merged, views skipped) of a saved graph.

    Raises:
        InputError: if anything in it is malformed or contradicts itself.
    """
    ids = checked_array(state, "id", np.int64, (None,))
    nodes = np.zeros(len(ids), dtype=NODE)
    for name in _NODE_COLUMNS:
        nodes[name] = checked_array(state, name, NODE[name].base, (len(ids), *NODE[name].shape))
    nodes["is_alive"] = True
    descriptors = checked_array(state, "descriptor", np.float32, (len(ids), None))
    edges = np.zeros(len(checked_array(state, "edge_source", np.int32, (None,))), dtype=EDGE)
    for name in _EDGE_COLUMNS:
        edges[name] = checked_array(state, f"edge_{name}", EDGE[name], (len(edges),))
    edges["is_alive"] = True
    next_id, n_skipped = checked_array(state, "counters", np.int64, (2,)).tolist()
    merged = checked_array(state, "merged", np.int64, (None, 2))
    trail = _trail(state, len(ids))
    problems = {
        "ids must ascend from 0": (np.diff(np.append(ids, next_id)) <= 0).any() or (ids < 0).any() or next_id < 0,
        "the next id is too high": next_id > _MOST_IDS,
        "a position is too far away": (np.abs(nodes["position"]) > FARTHEST).any(),
        "a landmark was seen less than once": (nodes["count"] < 1).any(),
        "a landmark was seen last before it was seen first": (nodes["anchor"] > nodes["last_seen"]).any(),
        "a mean descriptor is longer than 1": (np.linalg.norm(descriptors.astype(np.float64), axis=1) > 1.001).any(),
        "a counter is negative": n_skipped < 0,
        **_edge_problems(edges, len(ids)),
        **_merged_problems(merged, ids, next_id),
    }
    for problem, is_so in problems.items():
        if is_so:
            raise InputError(f"layer {state.kind!r}: {problem}")
    tables = Tables()
    tables.add_nodes(nodes, descriptors, ids)
    tables.add_edges(edges)
    tables.next_id = next_id
    return tables, trail, dict(merged.tolist()), n_skipped


def _edge_problems(edges: np.ndarray, n_nodes: int) -> dict[str, bool]:
    ends = np.stack([edges["source"], edges["target"]], axis=1).astype(np.int64)
    keys = ends[:, 0] * max(n_nodes, 1) + ends[:, 1]
    measures = [edges[name] for name in _EDGE_COLUMNS[2:]]
    return {
        "an edge has an end that is no landmark": bool(((ends < 0) | (ends >= n_nodes)).any()),
        "the edges are not in order, or one is there twice": bool((np.diff(keys) <= 0).any()),
        "an edge is a loop": bool((ends[:, 0] == ends[:, 1]).any()),
        "an edge has a negative number": any(bool((column < 0).any()) for column in measures),
        "an edge was measured more often than taken": any(
            bool((edges[name] > edges["successes"]).any()) for name in ("measured", "timed")
        ),
    }


def _merged_problems(merged: np.ndarray, ids: np.ndarray, next_id: int) -> dict[str, bool]:
    gone, into = merged[:, 0], merged[:, 1]
    is_known = bool(((merged >= 0) & (merged < next_id)).all())
    return {
        "a merged id is not in order or was never given": bool((np.diff(gone) <= 0).any()) or not is_known,
        "a merged id is still there": bool(np.isin(gone, ids).any()),
        "merged ids go round in circles": is_known
        and _has_circle(dict(zip(gone.tolist(), into.tolist(), strict=True))),
    }


def _has_circle(merged: dict[int, int]) -> bool:
    ends: set[int] = set()  # ids that lead out
    for start in merged:
        way, here = [], start
        while here in merged and here not in ends:
            way.append(here)
            here = merged[here]
            if len(way) > len(merged):
                return True
        ends.update(way)
    return False


def _trail(state: LayerState, n_nodes: int) -> Trail | None:
    rows = checked_array(state, "trail_row", np.int64, (None,))
    numbers = checked_array(state, "trail", np.float64, (None,))
    if len(rows) == 0 and len(numbers) == 0:
        return None
    if len(rows) != 1 or len(numbers) != 6 or not -1 <= rows[0] < n_nodes:
        raise InputError(f"layer {state.kind!r}: the trail is not a landmark and six numbers")
    left, travelled, stamp = numbers[:3].tolist()
    if not (travelled >= 0 and left <= stamp) or (np.abs(numbers[3:]) > FARTHEST).any():
        raise InputError(f"layer {state.kind!r}: the trail runs backwards or too far")
    return Trail(int(rows[0]), left, travelled, stamp, numbers[3:].copy())
