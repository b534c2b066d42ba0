"""What people do with their things between two visits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embmem.sim_envs.house.categories import OBJECTS
from embmem.sim_envs.house.house import House, SmallObject
from embmem.sim_envs.house.placing import Placer

_ROUNDS = 3


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
    waiting = [obj for obj in house.objects if rng.random() < OBJECTS[obj.category].move]
    after = {obj.id: obj for obj in house.objects}
    for _ in range(_ROUNDS):  # what is carried away makes room for what comes later
        carried = {obj.id: new for obj in waiting if (new := _carried(rng, placer, obj)) is not None}
        after |= carried
        waiting = [obj for obj in waiting if obj.id not in carried]
    moves = [
        Move(old.id, old.category, old.furniture, new.furniture, old.position, new.position)
        for old, new in zip(house.objects, after.values(), strict=True)
        if new is not old
    ]
    return house.with_objects(tuple(after.values())), moves


def _carried(rng: np.random.Generator, placer: Placer, obj: SmallObject) -> SmallObject | None:
    """The object on other furniture; None if it finds no place there."""
    ids, weights = placer.choices(obj.category)
    weights = np.where(np.array(ids) == obj.furniture, 0.0, weights)
    n = int(np.count_nonzero(weights))
    # The likeliest place first, by chance, then the others, until one has room.
    targets: list[int] = rng.choice(ids, size=n, replace=False, p=weights / weights.sum()).tolist() if n else []
    for target in targets:
        new = placer.lay(rng, obj.category, target, obj.id)
        if new is not None:
            placer.remove(obj)
            placer.add(new)
            return new
    return None
