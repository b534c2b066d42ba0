"""Shortest paths on large sparse graphs with positions: street networks, graphs of landmarks."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Float, Int
from numba import njit

from embmem.maps.voxels import morton

_N_BUCKETS = 1024  # a power of two
_UNUSED, _USED, _QUEUED = range(3)  # first entry to use again, entries used so far, entries in buckets


class RouteGraph:
    """Nodes in space and ways between them, as compressed rows in an order that keeps neighbours together.

    Distances are the smallest sums over all paths, added up from the start, and do not depend on the order of the
    edges. The same graph gives the same path among equally short ones.

    Args:
        positions: (n, d) [m], in two or three dimensions.
        edges: (m, 2) nodes that each edge joins; of several edges between two nodes the shortest counts.
        lengths: (k,) with k = m, what each edge costs, 0 or more; in metres or any other unit.
        directed: whether edges lead from the first node to the second only.

    Raises:
        ValueError: if a position is not finite, k is not m, an edge names a node that is not there, or a length is
            negative, NaN or infinite.
    """

    def __init__(
        self,
        positions: Float[np.ndarray, "n d"],
        edges: Int[np.ndarray, "m 2"],
        lengths: Float[np.ndarray, " k"],
        *,
        directed: bool = False,
    ) -> None:
        n = len(positions)
        if positions.shape[1] not in (2, 3):
            raise ValueError(f"positions must have 2 or 3 coordinates, got {positions.shape[1]}")
        if not np.isfinite(positions).all():
            bad = ~np.isfinite(positions).all(axis=1)
            raise ValueError(f"positions must be finite, got {positions[bad][0]} for node {int(np.argmax(bad))}")
        if len(edges) != len(lengths):
            raise ValueError(f"{len(edges)} edges need as many lengths, got {len(lengths)}")
        if edges.size and (edges.min() < 0 or edges.max() >= n):
            raise ValueError(f"edges must join nodes below {n}, got {edges.min()}..{edges.max()}")
        bad = ~(np.isfinite(lengths) & (lengths >= 0))
        if bad.any():
            raise ValueError(f"lengths must be finite and >= 0, got {lengths[bad][0]} for edge {int(np.argmax(bad))}")
        self.n_nodes = n
        self._node_of = _spatial_order(positions)  # our row -> the caller's node
        self._row_of = np.empty(n, dtype=np.int32)
        self._row_of[self._node_of] = np.arange(n, dtype=np.int32)
        self._positions = np.zeros((n, 3))
        self._positions[:, : positions.shape[1]] = positions[self._node_of]
        rows = self._row_of[edges]
        if not directed:
            rows, lengths = np.concatenate([rows, rows[:, ::-1]]), np.concatenate([lengths, lengths])
        order = np.lexsort((rows[:, 1], rows[:, 0]))
        rows, self._lengths = rows[order], lengths[order].astype(np.float64)
        self._targets = np.ascontiguousarray(rows[:, 1])
        self._first = np.searchsorted(rows[:, 0], np.arange(n + 1))
        crow = np.linalg.norm(self._positions[rows[:, 0]] - self._positions[rows[:, 1]], axis=1)
        apart = crow > 0
        # No way is shorter than this times the straight line: the bound of A*, with room for rounding.
        self._per_metre = float((self._lengths[apart] / crow[apart]).min()) * (1.0 - 1e-9) if apart.any() else 0.0
        longest, mean = (float(self._lengths.max()), float(self._lengths.mean())) if len(rows) else (0.0, 0.0)
        self._width = max(mean, 2.0 * longest / (_N_BUCKETS - 4)) or 1.0

    def shortest_path(self, start: int, goal: int) -> tuple[Int[np.ndarray, " k"], float]:
        """The nodes of a shortest path from `start` to `goal`, both included, and its length; empty and inf if none.

        A* (Hart, Nilsson and Raphael, IEEE Transactions on Systems Science and Cybernetics 4(2), 1968).
        """
        rows = [self._row(start), self._row(goal)]
        distances, before = self._search(rows[0], rows[1])
        if not np.isfinite(distances[rows[1]]):
            return np.empty(0, dtype=np.int64), float(np.inf)
        return self._node_of[_way_back(before, rows[1])], float(distances[rows[1]])

    def distances(self, source: int) -> Float[np.ndarray, " n"]:
        """The length of the shortest path from `source` to each node, inf where none leads."""
        return self._search(self._row(source), -1)[0][self._row_of]

    def _row(self, node: int) -> int:
        if not 0 <= node < self.n_nodes:
            raise ValueError(f"node must be one of 0..{self.n_nodes - 1}, got {node}")
        return int(self._row_of[node])

    def _search(self, start: int, goal: int) -> tuple[Float[np.ndarray, " n"], Int[np.ndarray, " n"]]:
        """(distance, node before) of each row; where there is a goal they are final only on the way to it."""
        bound = self._per_metre if goal >= 0 else 0.0
        graph = (self._first, self._targets, self._lengths, self._positions)
        return _spread(graph, start, goal, bound, self._width)


def _spatial_order(positions: Float[np.ndarray, "n d"]) -> Int[np.ndarray, " n"]:
    """The nodes along a Morton curve, so that neighbours in space are mostly neighbours in memory."""
    if len(positions) == 0:
        return np.empty(0, dtype=np.int64)
    low = positions.min(axis=0)
    extent = float((positions.max(axis=0) - low).max()) or 1.0
    cells = np.zeros((len(positions), 3), dtype=np.int64)
    cells[:, : positions.shape[1]] = (positions - low) * ((1 << morton.BITS) - 1) / extent
    return np.argsort(morton.encode(cells), kind="stable")


@no_type_check
@njit(cache=True)
def _ahead(positions, node, goal, bound):
    """What the way from a node to the goal costs at least."""
    if goal < 0 or bound == 0.0:
        return 0.0
    dx, dy = positions[node, 0] - positions[goal, 0], positions[node, 1] - positions[goal, 1]
    dz = positions[node, 2] - positions[goal, 2]
    return bound * np.sqrt(dx * dx + dy * dy + dz * dz)


@no_type_check
@njit(cache=True)
def _queue(node, level, waiting, entries, heads, counts):
    """Let a node wait in the bucket of a level."""
    waiting[node] = True
    entry = counts[_UNUSED]
    if entry >= 0:
        counts[_UNUSED] = entries[entry, 1]
    else:
        entry = counts[_USED]
        counts[_USED] += 1
    bucket = level & (_N_BUCKETS - 1)
    entries[entry, 0], entries[entry, 1] = node, heads[bucket]
    heads[bucket] = entry
    counts[_QUEUED] += 1


@no_type_check
@njit(cache=True)
def _put_back(entry, bucket, entries, heads):
    """Return the rest of a chain to its bucket."""
    last = entry
    while entries[last, 1] >= 0:
        last = entries[last, 1]
    entries[last, 1], heads[bucket] = heads[bucket], entry


@no_type_check
@njit(cache=True)
def _sweep(graph, aim, width, level, state, queue):
    """Expand what waits, level by level; the level reached, at the end or where `entries` run out."""
    first, targets, lengths, positions = graph
    goal, bound, nearest = aim
    distances, before, waiting = state
    entries, heads, counts = queue
    while counts[_QUEUED] > 0:
        bucket = level & (_N_BUCKETS - 1)
        while heads[bucket] >= 0:
            entry = heads[bucket]
            heads[bucket] = -1
            while entry >= 0:
                node = entries[entry, 0]
                if counts[_USED] + first[node + 1] - first[node] > len(entries):
                    _put_back(entry, bucket, entries, heads)
                    return level
                after = entries[entry, 1]
                entries[entry, 1], counts[_UNUSED] = counts[_UNUSED], entry
                counts[_QUEUED] -= 1
                entry = after
                if not waiting[node]:
                    continue  # expanded before, from an entry of a lower level
                waiting[node] = False
                here = distances[node]
                for k in range(first[node], first[node + 1]):
                    other, there = targets[k], here + lengths[k]
                    if there < distances[other]:
                        distances[other], before[other] = there, node
                        estimate = there + _ahead(positions, other, goal, bound) - nearest
                        _queue(other, max(int(estimate / width), level), waiting, entries, heads, counts)
        if goal >= 0 and distances[goal] - nearest < level * width:
            counts[_QUEUED] = 0
        level += 1
    return level


@no_type_check
@njit(cache=True)
def _spread(graph, start, goal, bound, width):
    """Shortest paths with a queue of buckets whose nodes are corrected until none improves.

    Meyer and Sanders, Delta-stepping: a parallelizable shortest path algorithm, Journal of Algorithms 49, 2003. With
    a goal nodes are queued by the length of the way through them that is at least needed.
    """
    n = len(graph[0]) - 1
    distances, before, waiting = np.full(n, np.inf), np.full(n, -1, np.int32), np.zeros(n, np.bool_)
    entries = np.empty((4096, 2), np.int32)  # a node and the next entry of its bucket
    heads = np.full(_N_BUCKETS, -1, np.int32)
    counts = np.array([-1, 0, 0])
    aim = (goal, bound, _ahead(graph[3], start, goal, bound))
    distances[start] = 0.0
    _queue(start, 0, waiting, entries, heads, counts)
    level = 0
    while counts[_QUEUED] > 0:
        level = _sweep(graph, aim, width, level, (distances, before, waiting), (entries, heads, counts))
        entries = np.concatenate((entries, np.empty_like(entries)))
    return distances, before


@no_type_check
@njit(cache=True)
def _way_back(before, goal):
    """The rows from the start to `goal`."""
    n, node = 0, goal
    while node >= 0:
        n, node = n + 1, before[node]
    way = np.empty(n, np.int64)
    node = goal
    for i in range(n - 1, -1, -1):
        way[i], node = node, before[node]
    return way
