"""Where a body stands to reach each receptacle and each room, and the exact way between any two of these places."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from embmem.sim_envs.house import House, Room
from embmem.sim_envs.household.names import is_receptacle, numbered, underscored
from embmem.sim_envs.navmesh import NavMesh

RADIUS = 0.18  # [m] of the body
LATTICE = 0.1  # [m]
REACH = 1.2  # [m] horizontally from the body to the nearest edge of a receptacle


@dataclass(frozen=True, eq=False)
class Places:
    """Rooms first, then receptacles; `metres[i, j]` is the way from place i to place j [m]."""

    rooms: tuple[str, ...]
    receptacles: dict[str, str]  # receptacle -> its room
    categories: dict[str, str]  # receptacle -> e.g. "coffee table"
    furniture: dict[int, str]  # id -> receptacle
    index: dict[str, int]  # place -> row of `metres`
    metres: np.ndarray  # (n, n) [m]

    def way(self, start: str, goal: str) -> float:
        """Length [m] of the shortest way between two places."""
        return float(self.metres[self.index[start], self.index[goal]])


def places_of(house: House) -> Places:
    """The places of a house; furniture that nobody can reach is none, nor is a room that nobody can enter."""
    navmesh = NavMesh(house.obstacles(), np.array(house.bounds(), dtype=np.float64), RADIUS)
    free = {room.id: _free(navmesh, room) for room in house.rooms}
    rooms = {room.id: name for room, name in zip(house.rooms, numbered(r.kind for r in house.rooms), strict=True)}
    points: dict[str, Float[np.ndarray, "2"]] = {}
    for room in house.rooms:
        if len(free[room.id]):
            points[rooms[room.id]] = _nearest(
                free[room.id], np.array([room.x0, room.y0, room.x1, room.y1]), middle=True
            )
    pieces = [f for f in house.furniture if is_receptacle(f)]
    room_of, category, furniture = {}, {}, {}
    for piece, name in zip(pieces, numbered(f.category for f in pieces), strict=True):
        rect = np.array([piece.x0, piece.y0, piece.x1, piece.y1])
        if not len(free[piece.room]):
            continue
        stand = _nearest(free[piece.room], rect)
        if _gap(stand[None], rect)[0] <= REACH:
            points[name] = stand
            room_of[name], category[name], furniture[piece.id] = rooms[piece.room], piece.category, name
    index = {name: i for i, name in enumerate(points)}
    stands = np.array(list(points.values())).reshape(-1, 2)
    metres = np.array([navmesh.distances(stands, goal[None]) for goal in stands]).reshape(len(stands), len(stands))
    entered = tuple(name for name in rooms.values() if name in points)
    return Places(entered, room_of, category, furniture, index, (metres + metres.T) / 2.0)


def kind_of(room: str) -> str:
    """`bedroom` of `bedroom_2`."""
    return room.rsplit("_", 1)[0]


def is_room_of(room: str, words: str) -> bool:
    """Whether a room is one of the kind that the words say."""
    return kind_of(room) == underscored(words)


def _free(navmesh: NavMesh, room: Room) -> Float[np.ndarray, "n 2"]:
    """Points of a lattice where the body can stand, on the largest island."""
    xs, ys = np.arange(room.x0, room.x1, LATTICE), np.arange(room.y0, room.y1, LATTICE)
    lattice = np.stack(np.meshgrid(xs, ys, indexing="ij"), axis=-1).reshape(-1, 2)
    return lattice[navmesh.island(lattice) == 1]


def _gap(points: Float[np.ndarray, "n 2"], rect: Float[np.ndarray, "4"]) -> Float[np.ndarray, " n"]:
    outside = np.maximum(np.maximum(rect[:2] - points, points - rect[2:]), 0.0)
    return np.hypot(outside[:, 0], outside[:, 1])


def _nearest(
    points: Float[np.ndarray, "n 2"], rect: Float[np.ndarray, "4"], *, middle: bool = False
) -> Float[np.ndarray, "2"]:
    """The point nearest to a rectangle, of equals the one nearest to its middle; or only the latter counts."""
    to_middle = np.hypot(*(points - (rect[:2] + rect[2:]) / 2.0).T)
    gap = np.zeros(len(points)) if middle else np.round(_gap(points, rect), 6)
    return points[np.lexsort((to_middle, gap))[0]]
