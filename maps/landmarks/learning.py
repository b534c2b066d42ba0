"""What views and traversals add to the tables of a landmark graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, no_type_check

import numpy as np
from numba import njit

from embmem.maps.landmarks.cells import Cells
from embmem.maps.landmarks.tables import Tables, edge_rows

FARTHEST = 1e9  # [m] of a coordinate


class Edge(NamedTuple):
    """A way from one landmark to another, for whoever prices it."""

    source: int  # id
    target: int
    source_position: np.ndarray  # (3,) [m]
    target_position: np.ndarray
    length: float  # [m]


class Trail(NamedTuple):
    """The way since the last landmark."""

    row: int  # of that landmark, -1 = none
    left: float  # [s] when it was seen last
    travelled: float  # [m] since
    stamp: float  # [s] of the last position
    position: np.ndarray  # (3,) [m]


def matched(
    tables: Tables, cells: Cells, view: tuple[np.ndarray, np.ndarray], gates: tuple[float, float]
) -> tuple[int, float]:
    """(row, cosine) of the most alike node that is both near and similar, the lowest row of a tie; (-1, nan) if none.

    Args:
        tables: of the graph.
        cells: over all its nodes.
        view: position [m] and unit descriptor.
        gates: largest distance [m] and least cosine.
    """
    near = cells.within(tables.nodes["position"], view[0], gates[0])
    row, cosine = _most_alike(near, tables.nodes["is_alive"], tables.descriptors, view[1])
    return (int(row), float(cosine)) if cosine >= gates[1] and tables.dim else (-1, float(np.nan))


@no_type_check
@njit(cache=True)
def _most_alike(rows, is_alive, descriptors, unit):
    """(row, cosine with a unit vector) of the most alike of some nodes, the first of a tie."""
    best, highest = -1, -2.0
    for row in rows:
        if not is_alive[row]:
            continue
        product, square = 0.0, 0.0
        for k in range(len(unit)):
            x = np.float64(descriptors[row, k])
            product += x * unit[k]
            square += x * x
        cosine = product / max(np.sqrt(square), 1e-30)
        if cosine > highest:
            best, highest = row, cosine
    return best, highest


def fold_view(tables: Tables, row: int, descriptor: np.ndarray, stamp: float) -> None:
    """Add a view to the running mean of its node."""
    nodes = tables.nodes
    nodes["count"][row] += 1
    nodes["last_seen"][row] = max(nodes["last_seen"][row], stamp)
    mean = tables.descriptors[row].astype(np.float64)
    tables.descriptors[row] = mean + (descriptor - mean) / nodes["count"][row]


def fold_traversal(edges: np.ndarray, row: int, success: bool, measured: tuple[float | None, float | None]) -> None:
    """Add a traversal of (seconds, length [m]), None where it was not measured; a failure measures nothing."""
    if not success:
        edges["failures"][row] += 1
        return
    seconds, length = measured
    if length is not None:
        n = edges["measured"][row]
        edges["length"][row] = (edges["length"][row] * n + length) / (n + 1)
        edges["measured"][row] += 1
    if seconds is not None:
        n = edges["timed"][row]
        edges["seconds"][row] = (edges["seconds"][row] * n + seconds) / (n + 1)
        edges["timed"][row] += 1
    edges["successes"][row] += 1


def crows(nodes: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(m,) [m] straight lengths of edges."""
    return np.linalg.norm(nodes["position"][edges["source"]] - nodes["position"][edges["target"]], axis=1)


def moved_on(trail: Trail | None, position: np.ndarray, stamp: float, max_jump: float) -> Trail:
    """The trail, gone on with to a position; a new one after a jump or when the clock ran backwards."""
    if trail is None:
        return Trail(-1, stamp, 0.0, stamp, position)
    step = float(np.linalg.norm(position - trail.position))
    if step > max_jump or stamp < trail.stamp:
        return Trail(-1, stamp, 0.0, stamp, position)
    return Trail(trail.row, trail.left, trail.travelled + step, stamp, position)


def take(
    tables: Tables,
    ways: Sequence[tuple[int, int]],
    measured: tuple[float, float],
    cost_of: Callable[[Edge], float] | None,
) -> list[int]:
    """Learn that somebody took the first way in (seconds, length [m]), and that the others are there; edges changed.

    A length is at least the straight line.
    """
    pairs, seconds = np.array(ways), measured[0]
    places = tables.nodes["position"][pairs[0]]
    length = max(measured[1], float(np.linalg.norm(places[0] - places[1])))
    missing = pairs[tables.find_edges(pairs) < 0]
    join(tables, missing, np.full(len(missing), length), cost_of)
    row = int(tables.find_edges(pairs[:1])[0])
    fold_traversal(tables.edges, row, True, (seconds, length))
    return [row]


def join(
    tables: Tables, pairs: np.ndarray, lengths: np.ndarray, costs: np.ndarray | Callable[[Edge], float] | None
) -> None:
    """New edges between pairs of rows, with instruction costs given or to be asked for, 0 if neither.

    Raises:
        ValueError: if a pair is joined already, twice among the pairs or one node with itself, or a number is
            negative or not finite; nothing has changed then.
    """
    keys = pairs[:, 0] * tables.n_nodes + pairs[:, 1]
    known = tables.find_edges(pairs) >= 0
    if (pairs[:, 0] == pairs[:, 1]).any() or len(np.unique(keys)) < len(keys) or known.any():
        raise ValueError("an edge must join two landmarks that it is the first to join")
    if len(lengths) != len(pairs) or not (np.isfinite(lengths) & (lengths >= 0)).all():
        raise ValueError(f"{len(pairs)} edges need as many lengths, finite and 0 or more, got {lengths}")
    if costs is None:
        costs = np.zeros(len(pairs))
    elif callable(costs):
        costs = np.array([costs(edge) for edge in _described(tables, pairs, lengths)], dtype=np.float64)
    if len(costs) != len(pairs) or not (np.isfinite(costs) & (costs >= 0)).all():
        raise ValueError(f"{len(pairs)} edges need as many instruction costs, finite and 0 or more, got {costs}")
    tables.add_edges(edge_rows(pairs, lengths, costs))


def _described(tables: Tables, pairs: np.ndarray, lengths: np.ndarray) -> list[Edge]:
    places = tables.nodes["position"][pairs]
    described = []
    for (a, b), place, length in zip(tables.ids[pairs].tolist(), places, lengths, strict=True):
        described.append(Edge(a, b, place[0].copy(), place[1].copy(), float(length)))
    return described
