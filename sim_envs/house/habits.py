"""What people do with their things between two visits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embmem.sim_envs.house.categories import OBJECTS
from embmem.sim_envs.house.house import House, SmallObject
from embmem.sim_envs.house.placing import Placer

_TRIES = 4


@dataclass(frozen=True, eq=False)
class Move:
    """One thing that was carried elsewhere."""

    object_id: int
    category: str
    from_furniture: int
    to_furniture: int
    from_position: np.ndarray  # (3,) [m]
    to_position: np.ndarray  # (3,) [m]


def night(house: House, rng: np.random.Generator) -> tuple[House, list[Move]]:
    """The house on the next morning and the log of every object that lies elsewhere, in the order of ids.

    Each object is carried away with the probability of its category, to another piece of furniture drawn from the
    same priors that placed it. It stays if there is no other place for it, or none that has room.
    """
    placer = Placer(house.rooms, house.doors, house.furniture)
    for obj in house.objects:
        placer.add(obj)
    objects, moves = [], []
    for obj in house.objects:
        new = _carried(rng, placer, obj) if rng.random() < OBJECTS[obj.category].move else None
        objects.append(obj if new is None else new)
        if new is not None:
            moves.append(Move(obj.id, obj.category, obj.furniture, new.furniture, obj.position, new.position))
    return house.with_objects(tuple(objects)), moves


def _carried(rng: np.random.Generator, placer: Placer, obj: SmallObject) -> SmallObject | None:
    """The object on other furniture; None if it finds no place there."""
    ids, weights = placer.choices(obj.category)
    weights = np.where(np.array(ids) == obj.furniture, 0.0, weights)
    for _ in range(_TRIES if weights.sum() > 0 else 0):
        target = int(rng.choice(ids, p=weights / weights.sum()))
        new = placer.lay(rng, obj.category, target, obj.id)
        if new is not None:
            placer.remove(obj)
            placer.add(new)
            return new
    return None
