"""Walking up to a remembered object until it is seen from near by, or its place is seen to be empty."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from embmem.agent import Action, Body
from embmem.policies.motion import tilt_towards, turn_towards, wrap_angle
from embmem.policies.planner import GridPlanner
from embmem.policies.scene import Scene
from embmem.policies.stand import viewpoints
from embmem.records import Hit

_TOLERANCE = 0.1  # [m] from a point to stand on


class Approach:
    """One hypothesis: `act` leads there and says STOP when the object is reached and seen, None when it is hopeless.

    Args:
        body: the moving body.
        stop_distance: [m], horizontal, from which an object counts as reached.
        reach: [m], the same for objects that furniture keeps farther away.
        min_seen: sightings of an object before it is believed.
        stares: frames without the object, from near by and facing its place, that prove the place empty.
    """

    def __init__(
        self,
        body: Body,
        *,
        stop_distance: float = 0.8,
        reach: float = 1.05,
        min_seen: int = 3,
        stares: int = 3,
    ) -> None:
        if not 0 < stop_distance <= reach:
            raise ValueError(f"need 0 < stop_distance <= reach, got {stop_distance}, {reach}")
        self._body, self._stop_distance, self._reach = body, stop_distance, reach
        self._min_seen, self._stares = min_seen, stares
        self._has_arrived = False
        self._stared = 0
        self._stand: np.ndarray | None = None
        self._ring = stop_distance

    def act(self, hit: Hit, scene: Scene, planner: GridPlanner) -> Action | None:
        """The next action towards `hit`, the newest that the memory says about the object."""
        target = hit.position
        if target is None:
            return None
        is_seen = hit.stamp >= scene.recent and hit.detail["times_seen"] >= self._min_seen
        distance = float(np.hypot(*(target[:2] - scene.position)))
        allowed = self._ring if self._has_arrived else self._stop_distance
        if is_seen and distance <= allowed + _TOLERANCE:
            return Action.STOP
        if not self._has_arrived:
            action = self._go(hit, scene, planner)
            if action is not None or not self._has_arrived:
                return action
        return self._look(target, distance, scene)

    def stand(self, hit: Hit, scene: Scene) -> tuple[Float[np.ndarray, "n 2"], float]:
        """(points [m] from which the object can be claimed, their greatest distance [m] from its middle).

        The rings around the middle widen until the body fits; for a piece of furniture up to beyond its edge.
        """
        if hit.position is None:
            return np.empty((0, 2)), self._stop_distance
        half = hit.detail.get("size", 0.0) / 2.0
        farthest = max(self._reach, self._stop_distance + half)
        rings = [self._stop_distance, self._reach, *np.arange(self._reach + 0.2, farthest + 0.2, 0.2)]
        for far in rings:
            eye, short = self._body.height, 0.15 + half
            points = viewpoints(scene.costs, scene.voxels, hit.position, eye=eye, far=far, short=short)
            if len(points):
                return points, float(far)
        return np.empty((0, 2)), self._stop_distance

    def _go(self, hit: Hit, scene: Scene, planner: GridPlanner) -> Action | None:
        if self._stand is None or scene.is_fresh:
            self._stand, self._ring = self.stand(hit, scene)
            planner.set_goal(self._stand, _TOLERANCE)
        action = planner.next_action(scene.position, scene.yaw)
        self._has_arrived = action is None and planner.has_arrived(scene.position)
        return action

    def _look(self, target: np.ndarray, distance: float, scene: Scene) -> Action | None:
        """Face the place, then wait there; a body that can not wait turns to and fro with the place in view."""
        elevation = float(np.arctan2(target[2] - self._body.height, distance))
        action = turn_towards(scene.position, scene.yaw, target[:2], self._body.turn)
        if self._stared == 0:
            action = action or tilt_towards(scene.pitch, elevation, self._body.look)
            if action is not None:
                return action
        self._stared += 1
        if self._stared > self._stares:
            return None
        offset = target[:2] - scene.position
        error = wrap_angle(float(np.arctan2(offset[1], offset[0])) - scene.yaw)
        return Action.LEFT if error > 0 else Action.RIGHT
