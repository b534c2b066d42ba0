"""Goals and starts: which things can be searched for in a house, and from where a search is worth its name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float

from embmem.agent import Goal
from embmem.errors import EmbmemError
from embmem.sim_envs.episodes import Episode, Instance, Target
from embmem.sim_envs.house import House, Room
from embmem.sim_envs.tasks.task import Task
from embmem.sim_envs.world import World

STARTS = 32  # candidates drawn for an episode before another goal is tried


def object_target(world: World, house: House, category: str) -> Target | None:
    """The goal "any `category`" in the house where the world stands; None if nobody can get to see one."""
    instances = []
    for object_id, position in instances_of(house, category):
        views = world.view_points([object_id])
        if len(views):
            points = np.column_stack([views, np.zeros(len(views))])
            instances.append(Instance(object_id, position, points))
    return Target(Goal(category=category), tuple(instances)) if instances else None


def instances_of(house: House, category: str) -> list[tuple[int, Float[np.ndarray, "3"]]]:
    """(id, position [m]) of every object or piece of furniture of a category; the position is on its bottom."""
    small = [(o.id, np.asarray(o.position, dtype=np.float64)) for o in house.objects_of(category)]
    large = [
        (f.id, np.array([(f.x0 + f.x1) / 2, (f.y0 + f.y1) / 2, f.boxes[:, 2].min()]))
        for f in house.furniture
        if f.category == category
    ]
    return small + large


def leg_lengths(world: World, start: Float[np.ndarray, "2"], targets: Sequence[Target]) -> list[float]:
    """Lengths [m] of the ways from target to target, each by the shortest path to its nearest view point.

    The targets are taken one at a time, as an agent must that does not know the next one yet. Ends with inf at a
    target that cannot be reached.
    """
    lengths: list[float] = []
    for target in targets:
        points = target.view_points()[:, :2]
        lengths.append(float(world.navmesh.distances(start[None], points)[0]))
        if not np.isfinite(lengths[-1]):
            break
        if len(lengths) < len(targets):
            start = world.navmesh.path(start, points)[-1]
    return lengths


def draw_start(
    world: World, house: House, targets: Sequence[Target], task: Task, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "2"], float, float] | None:
    """(position, yaw, shortest path [m]) of a start that fits the rules, in another room than the goal if any is.

    None if none of `STARTS` draws does.
    """
    first = targets[0].view_points()[:, :2]
    starts = np.array([world.navmesh.sample(rng, island_of=first[0]) for _ in range(STARTS)])
    yaw = float(rng.uniform(-np.pi, np.pi))
    near = world.navmesh.distances(starts, first)
    elsewhere = ~_shares_room(house.rooms, starts, first)
    for candidates in (elsewhere, ~elsewhere):
        for i in np.flatnonzero(candidates & (near >= task.min_path) & (near <= task.max_path)):
            legs = leg_lengths(world, starts[i], targets)
            if min(legs) >= task.min_path and np.isfinite(legs[-1]):
                return starts[i], yaw, sum(legs)
    return None


def _shares_room(
    rooms: Sequence[Room], starts: Float[np.ndarray, "n 2"], goals: Float[np.ndarray, "m 2"]
) -> Bool[np.ndarray, " n"]:
    """Whether a start lies in a room that holds a goal; doorways belong to no room."""
    shared = np.zeros(len(starts), dtype=bool)
    for room in rooms:
        low, high = np.array([room.x0, room.y0]), np.array([room.x1, room.y1])
        holds_goal = ((goals >= low) & (goals <= high)).all(axis=1).any()
        if holds_goal:
            shared |= ((starts >= low) & (starts <= high)).all(axis=1)
    return shared


def search_episode(
    world: World,
    house: House,
    targets: Sequence[Target],
    task: Task,
    rng: np.random.Generator,
    *,
    scene: str,
    id: str,
    info: dict[str, bool] | None = None,
) -> Episode | None:
    """An episode over `targets` in order; None where no start fits the rules."""
    start = draw_start(world, house, targets, task, rng)
    if start is None:
        return None
    position, yaw, length = start
    feet = np.append(position, 0.0)
    return Episode(task.name, scene, id, feet, yaw, tuple(targets), length, dict(info or {}))


def searches(
    world: World,
    house: House,
    categories: Sequence[str],
    task: Task,
    rng: np.random.Generator,
    *,
    scene: str,
) -> Iterator[Episode]:
    """Searches for the categories in random order, each once before any comes again; ends when none is left."""
    left = [str(c) for c in rng.permutation(sorted(categories))]
    number = 0
    while left:
        usable = []
        for category in left:
            target = object_target(world, house, category)
            if target is None:
                continue
            episode = search_episode(world, house, [target], task, rng, scene=scene, id=str(number))
            if episode is not None:
                usable.append(category)
                number += 1
                yield episode
        left = [str(c) for c in rng.permutation(usable)]


def require(episodes: Sequence[Episode], n: int, house: House) -> tuple[Episode, ...]:
    """The episodes, if there are `n`.

    Raises:
        EmbmemError: if there are fewer; the message names the house.
    """
    if len(episodes) < n:
        raise EmbmemError(
            f"house {house.seed} with {len(house.rooms)} rooms gives {len(episodes)} of {n} episodes: "
            "the rules (min_path, max_path, kinds of goals) leave nothing else"
        )
    return tuple(episodes)
