"""The agent that follows told routes by rule: parse, find the way that fits on the map, walk it, stop; else explore."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from embmem.agent import Action, Body, Goal
from embmem.maps.scene_graph import SceneGraph
from embmem.memory import Memory
from embmem.policies.approach import Approach
from embmem.policies.explore import Explorer, Target
from embmem.policies.instructions.known import KnownHouse
from embmem.policies.instructions.matching import Match, best_match, promise
from embmem.policies.instructions.parsing import Parser, RouteReader
from embmem.policies.instructions.steps import Step
from embmem.policies.recall import remembered
from embmem.policies.scene import Scene
from embmem.policies.search import SearchAgent
from embmem.records import Hit

_AT_DOOR = 0.4  # [m] from the middle of a door: through it
_SAME = 1.2  # [m] between a thing in the scene graph and in the object memory


class GuidedExplorer(Explorer):
    """Goes where the unknown begins; what was told makes a way there shorter.

    Args:
        body: the moving body.
        pull: [m] of travel that a way is worth on which all happens that was told.
    """

    def __init__(self, *, body: Body, pull: float) -> None:
        super().__init__(body=body)
        self._pull = pull
        self.guide: Callable[[np.ndarray], float] = lambda point: 0.0  # what share of the words fits the way there

    def _cost(self, target: Target, size: float, scene: Scene, field: Float[np.ndarray, "h w"]) -> float:
        cost = super()._cost(target, size, scene, field)
        return cost - self._pull * self.guide(target.centre) if np.isfinite(cost) else cost

    def _places(self, scene: Scene) -> list[tuple[float, np.ndarray, np.ndarray]]:
        """Landmarks are large: no place needs a close look."""
        return []


class InstructionAgent(SearchAgent):
    """Follows a route that is told in words, over a scene graph of its own memory.

    The words are matched with every way through the rooms that are known. A way that fits well enough is walked from
    door to door; as long as there is none, the agent explores, first where most of the words would fit. With
    `remembers` False every route starts with an empty memory.

    Args:
        make_memory: builds an empty memory with a `VoxelMap` and an object layer.
        remembers: whether the memory outlives a route.
        body: the moving body.
        enough: share of the words that must fit before a way is walked while there is something left to explore.
        pull: see `GuidedExplorer`; 0 explores without listening.
        renew: steps between two looks at the rooms while exploring.
        parser: of the words; by default one that knows all names of `words`.
    """

    def __init__(
        self,
        make_memory: Callable[[], Memory],
        remembers: bool,
        *,
        body: Body | None = None,
        enough: float = 0.7,
        pull: float = 8.0,
        renew: int = 20,
        parser: RouteReader | None = None,
    ) -> None:
        if not 0 <= enough <= 1 or pull < 0 or renew < 1:
            raise ValueError(f"need enough in [0, 1], pull >= 0 and renew >= 1, got {enough}, {pull}, {renew}")
        self._enough, self._pull, self._renew = enough, pull, renew
        self._parser: RouteReader = parser or Parser()
        super().__init__(make_memory, remembers, body=body)

    def _forget(self) -> None:
        self._graph = SceneGraph()
        super()._forget()
        self.explorer: GuidedExplorer = GuidedExplorer(body=self._body, pull=self._pull)

    def _start(self, goal: Goal) -> None:
        super()._start(goal)
        self.steps: tuple[Step, ...] = self._parser.parse(goal.instruction or "")
        self.match: Match | None = None
        self._doors: list[np.ndarray] = []  # (2,) [m] still to come through
        self._is_under_way = False  # to the first of them
        self._origin: np.ndarray | None = None
        self._gone: list[np.ndarray] = []  # (2,) [m] where the landmark turned out not to be
        self._is_all_seen = False
        self._looked: int | None = None  # step of the last look at the rooms

    def _to_hypothesis(self, scene: Scene) -> Action | None:
        """On along the way that fits; None while there is none."""
        if self._origin is None:
            self._origin = scene.position.copy()
        while True:
            if self.match is None and not self._choose(self._origin):
                return None
            action = self._walk(scene)
            if action is not None:
                return action
            self._gone.append(self._landmark_position())
            self.match, self._looked = None, None

    def _choose(self, origin: Float[np.ndarray, "2"]) -> bool:
        """Look for a way that fits; whether there is one. Between two looks the answer is no."""
        if self._looked is not None and self._n_steps - self._looked < self._renew and not self._is_all_seen:
            return False
        self._looked = self._n_steps
        self._graph.derive(self.memory.layers)
        house = KnownHouse.of(self._graph)
        self.explorer.guide = lambda point: promise(house, origin, point, self.steps)
        found = best_match(house, origin, self.steps, without=self._gone)
        if found is None or (found.score < self._enough and not self._is_all_seen):
            return False
        self.match = found
        self._doors = [door.position for door in found.doors]
        self._is_under_way = False
        self._approach = Approach(self._body)
        return True

    def _walk(self, scene: Scene) -> Action | None:
        """Through the doors that are left, then up to the landmark; None where that is hopeless."""
        while self._doors:
            if not self._is_under_way:
                self.planner.set_goal(self._doors[0][None], _AT_DOOR)
                self._is_under_way = True
            if np.hypot(*(self._doors[0] - scene.position)) > _AT_DOOR:
                action = self.planner.next_action(scene.position, scene.yaw)
                if action is not None:
                    return action
            self._doors.pop(0)  # through it, or no way there: perhaps one to the next
            self._is_under_way = False
        hit = self._landmark()
        return None if hit is None else self._approach.act(hit, scene, self.planner)

    def _landmark(self) -> Hit | None:
        """What the object memory now says of the landmark at the end of the way."""
        where = self._landmark_position()
        hits = [h for h in remembered(self.memory, self.steps[-1].landmark or "") if h.position is not None]
        near = [(float(np.hypot(*(h.position[:2] - where))), i) for i, h in enumerate(hits) if h.position is not None]
        return hits[min(near)[1]] if near and min(near)[0] <= _SAME else None

    def _landmark_position(self) -> Float[np.ndarray, "2"]:
        if self.match is None or self.match.landmark is None:
            raise ValueError("no way was chosen")
        return self.match.landmark.middle

    def _explore(self, scene: Scene) -> Action:
        """See what is unknown; when all is seen, the best way there is will do; at last, stop."""
        action = self.explorer.act(scene, self.planner)
        if action is not None:
            return action
        if self._is_all_seen or not self.steps:
            return Action.STOP
        self._is_all_seen = True
        return self._to_hypothesis(scene) or Action.STOP
