"""PointNav (Anderson et al., arXiv:1807.06757; Habitat): go to a point whose coordinates are told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from embmem.agent import Goal
from embmem.sim_envs.episodes import Episode, Target, scene_name
from embmem.sim_envs.house import House
from embmem.sim_envs.tasks.goals import require, search_episode
from embmem.sim_envs.tasks.task import Session, Task
from embmem.sim_envs.world import World

TRIES = 20  # goals drawn for an episode before the house is given up


@dataclass(frozen=True, kw_only=True)
class PointNav(Task):
    """Points drawn uniformly from the free space."""

    name: ClassVar[str] = "pointnav"

    per_session: int = 5
    success_distance: float = 0.2

    def plan(self, world: World, house: House, index: int, n: int, rng: np.random.Generator) -> Session:
        """`n` points to go to."""
        scene = scene_name(house.seed, self.n_rooms)
        episodes: list[Episode] = []
        for _ in range(n * TRIES):
            if len(episodes) == n:
                break
            target = Target(Goal(position=np.append(world.navmesh.sample(rng), 0.0)))
            episode = search_episode(world, house, [target], self, rng, scene=scene, id=str(len(episodes)))
            if episode is not None:
                episodes.append(episode)
        return Session(index, scene, house, require(episodes, n, house))
