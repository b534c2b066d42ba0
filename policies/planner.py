"""A planner for a round body on a top-down grid: a price for closeness, a field to the goal, a short look-ahead."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int8

from embmem.agent import Action, Body
from embmem.maps.grid import OCCUPIED, UNSEEN, OccupancyGrid
from embmem.policies.cost_map import PRICE_MAX, CostMap, clearance_price
from embmem.policies.look_ahead import best_plan
from embmem.policies.motion import forward_progress

_CONTACT, _BUMP = 0.1, 0.045  # [m] where the body's centre can not go after a bump: how far ahead, how wide
_STANDING = 0.12  # [m] around the body that must be free, whatever the map says: it stands there


class GridPlanner:
    """Next actions to a goal over known and unknown space; unknown cells are walkable but dearer.

    The goal is a set of points: the nearest one counts. `update` takes a new map, `set_goal` a new goal;
    `next_action` must be called once per step with the true pose, so that it notices steps that did not happen.
    """

    def __init__(
        self,
        body: Body | None = None,
        *,
        comfort: float = 0.35,  # [m] clearance up to which a wall makes the way dearer
        slack: float = 0.05,  # [m] by which a way may look too narrow
        unknown_price: float = 1.5,
        turn_price: float = 0.15,  # [m / rad]
        margin: float = 1.0,  # [m] of unknown cells kept around map, body and goal
    ) -> None:
        self.body = body or Body()
        if comfort <= self.body.radius:
            raise ValueError(f"comfort {comfort} must exceed the body's radius {self.body.radius}")
        self._comfort, self._slack = comfort, slack
        self._unknown_price, self._turn_price, self._margin = unknown_price, turn_price, margin
        self.reset()

    def reset(self) -> None:
        """Forget the map, the goal and the bumps."""
        self.map: CostMap | None = None
        self._goal: np.ndarray = np.empty((0, 2))
        self._tolerance = 0.0
        self._field: np.ndarray | None = None
        self._bumps: list[np.ndarray] = []
        self._last: tuple[np.ndarray, Action] | None = None

    def stand_still(self) -> None:
        """Expect nothing of the next pose: the body may be carried elsewhere."""
        self._last = None

    def update(self, grid: OccupancyGrid, position: Float[np.ndarray, "2"]) -> CostMap:
        """Take a new map; the goal stays. Returns what walking costs there."""
        cells, origin = self._canvas(grid, position)
        resolution = grid.resolution
        price = clearance_price(
            cells == OCCUPIED,
            resolution,
            radius=self.body.radius,
            comfort=self._comfort,
            slack=self._slack,
        )
        price[cells == UNSEEN] *= self._unknown_price
        np.minimum(price, PRICE_MAX, out=price, where=np.isfinite(price))
        self.map = CostMap(price, origin, resolution)
        self._stamp_disc(position, _STANDING, None)
        for bump in self._bumps:
            self._stamp_disc(bump, _BUMP, np.inf)
        self._field = None
        return self.map

    def _canvas(
        self, grid: OccupancyGrid, position: Float[np.ndarray, "2"]
    ) -> tuple[Int8[np.ndarray, "h w"], Float[np.ndarray, "2"]]:
        """(cells, origin) of what is known, with the body and the goal, and some unknown space around them."""
        points = np.vstack([position, self._goal])
        own = grid.to_cells(np.stack([points.min(axis=0), points.max(axis=0)]))
        is_known = grid.cells != UNSEEN
        rows, columns = np.flatnonzero(is_known.any(axis=1)), np.flatnonzero(is_known.any(axis=0))
        low, high = own[0], own[1]
        if len(rows):
            low = np.minimum(low, (rows[0], columns[0]))
            high = np.maximum(high, (rows[-1], columns[-1]))
        margin = int(np.ceil(self._margin / grid.resolution))
        low, high = low - margin, high + 1 + margin
        cells = np.full(tuple(high - low), UNSEEN, dtype=np.int8)
        inner, outer = np.maximum(low, 0), np.minimum(high, grid.cells.shape)
        if (inner < outer).all():
            known = grid.cells[inner[0] : outer[0], inner[1] : outer[1]]
            row, column = inner - low
            cells[row : row + known.shape[0], column : column + known.shape[1]] = known
        return cells, grid.origin + low[::-1] * grid.resolution

    def _stamp_disc(self, centre: Float[np.ndarray, "2"], radius: float, price: float | None) -> None:
        """Set the price of the cells within `radius`; None opens those that are blocked, at the highest price."""
        m = self.map
        if m is None:
            return
        n = int(np.ceil(radius / m.resolution)) + 1
        row, col = m.cells(centre[None])[0]
        h, w = m.price.shape
        window = (slice(max(row - n, 0), min(row + n + 1, h)), slice(max(col - n, 0), min(col + n + 1, w)))
        rows, cols = np.mgrid[window]
        offset = m.centres(np.stack([rows.ravel(), cols.ravel()], axis=1)) - centre
        inside = (np.hypot(offset[:, 0], offset[:, 1]) <= radius).reshape(rows.shape)
        if price is None:
            blocked = inside & ~np.isfinite(m.price[window])
            m.price[window][blocked] = PRICE_MAX
        else:
            m.price[window][inside] = price

    def set_goal(self, points: Float[np.ndarray, "n 2"], tolerance: float = 0.1) -> None:
        """Go to the nearest of the points [m]; being within `tolerance` [m] of it is being there."""
        if tolerance < 0:
            raise ValueError(f"tolerance must be >= 0 [m], got {tolerance}")
        self._goal, self._tolerance, self._field = np.asarray(points, dtype=np.float64), tolerance, None

    def distance(self, position: Float[np.ndarray, "2"]) -> float:
        """Price-weighted distance [m] from here to the goal; inf without a way (or without map or goal)."""
        if self.map is None or not len(self._goal):
            return float(np.inf)
        if self._field is None:
            self._field = self.map.field(self._goal)
        return float(self.map.at(self._field, position[None])[0])

    def has_arrived(self, position: Float[np.ndarray, "2"]) -> bool:
        """Whether a goal point lies within the tolerance, and not just beyond a wall."""
        if not len(self._goal):
            return False
        near = np.hypot(*(self._goal - position).T).min() <= self._tolerance
        return bool(near) and self.distance(position) <= max(8 * self._tolerance, 0.5)

    def next_action(self, position: Float[np.ndarray, "2"], yaw: float) -> Action | None:
        """The next action towards the goal; None where the goal is reached or there is no way to it."""
        self.notice(position, yaw)
        if self.has_arrived(position):
            return None
        if not np.isfinite(self.distance(position)):
            self._forgive()
        self.distance(position)
        m, field = self.map, self._field
        if m is None or field is None:
            return None
        turn = float(np.radians(self.body.turn))
        turns, price = best_plan(
            field,
            m.price,
            m.origin,
            m.resolution,
            float(position[0]),
            float(position[1]),
            yaw,
            self.body.forward,
            turn,
            self._turn_price,
            self._tolerance,
        )
        if not np.isfinite(price):
            return None
        # The field knows nothing of headings and steps. Raising it to what the plan found here, as in learning
        # real-time A* (Korf, Artificial Intelligence 42, 1990), makes a place that cheats lose its charm.
        row, col = m.cells(position[None])[0]
        field[row, col] = max(field[row, col], price - abs(turns) * turn * self._turn_price)
        action = Action.FORWARD if turns == 0 else Action.LEFT if turns > 0 else Action.RIGHT
        self._last = (position.copy(), action)
        return action

    def notice(self, position: Float[np.ndarray, "2"], yaw: float) -> bool:
        """Compare the last step with the pose: True, and the cells ahead blocked, if it did not get forward."""
        last, self._last = self._last, None
        if last is None or last[1] is not Action.FORWARD:
            return False
        if forward_progress(last[0], position, yaw) >= 0.8 * self.body.forward:
            return False
        ahead = np.array([np.cos(yaw), np.sin(yaw)])
        self._bumps.append(position + _CONTACT * ahead)
        self._stamp_disc(self._bumps[-1], _BUMP, np.inf)
        self._field = None
        return True

    def _forgive(self) -> None:
        """Forget the bumps, where they have closed every way."""
        if self.map is not None:
            for bump in self._bumps:
                self._stamp_disc(bump, _BUMP, None)
        self._bumps.clear()
        self._field = None
