"""Told routes in many houses, drawn once, for training: what is where is known perfectly, and nothing is rendered."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from embmem.agent import Body
from embmem.observation import Intrinsics
from embmem.policies.instructions.atlas import Atlas
from embmem.policies.instructions.steps import Step
from embmem.sim_envs.house import House, make_house
from embmem.sim_envs.instructions.drawing import determines, draw_told_route
from embmem.sim_envs.instructions.perfect import known_perfectly
from embmem.sim_envs.instructions.routes import Route
from embmem.sim_envs.instructions.telling import tell
from embmem.sim_envs.world import World

_DRAWS = 3  # for each route that is wanted


@dataclass(frozen=True, eq=False)
class PooledRoute:
    """A route, and what can be told of it: parts, all, or its end, each None where that is not enough."""

    atlas: Atlas
    goal: int  # row of the thing
    route: Route
    parts: tuple[Step, ...]
    all: tuple[Step, ...] | None
    end: tuple[Step, ...] | None  # "enter the kitchen, stop at the stove"

    def is_shown(self, steps: tuple[Step, ...]) -> bool:
        """Whether each door of the way is the only one there is to take, or told by what is next to it."""
        told = {step.landmark for step in steps if step.kind in ("leave", "door")} - {None}
        came: int | None = None
        for room, door in zip(self.route.rooms[:-1], self.route.doors, strict=True):
            others = [d for d in self.atlas.doors_of(room).tolist() if d not in (came, door)]
            if others and self.atlas.beside(door, room) not in told:
                return False
            came = door
        return True


@lru_cache(maxsize=8)
def draw_pool(first_house: int, n_houses: int, fewest_rooms: int, most_rooms: int, per_house: int) -> list[PooledRoute]:
    """Routes in houses of consecutive seeds, the same for the same numbers.

    Raises:
        ValueError: if there are none.
    """
    pool: list[PooledRoute] = []
    for i in range(n_houses):
        house = make_house(first_house + i, fewest_rooms + i % (most_rooms - fewest_rooms + 1))
        camera = Intrinsics.from_fov(32, 24, 79.0)
        world = World(house, intrinsics=camera, body=Body(), rng=np.random.default_rng(0), rgb=False)
        rng, found = np.random.default_rng([first_house + i, 1]), 0
        atlas = Atlas.of(known_perfectly(house))
        for _ in range(_DRAWS * per_house):
            told = draw_told_route(world, house, rng) if found < per_house else None
            if told is not None:
                pool.append(_pooled(house, atlas, told.route, told.steps))
                found += 1
    if not pool:
        raise ValueError(f"no route can be told in {n_houses} houses from {first_house} on")
    return pool


def _pooled(house: House, atlas: Atlas, route: Route, steps: tuple[Step, ...]) -> PooledRoute:
    goal = next(i for i, thing in enumerate(atlas.house.landmarks) if thing.id == route.goal.id)
    kind = atlas.kinds[route.rooms[-1]]
    stop = Step("stop", landmark=route.goal.category)
    ends: list[tuple[Step, ...]] = [(Step("enter", room=kind), stop), (stop,)]
    end = next((each for each in ends if determines(house, route, each)), None)
    full = tell(house, route)
    return PooledRoute(atlas, goal, route, steps, full if determines(house, route, full) else None, end)
