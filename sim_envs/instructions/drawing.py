"""Drawing routes that can be told: what is left unsaid must not change where the words lead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from embmem.policies.instructions.steps import Step
from embmem.sim_envs.house import House
from embmem.sim_envs.instructions.listener import understand
from embmem.sim_envs.instructions.routes import Route, find_route, is_landmark
from embmem.sim_envs.instructions.telling import tell
from embmem.sim_envs.instructions.wording import Split, say
from embmem.sim_envs.world import World

TRIES = 6  # ways to leave parts out, before all is told
LEAST = 3  # parts that are told, where there are so many


@dataclass(frozen=True, eq=False)
class ToldRoute:
    """A route, what is told of it, and the words."""

    route: Route
    steps: tuple[Step, ...]
    words: str


def draw_told_route(
    world: World,
    house: House,
    rng: np.random.Generator,
    *,
    split: Split = "train",
    omit: float = 0.3,
    min_path: float = 4.0,
    max_path: float = 30.0,
    min_doors: int = 1,
) -> ToldRoute | None:
    """One draw of a start and a goal; None if there is no route between them, or words do not determine it.

    Args:
        world: stands in `house`; it is not moved.
        house: where to go.
        rng: draws all of it.
        split: of the wordings.
        omit: chance of each part that it is left out.
        min_path: [m], shortest path.
        max_path: [m], shortest path.
        min_doors: on the way.
    """
    pieces = [piece for piece in house.furniture if is_landmark(piece)]
    goal = pieces[int(rng.integers(len(pieces)))]
    start, yaw = world.navmesh.sample(rng), float(rng.uniform(-np.pi, np.pi))
    here = house.room_at(*start.tolist())
    if here is None or here.id == goal.room:
        return None
    route = find_route(world, house, start, yaw, goal)
    if route is None or not min_path <= route.length <= max_path or len(route.doors) < min_doors:
        return None
    told = tell(house, route)
    for attempt in range(TRIES + 1):
        steps = told if attempt == TRIES else left_out(told, omit, rng)
        if len(steps) >= min(LEAST, len(told)) and determines(house, route, steps):
            return ToldRoute(route, steps, say(steps, rng, split))
    return None


def determines(house: House, route: Route, steps: Sequence[Step]) -> bool:
    """Whether somebody who knows the house and follows the steps takes this route, and no other goal fits them."""
    found = understand(house, route.start.tolist(), steps)
    return found is not None and (found.doors, found.goal, found.goals) == (route.doors, route.goal.id, 1)


def left_out(steps: Sequence[Step], omit: float, rng: np.random.Generator) -> tuple[Step, ...]:
    """The steps with each part left out with probability `omit`; the stop stays."""
    kept = []
    for step in steps:
        drops = rng.random(3) < omit
        if step.kind == "stop" or not drops[0]:
            landmark = None if step.kind == "leave" and drops[1] else step.landmark
            kept.append(replace(step, landmark=landmark, side=None if drops[2] else step.side))
    return tuple(kept)
