"""MultiON (Wani et al., NeurIPS 2020): several goals in a given order within one episode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from embmem.sim_envs.episodes import Episode, scene_name
from embmem.sim_envs.house import House
from embmem.sim_envs.tasks.goals import object_target, require, search_episode
from embmem.sim_envs.tasks.objectnav import Goals, goal_categories
from embmem.sim_envs.tasks.task import Session, Task
from embmem.sim_envs.world import World

TRIES = 10  # draws of goals for an episode before the house is given up


@dataclass(frozen=True, kw_only=True)
class MultiOn(Task):
    """STOP reports the current goal as found; a wrong report ends the episode, all found is success.

    The next goal is told when the current one is found. The shortest path goes to the nearest view point of each
    goal in turn, at least `min_path` from one to the next; `max_path` holds for the first.
    """

    name: ClassVar[str] = "multion"

    per_session: int = 5
    max_steps: int = 1500
    n_goals: int = 3
    goals: Goals = "objects"

    def plan(self, world: World, house: House, index: int, n: int, rng: np.random.Generator) -> Session:
        """`n` chains of different categories."""
        scene = scene_name(house.seed, self.n_rooms)
        categories = goal_categories(house, self.goals)
        if len(categories) < self.n_goals:
            require([], n, house)
        episodes: list[Episode] = []
        for _ in range(n * TRIES):
            if len(episodes) == n:
                break
            names = rng.choice(categories, size=self.n_goals, replace=False)
            targets = [t for t in (object_target(world, house, str(c)) for c in names) if t is not None]
            if len(targets) < self.n_goals:
                continue
            episode = search_episode(world, house, targets, self, rng, scene=scene, id=str(len(episodes)))
            if episode is not None:
                episodes.append(episode)
        return Session(index, scene, house, require(episodes, n, house))
