"""Where the body may stand, how it moves, and how far it is from one place to another."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage

from embmem.sim_envs.geodesic import GoalField, VisibilityGraph
from embmem.sim_envs.navmesh_kernels import are_inside, make_bins, slide, slide_many

SKIN = 1e-6  # [m] kept from every obstacle, so that rounding never ends inside one
DECIMALS = 9  # coordinates are rounded to 1 nm: what was meant to be flush is flush
BIN = 0.5  # [m]
N_FIELDS = 8  # goal sets whose distances are kept


class NavMesh:
    """Configuration space of a round body among axis-aligned rectangles, in the `map` frame [m].

    Every obstacle is grown by the radius of the body with square corners (the Minkowski sum with a square), so the
    free space is a complement of rectangles and everything here is exact for it. The square contains the disc:
    at the outer corners of an obstacle the body keeps up to (sqrt(2) - 1) radius more distance than it had to.
    The body must also stay inside `bounds`.
    """

    def __init__(self, rects: Float[np.ndarray, "n 4"], bounds: Float[np.ndarray, "4"], radius: float) -> None:
        """Obstacles [x0, y0, x1, y1], outer bounds in the same form and the radius of the body, all [m].

        Raises:
            ValueError: if a rectangle has no extent or the radius is negative.
        """
        rects = np.asarray(rects, dtype=np.float64).reshape(-1, 4)
        bounds = np.asarray(bounds, dtype=np.float64)
        for box in (*rects, bounds):
            if not (np.isfinite(box).all() and box[0] < box[2] and box[1] < box[3]):
                raise ValueError(f"a rectangle needs finite x0 < x1 and y0 < y1, got {box.tolist()}")
        if not 0 <= radius < np.inf:
            raise ValueError(f"radius must be >= 0, got {radius}")
        self.radius = radius
        self.bounds = bounds
        margin = (radius + SKIN) * np.array([-1.0, -1.0, 1.0, 1.0])
        x0, y0, x1, y1 = np.round(bounds - margin, DECIMALS).tolist()
        far = np.inf
        border = [[-far, -far, x0, far], [x1, -far, far, far], [-far, -far, far, y0], [-far, y1, far, far]]
        self._grown = np.round(rects + margin, DECIMALS)
        self._bins = make_bins(np.concatenate([self._grown, border]), bounds, BIN)
        self._fields: dict[bytes, GoalField] = {}

    @cached_property
    def _graph(self) -> VisibilityGraph:
        return VisibilityGraph.build(self._bins, self._grown)

    def is_free(self, points: Float[np.ndarray, "n 2"]) -> Bool[np.ndarray, " n"]:
        """Whether the body fits at each point; NaN is nowhere."""
        points = np.ascontiguousarray(points, dtype=np.float64)
        return np.isfinite(points).all(axis=1) & ~are_inside(self._bins, points)

    def step(
        self, position: Float[np.ndarray, "2"], delta: Float[np.ndarray, "2"]
    ) -> tuple[Float[np.ndarray, "2"], bool]:
        """(position, collided) after moving by `delta` from a free position.

        The motion is continuous (no tunnelling). At the first contact what is left of it is projected on the edge
        and slides along; a second contact ends it. The position that comes back is always free.
        """
        x, y, collided = slide(self._bins, position[0], position[1], delta[0], delta[1])
        return np.array([x, y]), collided

    def steps(
        self, position: Float[np.ndarray, "2"], deltas: Float[np.ndarray, "k 2"]
    ) -> tuple[Float[np.ndarray, "k 2"], Bool[np.ndarray, " k"]]:
        """`step` for several alternative moves from one position."""
        return slide_many(self._bins, position[0], position[1], np.ascontiguousarray(deltas))

    def field(self, goals: Float[np.ndarray, "m 2"]) -> GoalField:
        """Distances to the nearest of `goals`; the last few sets of goals are kept, for asking step by step."""
        goals = np.ascontiguousarray(goals, dtype=np.float64)
        key = goals.tobytes()
        field = self._fields.pop(key, None)
        if field is None:
            field = GoalField(self._graph, goals)
            while len(self._fields) >= N_FIELDS:
                del self._fields[next(iter(self._fields))]
        self._fields[key] = field
        return field

    def distances(self, starts: Float[np.ndarray, "n 2"], goals: Float[np.ndarray, "m 2"]) -> Float[np.ndarray, " n"]:
        """Geodesic distance [m] of each start to its nearest goal; inf if blocked or out of reach."""
        return self.field(goals).distances(starts)

    def path(self, start: Float[np.ndarray, "2"], goals: Float[np.ndarray, "m 2"]) -> Float[np.ndarray, "k 2"]:
        """The shortest polyline from `start` to its nearest goal, both included; empty if there is none."""
        return self.field(goals).path(start)

    @cached_property
    def _cells(self) -> _Cells:
        return _Cells(self._grown, self._bins.rects[-4:])

    def island(self, points: Float[np.ndarray, "n 2"]) -> Int[np.ndarray, " n"]:
        """Number of the connected part of free space that each point is in, the largest is 1; 0 if it is blocked."""
        return np.where(self.is_free(points), self._cells.label_at(np.asarray(points, dtype=np.float64)), 0)

    def sample(
        self, rng: np.random.Generator, island_of: Float[np.ndarray, "2"] | None = None
    ) -> Float[np.ndarray, "2"]:
        """A free point, uniform over the largest island or over the island of a given free point.

        Raises:
            ValueError: if there is no free space, or `island_of` is not in it.
        """
        label = 1 if island_of is None else int(self.island(island_of[None])[0])
        if label == 0 or label > self._cells.n_islands:
            raise ValueError(f"no free space to sample from (island of {island_of})")
        return self._cells.sample(rng, label)


class _Cells:
    """The free space cut along all edges of all obstacles: cells that are free or blocked as a whole."""

    def __init__(self, rects: Float[np.ndarray, "n 4"], border: Float[np.ndarray, "4 4"]) -> None:
        x0, x1, y0, y1 = border[0, 2], border[1, 0], border[2, 3], border[3, 1]
        self._x = np.unique(np.clip(np.concatenate([rects[:, [0, 2]].ravel(), [x0, x1]]), x0, max(x0, x1)))
        self._y = np.unique(np.clip(np.concatenate([rects[:, [1, 3]].ravel(), [y0, y1]]), y0, max(y0, y1)))
        free = np.ones((max(len(self._y) - 1, 1), max(len(self._x) - 1, 1)), dtype=bool)
        if x0 >= x1 or y0 >= y1:
            free[:] = False
        c0, c1 = np.searchsorted(self._x, np.clip(rects[:, [0, 2]].T, x0, x1))
        r0, r1 = np.searchsorted(self._y, np.clip(rects[:, [1, 3]].T, y0, y1))
        for i in range(len(rects)):
            free[r0[i] : r1[i], c0[i] : c1[i]] = False
        labels, self.n_islands = ndimage.label(free)
        self._area = np.outer(np.diff(self._y), np.diff(self._x)) if free.any() else np.zeros(free.shape)
        sizes = np.bincount(labels.ravel(), self._area.ravel(), minlength=self.n_islands + 1)[1:]
        rank = np.zeros(self.n_islands + 1, dtype=np.int64)
        rank[1 + np.argsort(-sizes, kind="stable")] = np.arange(1, self.n_islands + 1)
        self._labels = rank[labels]

    def label_at(self, points: Float[np.ndarray, "n 2"]) -> Int[np.ndarray, " n"]:
        """The island of each point; a point on the edge of an obstacle belongs to a free cell beside it."""
        rows, columns = self._labels.shape
        best = np.zeros(len(points), dtype=np.int64)
        for side_x in ("left", "right"):
            c = np.clip(np.searchsorted(self._x, points[:, 0], side_x) - 1, 0, columns - 1)
            for side_y in ("left", "right"):
                r = np.clip(np.searchsorted(self._y, points[:, 1], side_y) - 1, 0, rows - 1)
                best = np.maximum(best, self._labels[r, c])
        return best

    def sample(self, rng: np.random.Generator, label: int) -> Float[np.ndarray, "2"]:
        """A point uniform over the island."""
        rows, columns = np.nonzero(self._labels == label)
        area = np.cumsum(self._area[rows, columns])
        i = min(int(np.searchsorted(area, rng.random() * area[-1], "right")), len(area) - 1)
        low = np.array([self._x[columns[i]], self._y[rows[i]]])
        high = np.array([self._x[columns[i] + 1], self._y[rows[i] + 1]])
        return low + rng.random(2) * (high - low)
