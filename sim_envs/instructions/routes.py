"""Routes through a house: the shortest way from a place in one room to a piece of furniture in another."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from embmem.sim_envs.house import Door, Furniture, House
from embmem.sim_envs.world import World

SPACING = 0.05  # [m] between the points of a way
# Too small, too high or too many to say which is meant.
NO_LANDMARKS = frozenset({"chair", "window", "picture", "mirror", "wall shelf", "wall cabinet", "nightstand"})


@dataclass(frozen=True, eq=False)
class Route:
    """The shortest way from a start to where a piece of furniture is seen from near by."""

    start: Float[np.ndarray, "2"]  # [m]
    yaw: float  # [rad] at the start
    goal: Furniture
    ends: Float[np.ndarray, "k 2"]  # [m] all places that count as being in front of the goal
    way: Float[np.ndarray, "n 2"]  # [m] about `SPACING` apart, from the start to the nearest of the ends
    length: float  # [m] geodesic
    rooms: tuple[int, ...]  # that it leads through, first and last included
    doors: tuple[int, ...]  # numbers of the doors between them
    crossings: tuple[int, ...]  # point of the way in each door


def is_landmark(piece: Furniture) -> bool:
    """Whether a route may name this piece of furniture."""
    return piece.blocks_floor and piece.category not in NO_LANDMARKS


def spaced(line: Float[np.ndarray, "n 2"], spacing: float) -> Float[np.ndarray, "m 2"]:
    """The same polyline with points at most `spacing` [m] apart, its corners kept."""
    parts = [line[:1]]
    for a, b in pairwise(line):
        n = max(1, int(np.ceil(np.linalg.norm(b - a) / spacing)))
        parts.append(a + (b - a) * (np.arange(1, n + 1) / n)[:, None])
    return np.concatenate(parts)


def find_route(world: World, house: House, start: Float[np.ndarray, "2"], yaw: float, goal: Furniture) -> Route | None:
    """The route from `start` to `goal`; None if nobody can get to see it, or the way is not through doors."""
    ends = world.view_points([goal.id])
    room = next(r for r in house.rooms if r.id == goal.room)
    ends = ends[[room.contains(*end) for end in ends.tolist()]] if len(ends) else ends
    if not len(ends):
        return None
    line = world.navmesh.path(start, ends)
    if not len(line):
        return None
    way = spaced(line, SPACING)
    rooms, doors, crossings = _through(house, way)
    if not rooms or rooms[-1] != goal.room:
        return None
    length = float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum())
    return Route(start, yaw, goal, ends, way, length, rooms, doors, crossings)


def _through(house: House, way: Float[np.ndarray, "n 2"]) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """(rooms, doors, points of the way in the doors); all empty where a room is left by no door."""
    rooms: list[int] = []
    doors: list[int] = []
    crossings: list[int] = []
    last = 0
    for i, (x, y) in enumerate(way.tolist()):
        room = house.room_at(x, y)
        if room is None:
            continue
        if rooms and room.id != rooms[-1]:
            middle = way[(last + i) // 2]
            between = {rooms[-1], room.id}
            fit = [k for k, d in enumerate(house.doors) if {d.room_a, d.room_b} == between and _holds(d, middle)]
            if not fit:
                return (), (), ()
            doors.append(fit[0])
            crossings.append((last + i) // 2)
        if not rooms or room.id != rooms[-1]:
            rooms.append(room.id)
        last = i
    return tuple(rooms), tuple(doors), tuple(crossings)


def _holds(door: Door, point: Float[np.ndarray, "2"]) -> bool:
    x, y = point.tolist()
    return door.x0 - SPACING <= x <= door.x1 + SPACING and door.y0 - SPACING <= y <= door.y1 + SPACING
