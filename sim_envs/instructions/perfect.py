"""A house as a perfect memory would know it."""

from __future__ import annotations

import numpy as np

from embmem.maps.scene_graph.rooms import RoomMap
from embmem.policies.instructions.known import Doorway, KnownHouse, Landmark
from embmem.sim_envs.house import House

_RESOLUTION = 0.05  # [m]


def known_perfectly(house: House) -> KnownHouse:
    """Rooms, doors and furniture on the floor as they are, numbered as in the house (doors by their place in it)."""
    x0, y0, x1, y1 = house.bounds()
    r = _RESOLUTION
    labels = np.full((int((y1 - y0) / r) + 1, int((x1 - x0) / r) + 1), -1, dtype=np.int32)
    for room in house.rooms:
        rows = slice(round((room.y0 - y0) / r), round((room.y1 - y0) / r))
        labels[rows, round((room.x0 - x0) / r) : round((room.x1 - x0) / r)] = room.id
    plan = RoomMap(np.array([x0, y0]), r, labels)
    doors = tuple(Doorway((d.room_a, d.room_b), np.array([(d.x0 + d.x1) / 2, (d.y0 + d.y1) / 2])) for d in house.doors)
    pieces = tuple(
        Landmark(f.id, f.category, np.array([f.x0, f.y0]), np.array([f.x1, f.y1]), f.room)
        for f in house.furniture
        if f.blocks_floor
    )
    middles = {room.id: plan.middle(room.id) for room in house.rooms}
    return KnownHouse({room.id: room.kind for room in house.rooms}, middles, doors, pieces, plan)
