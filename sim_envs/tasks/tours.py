"""The guided tour: through all rooms by shortest paths, looking around at every stop."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice, repeat

import numpy as np
from jaxtyping import Float

from embmem.agent import Action
from embmem.sim_envs.house import House, Room
from embmem.sim_envs.world import World

STOP_SPACING = 3.0  # [m] between two stops along a room
LATTICE = 0.1  # [m], where the free point nearest to a wanted stop is looked for


def tour_stops(world: World, house: House) -> Float[np.ndarray, "n 2"]:
    """Stops in every room, each followed by the nearest one that is left (by geodesic).

    Raises:
        ValueError: if nobody can stand in any room.
    """
    stops = [stop for room in house.rooms for stop in _room_stops(world, room)]
    if not stops:
        raise ValueError(f"house {house.seed} has no room to stand in")
    route, left = [stops[0]], np.array(stops[1:]).reshape(-1, 2)
    while len(left):
        distances = world.navmesh.distances(left, route[-1][None])
        nearest = int(np.argmin(distances))
        if np.isfinite(distances[nearest]):
            route.append(left[nearest])
        left = np.delete(left, nearest, axis=0)
    return np.array(route)


def guided_tour(world: World, stops: Float[np.ndarray, "n 2"], max_steps: int) -> Iterator[Action]:
    """The actions of the tour from the first stop on; each must be applied before the next is asked for."""
    around = round(360.0 / world.body.turn)
    legs = (chain(_approach(world, stop), repeat(Action.LEFT, around)) for stop in stops)
    return islice(chain.from_iterable(legs), max_steps)


def _approach(world: World, stop: Float[np.ndarray, "2"]) -> Iterator[Action]:
    while (action := world.next_action(stop[None])) is not Action.STOP:
        yield action


def _room_stops(world: World, room: Room) -> list[Float[np.ndarray, "2"]]:
    """Free points near the middle line of a room, one for every `STOP_SPACING` of its length."""
    size = np.array([room.x1 - room.x0, room.y1 - room.y0])
    axis = int(np.argmax(size))
    n = max(1, int(np.ceil(size[axis] / STOP_SPACING - 0.5)))
    xs, ys = np.arange(room.x0, room.x1, LATTICE), np.arange(room.y0, room.y1, LATTICE)
    lattice = np.stack(np.meshgrid(xs, ys, indexing="ij"), axis=-1).reshape(-1, 2)
    free = lattice[world.navmesh.is_free(lattice)]
    if not len(free):
        return []
    stops = []
    for i in range(n):
        wanted = np.array([(room.x0 + room.x1) / 2, (room.y0 + room.y1) / 2])
        wanted[axis] = (room.x0, room.y0)[axis] + size[axis] * (i + 0.5) / n
        stops.append(free[np.argmin(((free - wanted) ** 2).sum(axis=1))])
    return stops
