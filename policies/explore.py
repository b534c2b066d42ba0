"""Where to look next: the borders of the known floor, and the furniture that was only seen from afar."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from embmem.agent import Action, Body
from embmem.policies.motion import turn_towards, wrap_angle
from embmem.policies.planner import GridPlanner
from embmem.policies.scene import Scene
from embmem.policies.stand import viewpoints

_SAME = 0.4  # [m] within which two targets are the same one
_HOPELESS = 0.5  # [m] around the middle of a place that was not seen from where it should be
_MAX_RETRIES = 5  # targets given up in one step
_MAX_SIZE = 3.0  # [m], larger targets earn no more


@dataclass(frozen=True, eq=False)
class Target:
    """Something to look at, and where to stand for it."""

    kind: str  # "frontier" or "place"
    centre: np.ndarray  # (2,) [m], what to face
    stand: np.ndarray  # (n, 2) [m]
    cells: np.ndarray  # (m, 2) [m], all that will have been looked at
    tolerance: float  # [m] from a standing point


class Explorer:
    """Chooses the target with the least travel, less a bonus for its size, plus a little for turning to it.

    Frontiers (Yamauchi, CIRA 1997) come from the grid. Targets that turn out to be hopeless are given up.
    """

    def __init__(
        self,
        *,
        body: Body,
        min_frontier: int = 6,  # cells
        min_place: int = 3,  # cells
        view_distance: float = 1.6,  # [m] from which a place is looked at
        size_bonus: float = 0.5,  # [m] of travel per metre of size
        turn_price: float = 0.3,  # [m / rad]
        loyalty: float = 0.7,  # [m] by which another target must be better than the present one
        patience: int = 60,  # steps for one target
    ) -> None:
        self._body, self._min_frontier, self._min_place = body, min_frontier, min_place
        self._view_distance, self._size_bonus, self._turn_price = view_distance, size_bonus, turn_price
        self._patience, self._loyalty = patience, loyalty
        self.reset()

    def reset(self) -> None:
        """Give every target another chance."""
        self._given_up: list[np.ndarray] = []
        self.target: Target | None = None
        self._steps = 0

    def act(self, scene: Scene, planner: GridPlanner) -> Action | None:
        """The next action on the way to the best target, None if nothing is left to look at."""
        self._steps += 1
        if self.target is not None and self._steps > self._patience:
            self._give_up(scene)
        if self.target is None or scene.is_fresh:
            self._retarget(scene, planner)
        for _ in range(_MAX_RETRIES):
            if self.target is None:
                return None
            action = planner.next_action(scene.position, scene.yaw)
            if action is None and planner.has_arrived(scene.position):
                action = turn_towards(scene.position, scene.yaw, self.target.centre, self._body.turn)
            if action is not None:
                return action
            self._give_up(scene)  # no way to it, or it was looked at and is still not settled
            self._retarget(scene, planner)
        return None

    def _give_up(self, scene: Scene) -> None:
        """Never go for the target again (until `reset`)."""
        if self.target is not None:
            self._given_up.append(self.target.centre)
            if self.target.kind == "place":
                around = np.hypot(*(self.target.cells - self.target.centre).T) < _HOPELESS
                scene.coverage.mark(self.target.cells[around], scene.stamp)
        self.target = None

    def _retarget(self, scene: Scene, planner: GridPlanner) -> None:
        old, self.target = self.target, self.choose(scene)
        if self.target is None:
            return
        if old is None or not _is_same(old, self.target.centre):
            self._steps = 0
        planner.set_goal(self.target.stand, self.target.tolerance)

    def choose(self, scene: Scene) -> Target | None:
        """The best target that can be reached, None if there is none."""
        field = scene.costs.field(scene.position[None])
        best, best_cost = None, np.inf
        for target, size in self._frontiers(scene):
            cost = self._cost(target, size, scene, field)
            if cost < best_cost:
                best, best_cost = target, cost
        for distance, middle, points in self._places(scene):
            if distance - self._view_distance - self._size_bonus * _MAX_SIZE - self._loyalty > best_cost:
                break  # all others are farther away still
            target = self._place_target(middle, points, scene)
            cost = self._cost(target, float(np.sqrt(len(points))) * scene.coverage.resolution, scene, field)
            if cost < best_cost:
                best, best_cost = target, cost
        return best

    def _cost(self, target: Target, size: float, scene: Scene, field: Float[np.ndarray, "h w"]) -> float:
        """Travel [m] with bonus and turn; inf if no way leads there."""
        if not len(target.stand):
            return np.inf
        offset = target.centre - scene.position
        turn = abs(wrap_angle(float(np.arctan2(offset[1], offset[0])) - scene.yaw))
        cost = float(scene.costs.at(field, target.stand).min())
        cost += self._turn_price * turn - self._size_bonus * min(size, _MAX_SIZE)
        if self.target is not None and _is_same(self.target, target.centre):
            cost -= self._loyalty
        return cost

    def _is_given_up(self, centre: Float[np.ndarray, "2"]) -> bool:
        return any(np.hypot(*(centre - other)) < _SAME for other in self._given_up)

    def _frontiers(self, scene: Scene) -> list[tuple[Target, float]]:
        """Frontiers and their lengths [m]."""
        targets = []
        for frontier in scene.grid.frontiers(self._min_frontier):
            if self._is_given_up(frontier.centre):
                continue
            points = scene.grid.to_points(frontier.cells)
            target = Target("frontier", frontier.centre, points, points, tolerance=0.3)
            targets.append((target, len(frontier) * scene.grid.resolution))
        return targets

    def _places(self, scene: Scene) -> list[tuple[float, np.ndarray, np.ndarray]]:
        """(distance [m] as the crow flies, middle, all points) of the places without a close look, nearest first."""
        mask, _ = scene.coverage.pending(scene.since)
        cells = np.argwhere(mask)
        if not len(cells):
            return []
        low, high = cells.min(axis=0), cells.max(axis=0) + 1
        labels, n = ndimage.label(mask[low[0] : high[0], low[1] : high[1]], structure=np.ones((3, 3)))
        of = labels[cells[:, 0] - low[0], cells[:, 1] - low[1]]
        groups = []
        for group in np.split(np.argsort(of, kind="stable"), np.cumsum(np.bincount(of, minlength=n + 1)[1:-1])):
            if len(group) < self._min_place:
                continue
            points = scene.coverage.centres(cells[group])
            middle = points[np.argmin(((points - points.mean(axis=0)) ** 2).sum(axis=1))]
            if not self._is_given_up(middle):
                groups.append((float(np.hypot(*(middle - scene.position))), middle, points))
        return sorted(groups, key=lambda group: group[0])

    def _place_target(self, middle: np.ndarray, points: np.ndarray, scene: Scene) -> Target:
        eye = self._body.height
        far = self._view_distance
        stand = viewpoints(scene.costs, scene.voxels, np.append(middle, eye), eye=eye, far=far, short=0.4)
        if len(stand):
            # a place is looked at from its open side, which is where one can come nearest to it
            offsets = stand - middle
            lengths = np.hypot(*offsets.T)
            nearest = int(np.argmin(lengths))
            stand = stand[offsets @ offsets[nearest] >= 0.6 * lengths * lengths[nearest]]
        return Target("place", middle, stand, points, tolerance=0.2)


def _is_same(target: Target, centre: Float[np.ndarray, "2"]) -> bool:
    return bool(np.hypot(*(target.centre - centre)) < _SAME)
