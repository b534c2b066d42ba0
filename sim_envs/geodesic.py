"""Exact shortest paths among open rectangles, by a visibility graph over their corners.

A shortest path is a polyline that turns at corners only (Lozano-Pérez and Wesley, Communications of the ACM 1979),
and at a corner both of its segments are tangent to the rectangle; other edges are left out of the graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float, Int
from numba import njit

from embmem.sim_envs.navmesh_kernels import Bins, are_inside, is_visible

# Signs (x, y) of the quadrant that the rectangle occupies as seen from each of its corners.
_QUADRANTS = np.array([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])


@njit(cache=True)
@no_type_check
def _is_tangent(corners: np.ndarray, v: int, dx: float, dy: float) -> bool:
    """Whether the line with this direction through corner `v` leaves its rectangle on one side."""
    return dx * corners[v, 2] * dy * corners[v, 3] <= 0.0


@njit(cache=True)
@no_type_check
def _edges(bins: Bins, corners: np.ndarray) -> np.ndarray:
    """(e, 2) pairs of corners that see each other along a line tangent at both."""
    pairs = np.empty((1024, 2), dtype=np.int64)
    n = 0
    for i in range(corners.shape[0]):
        for j in range(i):
            dx, dy = corners[j, 0] - corners[i, 0], corners[j, 1] - corners[i, 1]
            if not (_is_tangent(corners, i, dx, dy) and _is_tangent(corners, j, dx, dy)):
                continue
            if is_visible(bins, corners[i, 0], corners[i, 1], corners[j, 0], corners[j, 1]):
                if n == pairs.shape[0]:
                    pairs = np.concatenate((pairs, np.empty_like(pairs)))
                pairs[n, 0], pairs[n, 1] = i, j
                n += 1
    return pairs[:n]


@njit(cache=True)
@no_type_check
def _attach(bins: Bins, corners: np.ndarray, goals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(cost, goal) of every corner's nearest goal in sight; inf and -1 where none is."""
    cost = np.full(corners.shape[0], np.inf)
    goal = np.full(corners.shape[0], -1)
    for v in range(corners.shape[0]):
        x, y = corners[v, 0], corners[v, 1]
        for g in range(goals.shape[0]):
            dx, dy = goals[g, 0] - x, goals[g, 1] - y
            d = np.sqrt(dx * dx + dy * dy)
            if d < cost[v] and _is_tangent(corners, v, dx, dy) and is_visible(bins, x, y, goals[g, 0], goals[g, 1]):
                cost[v], goal[v] = d, g
    return cost, goal


@njit(cache=True)
@no_type_check
def _relax(cost, target, first, neighbours, lengths):
    """Dijkstra in place from the costs given; `target` of a corner becomes its next node, a goal or -2 - corner."""
    heap = [(cost[v], v) for v in range(cost.shape[0]) if cost[v] < np.inf]
    heap.sort()
    while len(heap) > 0:
        d, v = heappop(heap)
        if d > cost[v]:
            continue
        for k in range(first[v], first[v + 1]):
            u, through = neighbours[k], d + lengths[k]
            if through < cost[u]:
                cost[u], target[u] = through, -2 - v
                heappush(heap, (through, u))


@njit(cache=True)
@no_type_check
def _query(bins, corners, cost, goals, starts):
    """(distance, node) of every start: node g >= 0 is a goal in sight, -2 - v a corner, -1 nothing."""
    distance = np.full(starts.shape[0], np.inf)
    node = np.full(starts.shape[0], -1)
    for i in range(starts.shape[0]):
        x, y = starts[i, 0], starts[i, 1]
        # The answer of the last start is likely good for this one, and a tight bound saves most tests of sight.
        v = -2 - node[i - 1] if i > 0 else -1
        if v >= 0 and is_visible(bins, x, y, corners[v, 0], corners[v, 1]):
            distance[i], node[i] = np.hypot(corners[v, 0] - x, corners[v, 1] - y) + cost[v], -2 - v
        for g in range(goals.shape[0]):
            d = np.hypot(goals[g, 0] - x, goals[g, 1] - y)
            if d < distance[i] and is_visible(bins, x, y, goals[g, 0], goals[g, 1]):
                distance[i], node[i] = d, g
        for v in range(corners.shape[0]):
            dx, dy = corners[v, 0] - x, corners[v, 1] - y
            d = np.sqrt(dx * dx + dy * dy) + cost[v]
            if not (d < distance[i] and _is_tangent(corners, v, dx, dy)):
                continue
            if is_visible(bins, x, y, corners[v, 0], corners[v, 1]):
                distance[i], node[i] = d, -2 - v
    return distance, node


