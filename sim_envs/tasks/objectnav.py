"""ObjectNav (Batra et al., arXiv:2006.13171; Habitat): find any instance of a category in an unknown house."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import ClassVar, Literal

import numpy as np

from embmem.sim_envs.episodes import scene_name
from embmem.sim_envs.house import FURNITURE_CATEGORIES, OBJECT_CATEGORIES, House
from embmem.sim_envs.tasks.goals import require, searches
from embmem.sim_envs.tasks.task import Session, Task
from embmem.sim_envs.world import World

Goals = Literal["objects", "furniture", "any"]


def goal_categories(house: House, goals: Goals) -> list[str]:
    """The categories of that kind that the house holds."""
    kinds = {"objects": OBJECT_CATEGORIES, "furniture": FURNITURE_CATEGORIES}
    wanted = kinds.get(goals, OBJECT_CATEGORIES + FURNITURE_CATEGORIES)
    present = {o.category for o in house.objects} | {f.category for f in house.furniture}
    return sorted(present & set(wanted))


@dataclass(frozen=True, kw_only=True)
class ObjectNav(Task):
    """Searches that start without memory; success is STOP within 0.1 m of a view point of any instance."""

    name: ClassVar[str] = "objectnav"

    per_session: int = 5
    goals: Goals = "any"

    def plan(self, world: World, house: House, index: int, n: int, rng: np.random.Generator) -> Session:
        """`n` searches for different categories, as far as there are so many."""
        scene = scene_name(house.seed, self.n_rooms)
        found = searches(world, house, goal_categories(house, self.goals), self, rng, scene=scene)
        return Session(index, scene, house, require(list(islice(found, n)), n, house))
