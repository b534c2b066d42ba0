"""A way over an occupancy grid for a round robot, as a line of points; and where to stand in front of a thing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int8

from embmem.maps.distance import descend
from embmem.maps.grid import UNSEEN
from embmem.policies.cost_map import PRICE_MAX, CostMap, clearance_price

OCCUPIED_FROM = 65  # of 100, as map_server's default threshold
_DEARER = 1.02  # by which a straight line may cost more than the way over cells that it spares
_RING = 0.1  # [m] between two distances from which a thing is looked at
_MOST_STANDS = 200


@dataclass(frozen=True)
class GridPath:
    """Plans over what a grid knows. Prices are those of `embmem.policies.cost_map`: near obstacles a metre costs more.

    Args:
        radius: [m] of the robot.
        comfort: [m] from obstacles up to which the way is dearer.
        slack: [m] by which a gap may look too narrow, since grids round.
        crosses_unknown: whether the way may lead through cells that were never seen.
        blind: [m] around the robot where cells may be unknown: a camera does not see the floor under it.
    """

    radius: float = 0.22
    comfort: float = 0.5
    slack: float = 0.03
    crosses_unknown: bool = False
    blind: float = 0.6

    def __post_init__(self) -> None:
        if not 0 < self.radius < self.comfort or not 0 <= self.slack < self.radius or self.blind < 0:
            raise ValueError(f"need 0 < radius < comfort, 0 <= slack < radius and blind >= 0, got {self}")

    def costs(
        self,
        cells: Int8[np.ndarray, "h w"],
        origin: Float[np.ndarray, "2"],
        resolution: float,
        robot: Float[np.ndarray, "2"],
    ) -> CostMap:
        """What a metre costs in each cell.

        Args:
            cells: -1 unknown, else 0 free to 100 occupied; row 0 is the lowest y.
            origin: x, y [m] of the corner of cell (0, 0).
            resolution: edge of a cell [m].
            robot: where it stands [m]. There it can be, whatever the grid says, but where it is occupied.
        """
        occupied = cells >= OCCUPIED_FROM
        price = clearance_price(occupied, resolution, radius=self.radius, comfort=self.comfort, slack=self.slack)
        rows, columns = np.ogrid[: cells.shape[0], : cells.shape[1]]
        middle = (robot - origin) / resolution - 0.5
        distance = np.hypot(rows - middle[1], columns - middle[0]) * resolution
        if not self.crosses_unknown:
            price[(cells == UNSEEN) & (distance > self.blind)] = np.inf
        price[(distance <= self.radius) & ~occupied & ~np.isfinite(price)] = PRICE_MAX
        return CostMap(price, origin, resolution)

    def plan(
        self, costs: CostMap, start: Float[np.ndarray, "2"], goals: Float[np.ndarray, "n 2"]
    ) -> Float[np.ndarray, "k 2"]:
        """Points [m] of the cheapest way from `start` to the nearest of the goals, both included; none without a way.

        The way over cells is that of `CostMap.field`; it is drawn straight wherever a line is not dearer.
        """
        goals = goals[contains(costs, goals)]
        if not len(goals) or not contains(costs, start[None])[0]:
            return np.empty((0, 2))
        field = costs.field(goals).astype(np.float64)
        cells = descend(field, ~np.isfinite(costs.price), costs.cells(start[None])[0])
        if not len(cells):
            return np.empty((0, 2))
        points = costs.centres(cells)
        end = goals[np.argmin(np.hypot(*(goals - points[-1]).T))]
        points = np.vstack([start, points[1:-1], end])
        return points[_corners(costs, points)]

    def stands(
        self,
        costs: CostMap,
        cells: Int8[np.ndarray, "h w"],
        target: Float[np.ndarray, "2"],
        *,
        size: float = 0.0,
        far: float = 1.0,
    ) -> Float[np.ndarray, "n 2"]:
        """Points [m] in front of a thing where the robot fits, as near to it as there are any; none if it fits nowhere.

        Args:
            costs: of `costs`.
            cells: the grid that they were made of.
            target: middle of the thing [m].
            size: longer edge of it [m].
            far: [m] from its edge at most. Nothing occupied may lie between, but the thing itself.
        """
        rows, columns = np.nonzero(np.isfinite(costs.price) & (costs.price < PRICE_MAX))
        points = costs.centres(np.stack([rows, columns], axis=1))
        distance = np.hypot(*(points - target).T)
        occupied = cells >= OCCUPIED_FROM
        nearest = size / 2.0 + self.radius
        for ring in np.arange(nearest + _RING, size / 2.0 + far + _RING, _RING):
            near = points[distance <= ring]
            near = near[:: 1 + len(near) // _MOST_STANDS]
            if len(near):
                near = near[[_is_clear(costs, occupied, point, target, nearest + _RING) for point in near]]
            if len(near):
                return near
        return np.empty((0, 2))


def contains(costs: CostMap, points: Float[np.ndarray, "n 2"]) -> Bool[np.ndarray, " n"]:
    """Which of the points lie in the grid."""
    cells = np.floor((points - costs.origin) / costs.resolution)
    inside: Bool[np.ndarray, " n"] = ((cells >= 0) & (cells < np.array(costs.price.shape)[::-1])).all(axis=1)
    return inside


def _line(costs: CostMap, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rows, columns) of the cells under points on a line, two to a cell."""
    n = max(int(np.ceil(2.0 * np.hypot(*(b - a)) / costs.resolution)), 1) + 1
    at = costs.cells(a + np.linspace(0.0, 1.0, n)[:, None] * (b - a))
    return at[:, 0], at[:, 1]


def _price(costs: CostMap, a: np.ndarray, b: np.ndarray) -> float:
    """Of a straight line [m]; inf where something is in the way."""
    rows, columns = _line(costs, a, b)
    return float(costs.price[rows, columns].mean() * np.hypot(*(b - a)))


def _corners(costs: CostMap, points: Float[np.ndarray, "k 2"]) -> list[int]:
    """Those of the points between which a straight line is as good as the way over the others."""
    at = costs.cells(points)
    price = np.minimum(costs.price[at[:, 0], at[:, 1]], PRICE_MAX)
    lengths = np.hypot(*np.diff(points, axis=0).T)
    walked = np.concatenate([[0.0], np.cumsum(lengths * (price[1:] + price[:-1]) / 2.0)])
    corners, i, last = [0], 0, len(points) - 1
    while i < last:
        good, step = i + 1, 1  # the next point can be gone to; steps grow until one is too long, then halve
        is_growing = True
        while step >= 1:
            j = min(good + step, last)
            if j > good and _price(costs, points[i], points[j]) <= _DEARER * (walked[j] - walked[i]):
                good, step = j, 2 * step if is_growing else step // 2
            else:
                is_growing, step = False, step // 2
        corners.append(good)
        i = good
    return corners


def _is_clear(costs: CostMap, occupied: Bool[np.ndarray, "h w"], a: np.ndarray, b: np.ndarray, short: float) -> bool:
    """Whether nothing lies on the line from a to b but within `short` [m] of b."""
    reach = float(np.hypot(*(b - a)))
    if reach <= short:
        return True
    rows, columns = _line(costs, a, a + (b - a) * (1.0 - short / reach))
    return not bool(occupied[rows, columns].any())