@dataclass(frozen=True, eq=False)
class VisibilityGraph:
    """Corners of the rectangles and who sees whom, as compressed rows."""

    bins: Bins
    corners: np.ndarray  # (v, 4) x, y [m] and the quadrant of the rectangle
    first: np.ndarray  # (v + 1,)
    neighbours: np.ndarray  # (e,)
    lengths: np.ndarray  # (e,) [m]

    @classmethod
    def build(cls, bins: Bins, rects: Float[np.ndarray, "n 4"]) -> VisibilityGraph:
        """The graph over those corners of `rects` that are not inside a rectangle of `bins`."""
        xy = rects[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
        corners = np.concatenate([xy, np.broadcast_to(_QUADRANTS, xy.shape)], axis=2).reshape(-1, 4)
        corners = np.unique(corners[~are_inside(bins, np.ascontiguousarray(corners[:, :2]))], axis=0)
        pairs = _edges(bins, corners)
        source = np.concatenate([pairs[:, 0], pairs[:, 1]])
        order = np.argsort(source, kind="stable")
        neighbours = np.concatenate([pairs[:, 1], pairs[:, 0]])[order]
        source = source[order]
        lengths = np.hypot(*(corners[source, :2] - corners[neighbours, :2]).T)
        first = np.searchsorted(source, np.arange(len(corners) + 1))
        return cls(bins, corners, first, neighbours, lengths)


class GoalField:
    """Geodesic distance to the nearest of some goals, from anywhere; the graph is searched once."""

    def __init__(self, graph: VisibilityGraph, goals: Float[np.ndarray, "m 2"]) -> None:
        self.goals = np.ascontiguousarray(goals, dtype=np.float64)
        self._graph = graph
        self._usable = self.goals[self._is_free(self.goals)]
        self._cost, self._next = _attach(graph.bins, graph.corners, self._usable)
        _relax(self._cost, self._next, graph.first, graph.neighbours, graph.lengths)

    def _is_free(self, points: Float[np.ndarray, "n 2"]) -> Bool[np.ndarray, " n"]:
        return np.isfinite(points).all(axis=1) & ~are_inside(self._graph.bins, points)

    def _query(self, starts: Float[np.ndarray, "n 2"]) -> tuple[Float[np.ndarray, " n"], Int[np.ndarray, " n"]]:
        starts = np.ascontiguousarray(starts, dtype=np.float64)
        distance, node = _query(self._graph.bins, self._graph.corners, self._cost, self._usable, starts)
        blocked = ~self._is_free(starts)
        distance[blocked], node[blocked] = np.inf, -1
        return distance, node

    def distances(self, starts: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, " n"]:
        """Length [m] of the shortest path of each start; inf where it is blocked or no goal can be reached."""
        return self._query(starts)[0]

    def path(self, start: Float[np.ndarray, "2"]) -> Float[np.ndarray, "k 2"]:
        """Corners of the shortest path from `start` to its goal, both included; empty if there is none."""
        node = int(self._query(start[None])[1][0])
        if node == -1:
            return np.empty((0, 2))
        points = [np.asarray(start, dtype=np.float64)]
        while node < 0:
            points.append(self._graph.corners[-2 - node, :2])
            node = int(self._next[-2 - node])
        points.append(self._usable[node])
        return np.stack(points)
