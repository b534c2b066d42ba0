"""Instruction following in houses: R2R's task (Anderson et al., CVPR 2018) in continuous space, as in VLN-CE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from embmem.agent import Goal
from embmem.sim_envs.episodes import Episode, Instance, Target, rounded, scene_name
from embmem.sim_envs.house import House
from embmem.sim_envs.instructions.drawing import ToldRoute, draw_told_route
from embmem.sim_envs.instructions.scores import room_graph_scores, route_scores
from embmem.sim_envs.instructions.wording import SPLITS, Split
from embmem.sim_envs.tasks.goals import require
from embmem.sim_envs.tasks.task import Session, Task, Tour
from embmem.sim_envs.world import World

DRAWS = 60  # starts and goals drawn for an episode before the house is given up


@dataclass(frozen=True, kw_only=True)
class Instructions(Task):
    """Routes told in words; success is STOP near a place in front of the one piece of furniture that is meant."""

    name: ClassVar[str] = "instructions"

    n_rooms: int = 8
    per_session: int = 10
    max_steps: int = 300
    success_distance: float = 0.5
    tour: Tour = "guided"
    keeps_memory: bool = True
    min_path: float = 4.0
    split: Split = "held_out"  # of the wordings
    omit: float = 0.3  # chance of each part of a route that it is not told
    min_doors: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.split not in SPLITS or not 0 <= self.omit < 1 or self.min_doors < 1:
            raise ValueError(f"need a split of {SPLITS}, omit in [0, 1) and min_doors >= 1, got {self}")

    def plan(self, world: World, house: House, index: int, n: int, rng: np.random.Generator) -> Session:
        """`n` routes that words determine, no two to the same goal from the same room."""
        scene = scene_name(house.seed, self.n_rooms)
        told: list[ToldRoute] = []
        taken: set[tuple[int, int]] = set()
        for _ in range(n * DRAWS):
            if len(told) == n:
                break
            drawn = draw_told_route(
                world, house, rng,
                split=self.split, omit=self.omit, min_path=self.min_path, max_path=self.max_path,
                min_doors=self.min_doors,
            )  # fmt: skip
            if drawn is not None and (key := (drawn.route.rooms[0], drawn.route.goal.id)) not in taken:
                taken.add(key)
                told.append(drawn)
        episodes = [self._episode(drawn, scene, str(i)) for i, drawn in enumerate(told)]
        return Session(index, scene, house, require(episodes, n, house))

    def _episode(self, drawn: ToldRoute, scene: str, id: str) -> Episode:
        route = drawn.route
        goal = route.goal
        middle = np.array([(goal.x0 + goal.x1) / 2, (goal.y0 + goal.y1) / 2, goal.boxes[:, 2].min()])
        points = np.column_stack([route.ends, np.zeros(len(route.ends))])
        target = Target(Goal(instruction=drawn.words), (Instance(goal.id, middle, points),))
        info = {"kind": f"{len(route.doors)} doors", "told_way": rounded(route.way)}
        start = np.append(route.start, 0.0)
        way = np.column_stack([route.way, np.zeros(len(route.way))])
        return Episode(self.name, scene, id, start, route.yaw, (target,), route.length, info, way)

    def measure(
        self, world: World, episode: Episode, path: Float[np.ndarray, "n 2"], *, stop_called: bool
    ) -> dict[str, Any]:
        """How well the route was followed: metres (VLN-CE) and rooms (R2R)."""
        gold = np.array(episode.info["told_way"])
        points = episode.targets[0].view_points()[:, :2]
        left = world.navmesh.distances(path, points)
        scores = route_scores(path, gold, left, shortest=episode.shortest_path, stop_called=stop_called)
        return scores | room_graph_scores(world.house, path, gold)
