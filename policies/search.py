"""The agent that searches: recall, go, look; if the place is empty the next hypothesis; else explore."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from embmem.agent import Action, Answer, Body, Goal, NextAction, Question
from embmem.maps.grid import UNSEEN, GridBuilder
from embmem.maps.voxels.voxel_map import VoxelMap
from embmem.memory import Memory
from embmem.observation import Observation
from embmem.policies.approach import Approach
from embmem.policies.coverage import Coverage
from embmem.policies.explore import Explorer
from embmem.policies.motion import planar_pose, tilt_towards
from embmem.policies.planner import GridPlanner
from embmem.policies.questions import answer
from embmem.policies.recall import Recall, same_object
from embmem.policies.scene import Scene
from embmem.records import Hit

_AROUND = np.radians(280.0)  # turned by that, a wide view has shown everything around
_SURROUNDINGS = 1.2  # [m]
_DOUBT = 2.0  # [m] of travel that full certainty is worth


class SearchAgent:
    """Finds things with a memory of its own; what it knows of a goal comes from `memory.query` alone.

    With `remembers` False it starts every goal with a fresh memory: the same agent, forgetting.

    Args:
        make_memory: builds an empty memory with a `VoxelMap` and an object layer.
        remembers: whether the memory outlives a goal.
        body: the moving body.
        min_confidence: of an object's existence, to walk there.
        point_tolerance: [m] from a goal that is a point.
        fresh: [s] for which a place that was looked at needs no second look.
        replan: steps between two looks at the whole map.
    """

    def __init__(
        self,
        make_memory: Callable[[], Memory],
        remembers: bool,
        *,
        body: Body | None = None,
        min_confidence: float = 0.6,
        point_tolerance: float = 0.15,
        fresh: float = 3600.0,
        replan: int = 5,
    ) -> None:
        if replan < 1:
            raise ValueError(f"replan must be >= 1 step, got {replan}")
        self.remembers = remembers
        self._make_memory, self._body = make_memory, body or Body()
        self._min_confidence, self._point_tolerance = min_confidence, point_tolerance
        self._fresh, self._replan = fresh, replan
        self._forget()

    def _forget(self) -> None:
        self.memory = self._make_memory()
        self._voxels = self.memory.layer(VoxelMap)
        self._builder = GridBuilder(self._voxels)
        self._coverage = Coverage()
        self.planner = GridPlanner(self._body)
        self.explorer = Explorer(body=self._body)
        self._start(Goal())

    def _start(self, goal: Goal) -> None:
        """Everything that belongs to one goal."""
        self._goal = goal
        self._recall = Recall(goal.category or "", self._min_confidence)
        self._hypothesis: Hit | None = None
        self._approach = Approach(self._body)
        self._turns_left: int | None = None  # of the look around; None before the first frame
        self._since: float | None = None
        self._n_steps = 0
        self._recent = -np.inf
        self.explorer.reset()
        self.planner.stand_still()

    def reset(self, rng: np.random.Generator) -> None:
        """Arrive in an unknown place. Nothing is random here."""
        self._forget()

    def watch(self, observation: Observation) -> None:
        """Remember what is shown."""
        self._coverage.observe(self.memory.observe(observation))

    def begin(self, goal: Goal, shortest: NextAction | None = None) -> None:
        """Take a goal; the agent that forgets has forgotten everything else."""
        if not self.remembers:
            self._forget()
        self._start(goal)

    def answer(self, question: Question) -> Answer:
        """Answer from the object memory."""
        return answer(self.memory, question)

    def act(self, observation: Observation) -> Action:
        """Look, remember, decide."""
        self.watch(observation)
        scene = self._scene(observation)
        if self._goal.position is not None:
            return self._to_point(self._goal.position, scene)
        action = self._to_hypothesis(scene)
        if action is None:
            action = self._look_around(scene)
        if action is None:
            action = self._explore(scene)
        return action

    def _scene(self, observation: Observation) -> Scene:
        """The maps and the pose of this instant; prices are renewed every few steps and after a bump."""
        position, yaw, pitch = planar_pose(observation.T_map_camera)
        has_bumped = self.planner.notice(position, yaw)
        grid = self._builder.update()
        costs = self.planner.map
        is_fresh = costs is None or has_bumped or self._n_steps % self._replan == 0
        if costs is None or is_fresh:
            costs = self.planner.update(grid, position)
        self._n_steps += 1
        if self._since is None:
            self._since = observation.stamp - self._fresh
        recent, self._recent = self._recent, observation.stamp
        return Scene(
            position=position,
            yaw=yaw,
            pitch=pitch,
            stamp=observation.stamp,
            recent=max(recent, observation.stamp - 1.0),
            grid=grid,
            costs=costs,
            voxels=self._voxels,
            coverage=self._coverage,
            since=self._since,
            is_fresh=is_fresh,
        )

    def _to_point(self, goal: np.ndarray, scene: Scene) -> Action:
        """The way to a point on the floor."""
        if self._n_steps == 1:
            self.planner.set_goal(goal[None, :2], self._point_tolerance)
            self.planner.update(scene.grid, scene.position)
        action = self.planner.next_action(scene.position, scene.yaw)
        if action is None:
            action = Action.STOP if self.planner.has_arrived(scene.position) else Action.LEFT
        return action

    def _to_hypothesis(self, scene: Scene) -> Action | None:
        """On to the best remembered place, None if there is none (any more)."""
        candidates = self._recall.hypotheses(self.memory)
        while candidates:
            hit = next((h for h in candidates if self._hypothesis and same_object(h, self._hypothesis)), None)
            if hit is None:
                hit = self._nearest(candidates, scene)
                self._approach = Approach(self._body)
            self._hypothesis = hit
            action = self._approach.act(hit, scene, self.planner)
            if action is not None:
                return action
            self._recall.dismiss(hit, scene.stamp)
            self._hypothesis = None
            candidates = [h for h in candidates if h is not hit]
        self._hypothesis = None
        return None

    def _nearest(self, candidates: list[Hit], scene: Scene) -> Hit:
        """The hypothesis that promises to be reached with the least travel; doubt counts as travel."""
        if len(candidates) == 1:
            return candidates[0]
        field = scene.costs.field(scene.position[None])
        costs = []
        for hit in candidates:
            stand, _ = self._approach.stand(hit, scene)
            travel = float(scene.costs.at(field, stand).min()) if len(stand) else np.inf
            costs.append(travel + _DOUBT * (1.0 - hit.detail["confidence"]))
        return candidates[int(np.argmin(costs))]

    def _look_around(self, scene: Scene) -> Action | None:
        """Turn once where the surroundings are unknown at the start of a search."""
        if self._turns_left is None:
            cells = scene.grid.to_points(np.argwhere(scene.grid.cells != UNSEEN))
            known = np.count_nonzero(np.hypot(*(cells - scene.position).T) < _SURROUNDINGS)
            is_known = known * scene.grid.resolution**2 > 0.6 * np.pi * _SURROUNDINGS**2
            self._turns_left = 0 if is_known else int(np.ceil(_AROUND / np.radians(self._body.turn)))
        if self._turns_left == 0:
            return None
        self._turns_left -= 1
        return Action.LEFT

    def _explore(self, scene: Scene) -> Action:
        """See what is unknown; when all is seen, begin a second pass over everything."""
        action = tilt_towards(scene.pitch, 0.0, self._body.look) or self.explorer.act(scene, self.planner)
        if action is None and self._goal.category is None:
            return Action.STOP  # nothing was asked for but to look at everything
        if action is None:
            self._since = scene.stamp
            self.explorer.reset()
            self._recall.forgive()
            action = Action.LEFT
        return action
