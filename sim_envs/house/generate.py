"""A furnished house from a seed."""

from __future__ import annotations

import numpy as np

from embmem.sim_envs.house.categories import OBJECTS
from embmem.sim_envs.house.furnish import furnish
from embmem.sim_envs.house.house import Door, Furniture, House, Room, SmallObject
from embmem.sim_envs.house.layout import build_walls, plan_rooms
from embmem.sim_envs.house.placing import Placer

HEIGHT = 2.5  # [m] of the rooms
_ROOMS_OF_PRIORS = 6  # the counts of `OBJECTS` are those of a home of six rooms
_PLACES_TO_TRY = 3


def make_house(seed: int, n_rooms: int = 6) -> House:
    """The house of that seed, always the same one: rooms, doors, furniture and small objects by household priors.

    Args:
        seed: any non-negative integer.
        n_rooms: 3 to 60, corridors included; large homes are laid out on one level.

    Raises:
        ValueError: if an argument is out of range.
    """
    if not all(isinstance(number, (int, np.integer)) for number in (seed, n_rooms)) or seed < 0:
        raise ValueError(f"seed and n_rooms must be whole numbers, seed >= 0, got {seed!r} and {n_rooms!r}")
    for_rooms, for_furniture, for_objects = np.random.default_rng([seed, n_rooms]).spawn(3)
    rooms, doors = plan_rooms(for_rooms, n_rooms)
    furniture = furnish(for_furniture, rooms, doors)
    objects = _scatter(for_objects, rooms, doors, furniture)
    return House(seed, rooms, doors, furniture, objects, build_walls(rooms, doors, HEIGHT), HEIGHT)


def _scatter(
    rng: np.random.Generator, rooms: tuple[Room, ...], doors: tuple[Door, ...], furniture: tuple[Furniture, ...]
) -> tuple[SmallObject, ...]:
    """Objects where their priors want them; ids follow those of the furniture."""
    placer = Placer(rooms, doors, furniture)
    wanted = [
        category
        for category, kind in OBJECTS.items()
        for _ in range(rng.poisson(kind.count * len(rooms) / _ROOMS_OF_PRIORS))
    ]
    objects: list[SmallObject] = []
    # Large things first: they find room only on empty surfaces.
    for category in sorted(wanted, key=lambda c: -OBJECTS[c].size[0] * OBJECTS[c].size[1]):
        obj = _keep(rng, placer, category, len(furniture) + len(objects) + 1)
        if obj is not None:
            placer.add(obj)
            objects.append(obj)
    return tuple(objects)


def _keep(rng: np.random.Generator, placer: Placer, category: str, object_id: int) -> SmallObject | None:
    """The object on a piece of furniture drawn from its priors; another piece is drawn if the first is full."""
    ids, weights = placer.choices(category)
    for _ in range(_PLACES_TO_TRY if ids else 0):
        obj = placer.lay(rng, category, int(rng.choice(ids, p=weights)), object_id)
        if obj is not None:
            return obj
    return None
