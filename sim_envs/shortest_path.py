"""The oracle: actions that reach a goal by nearly the shortest path, for a body with discrete turns and steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count

import numpy as np
from jaxtyping import Float

from embmem.agent import Action, Body
from embmem.sim_envs.ground import GoalDistances, Ground

TURN_COST = 0.02  # [m/rad]: a heading is kept until another one gains more than this
BUMP_COST = 0.03  # [m]: of equally good steps take the one that touches nothing
MIN_PROGRESS = 0.3  # share of a step; what gains less calls for a search
ENDGAME = 0.6  # [m] to the goal, from where steps are planned to land on it
MAX_EXPANSIONS = 1500
CELL = 0.02  # [m] and
ANGLE = 0.05  # [rad]: states nearer than this are the same for the search
ON_PLAN = 1e-4  # [m] and [rad]: a body this near to where it was planned to be goes on with the plan


@dataclass(frozen=True, eq=False)
class _State:
    """Where the search can stand, and how it got there."""

    position: np.ndarray
    yaw: float
    left: float  # [m] geodesic distance to the goal
    cost: float  # [m] so far
    parent: _State | None = None
    turns: int = 0  # from the parent's heading, positive = left; then one step forward

    def key(self) -> tuple[int, int, int]:
        heading = round((self.yaw % math.tau) / ANGLE) % round(math.tau / ANGLE)
        return round(self.position[0] / CELL), round(self.position[1] / CELL), heading


class Oracle:
    """Follows exact geodesic distances, one action at a time.

    Far from the goal it takes the heading whose next step, slides included, lowers the distance most. Close to it,
    or where no heading gains, it searches over sequences of turns and steps (A*, the geodesic distance as bound).
    Every sequence it commits to ends nearer to the goal, so it always ends.
    """

    def __init__(self, navmesh: Ground, body: Body) -> None:
        self._navmesh = navmesh
        self._forward = body.forward
        self._turn = math.radians(body.turn)
        most = math.floor(math.pi / self._turn + 1e-9)
        turns = np.arange(-most, most + 1)
        self._turns = turns[np.argsort(np.abs(turns), kind="stable")]  # ties go to the smaller turn
        self._plan: list[tuple[np.ndarray, float, Action]] = []
        self._plan_for: tuple[bytes, float] | None = None

    def next_action(
        self, position: Float[np.ndarray, "2"], yaw: float, goals: Float[np.ndarray, "m 2"], tolerance: float
    ) -> Action:
        """STOP nearer than `tolerance` [m, geodesic] to a goal, or where no action can get nearer."""
        request = (goals.tobytes(), tolerance)
        if request != self._plan_for or not self._is_on_plan(position, yaw):
            self._plan_for = request
            self._plan = self._make_plan(position, yaw, self._navmesh.field(goals), tolerance)
        return self._plan.pop(0)[2] if self._plan else Action.STOP

    def _is_on_plan(self, position: Float[np.ndarray, "2"], yaw: float) -> bool:
        if not self._plan:
            return False
        expected, heading, _ = self._plan[0]
        off = max(float(np.abs(position - expected).max()), abs(math.remainder(yaw - heading, math.tau)))
        return off < ON_PLAN

    def _make_plan(
        self, position: Float[np.ndarray, "2"], yaw: float, field: GoalDistances, tolerance: float
    ) -> list[tuple[np.ndarray, float, Action]]:
        start = _State(position, yaw, float(field.distances(position[None])[0]), 0.0)
        if not tolerance <= start.left < math.inf:
            return []
        if start.left > ENDGAME:
            best = min(self._successors(start, field), key=lambda s: s.left + s.cost)
            if start.left - best.left >= MIN_PROGRESS * self._forward:
                return self._actions(best)
            return self._actions(self._search(start, field, start.left - self._forward))
        return self._actions(self._search(start, field, tolerance))

    def _successors(self, state: _State, field: GoalDistances) -> list[_State]:
        """Every heading followed by one step forward; the cost counts turns and bumps."""
        yaws = state.yaw + self._turns * self._turn
        deltas = self._forward * np.stack([np.cos(yaws), np.sin(yaws)], axis=1)
        positions, collided = self._navmesh.steps(state.position, deltas)
        moved = np.hypot(*(positions - state.position).T)
        costs = moved + TURN_COST * self._turn * np.abs(self._turns) + BUMP_COST * collided
        left = field.distances(positions)
        return [
            _State(positions[i], float(yaws[i]), float(left[i]), state.cost + float(costs[i]), state, int(k))
            for i, k in enumerate(self._turns)
            if moved[i] > 0
        ]

    def _search(self, start: _State, field: GoalDistances, target: float) -> _State:
        """The cheapest state found that is nearer than `target` [m]; failing that the nearest one, or `start`."""
        tie = count()
        heap = [(start.left, next(tie), start)]
        seen: set[tuple[int, int, int]] = set()
        nearest = start
        for _ in range(MAX_EXPANSIONS):
            if not heap:
                break
            state = heappop(heap)[2]
            if state.left < target:
                return state
            if state.key() in seen:
                continue
            seen.add(state.key())
            for after in self._successors(state, field):
                if after.left < nearest.left:
                    nearest = after
                heappush(heap, (after.cost + max(after.left - target, 0.0), next(tie), after))
        return nearest if nearest.left < start.left - CELL else start

    def _actions(self, end: _State) -> list[tuple[np.ndarray, float, Action]]:
        """The way to a state, each action with the pose that it starts from."""
        backwards = []
        state = end
        while state.parent is not None:
            before = state.parent
            backwards.append((before.position, state.yaw, Action.FORWARD))
            sign, turn = (1, Action.LEFT) if state.turns > 0 else (-1, Action.RIGHT)
            for k in reversed(range(abs(state.turns))):
                backwards.append((before.position, before.yaw + sign * k * self._turn, turn))
            state = before
        return backwards[::-1]
