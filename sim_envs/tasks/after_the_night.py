"""After the night: a tour, then people move things by habit, then searches; some memories are wrong by now."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import ClassVar

import numpy as np

from embmem.sim_envs.episodes import Episode, scene_name
from embmem.sim_envs.house import House
from embmem.sim_envs.house.habits import night
from embmem.sim_envs.tasks.goals import instances_of, require, searches
from embmem.sim_envs.tasks.objectnav import goal_categories
from embmem.sim_envs.tasks.search_again import SearchAgain
from embmem.sim_envs.tasks.task import Session
from embmem.sim_envs.world import World

ELSEWHERE = 2.0  # [m], horizontally


@dataclass(frozen=True, kw_only=True)
class AfterTheNight(SearchAgain):
    """Searches of which `moved_share` are for categories that are no longer where the tour showed them."""

    name: ClassVar[str] = "after_the_night"

    moved_share: float = 0.5  # as far as so many categories are elsewhere (`is_elsewhere`)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.moved_share <= 1:
            raise ValueError(f"moved_share must lie in [0, 1], got {self.moved_share}")

    def plan(self, world: World, house: House, index: int, n: int, rng: np.random.Generator) -> Session:
        """`n` searches in the house as it is in the morning, in random order."""
        night_seed = int(rng.integers(2**32))
        later, moves = night(house, np.random.default_rng(night_seed))
        scene = scene_name(house.seed, self.n_rooms, night_seed)
        categories = goal_categories(later, self.goals)
        moved = [c for c in categories if is_elsewhere(house, later, c)]
        stayed = sorted(set(categories) - {move.category for move in moves})
        world.set_house(later)
        wanted = min(round(self.moved_share * n), len(moved))
        from_moved = list(islice(searches(world, later, moved, self, rng, scene=scene), wanted))
        from_stayed = list(islice(searches(world, later, stayed, self, rng, scene=scene), n - len(from_moved)))
        world.set_house(house)
        marked = [_mark(e, True) for e in from_moved] + [_mark(e, False) for e in from_stayed]
        order = rng.permutation(len(marked))
        episodes = [replace(marked[k], id=str(i)) for i, k in enumerate(order)]
        return Session(index, scene, house, require(episodes, n, house), later=later)


def is_elsewhere(house: House, later: House, category: str) -> bool:
    """Whether no thing of a category lies within `ELSEWHERE` of a place where the evening before showed one.

    That all of them have moved is not enough: mugs that change places leave every memory of a mug right.
    """
    before, after = (np.array([p[:2] for _, p in instances_of(h, category)]) for h in (house, later))
    return bool((np.linalg.norm(before[:, None] - after[None], axis=2) > ELSEWHERE).all())


def _mark(episode: Episode, moved: bool) -> Episode:
    return replace(episode, info={**episode.info, "moved": moved})
