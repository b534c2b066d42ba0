"""Exact shortest paths among open rectangles, by a visibility graph over their corners.

A shortest path is a polyline that turns at corners only (Lozano-Pérez and Wesley, Communications of the ACM 1979),
and at a corner both of its segments are tangent to the rectangle; other edges are left out of the graph.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from embmem.sim_envs.navmesh_kernels import Bins, are_inside, attach_goals, nearest_nodes, relax, tangent_edges

# Signs (x, y) of the quadrant that the rectangle occupies as seen from each of its corners.
_QUADRANTS = np.array([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])


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
        pairs = tangent_edges(bins, corners)
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
        self._cost, self._next = attach_goals(graph.bins, graph.corners, self._usable)
        relax(self._cost, self._next, graph.first, graph.neighbours, graph.lengths)

    def _is_free(self, points: Float[np.ndarray, "n 2"]) -> Bool[np.ndarray, " n"]:
        return np.isfinite(points).all(axis=1) & ~are_inside(self._graph.bins, points)

    def _query(self, starts: Float[np.ndarray, "n 2"]) -> tuple[Float[np.ndarray, " n"], Int[np.ndarray, " n"]]:
        starts = np.ascontiguousarray(starts, dtype=np.float64)
        distance, node = nearest_nodes(self._graph.bins, self._graph.corners, self._cost, self._usable, starts)
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
