"""Where the rooms of an imported scene graph lie, as cells: graphs of others know boxes, or places in rooms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree

from embmem.errors import InputError
from embmem.maps.scene_graph.floors import Floor
from embmem.maps.scene_graph.levels import STOREY
from embmem.maps.scene_graph.rooms import Doors, RoomMap

CELL = 0.1  # [m]
_MOST_CELLS = 1 << 24
_REACH = 1.0  # [m] of a place into its room
_FARTHEST = 1e6  # [m] from one room to another


@dataclass(frozen=True, eq=False)
class RoomSketch:
    """What a scene graph says of a room."""

    number: int
    position: Float[np.ndarray, "3"]  # [m]
    box: Float[np.ndarray, "2 3"] | None = None  # [m]
    places: Float[np.ndarray, "k 3"] = field(default_factory=lambda: np.zeros((0, 3)))  # [m] points in it

    @property
    def height(self) -> float:
        """[m] of its floor."""
        return float(self.position[2] if self.box is None else self.box[0, 2])


@dataclass(frozen=True)
class DoorSketch:
    """A passage between two rooms."""

    rooms: tuple[int, int]
    position: tuple[float, float]  # [m]
    width: float  # [m]


def floors_of(rooms: Sequence[RoomSketch], doors: Sequence[DoorSketch] = ()) -> list[Floor]:
    """The levels from below, each with the cells of its rooms: their boxes, smaller ones over larger, else what is at
    most a metre from a place in them, or from their middle.

    Raises:
        InputError: if rooms are unbelievably far apart.
    """
    levels: list[list[RoomSketch]] = []
    for room in sorted(rooms, key=lambda each: (each.height, each.number)):
        if not levels or room.height - levels[-1][0].height >= STOREY:
            levels.append([])
        levels[-1].append(room)
    floors = []
    for level in levels:
        plan = _room_map(level)
        own = [d for d in doors if set(d.rooms) <= set(plan.ids().tolist())]
        floors.append(Floor(level[0].height, RoomMap(plan.origin, plan.resolution, plan.labels, _doors(own))))
    return floors


def _doors(doors: Sequence[DoorSketch]) -> Doors:
    own = sorted(doors, key=lambda d: (tuple(sorted(d.rooms)), d.position))
    return Doors(
        np.array([sorted(d.rooms) for d in own], dtype=np.int64).reshape(-1, 2),
        np.array([d.position for d in own], dtype=np.float64).reshape(-1, 2),
        np.array([d.width for d in own], dtype=np.float64),
    )


def _room_map(rooms: Sequence[RoomSketch]) -> RoomMap:
    outlines = [_outline(room) for room in rooms]
    low, high = np.min([o[0] for o in outlines], axis=0), np.max([o[1] for o in outlines], axis=0)
    if not (high - low).max() < _FARTHEST:
        raise InputError(f"rooms reach over {(high - low).max():,.0f} m; their positions are damaged or no metres")
    edge = CELL
    while ((high - low) / edge + 2).prod() > _MOST_CELLS:
        edge *= 2.0
    first, last = np.floor(low / edge).astype(np.int64), np.ceil(high / edge).astype(np.int64)
    labels = np.full((last - first)[::-1] + 1, -1, dtype=np.int32)
    origin = first * edge
    _paint_boxes(labels, origin, edge, [room for room in rooms if room.box is not None])
    _paint_places(labels, origin, edge, {r.number: _points(r) for r in rooms if r.box is None})
    for room in rooms:  # none is lost under another one
        column, row = np.clip(np.floor((room.position[:2] - origin) / edge).astype(np.int64), 0, last - first)
        if not (labels == room.number).any():
            labels[row, column] = room.number
    return RoomMap(origin, edge, labels)


def _points(room: RoomSketch) -> Float[np.ndarray, "k 2"]:
    return np.asarray(room.places[:, :2] if len(room.places) else room.position[None, :2], dtype=np.float64)


def _outline(room: RoomSketch) -> tuple[np.ndarray, np.ndarray]:
    if room.box is not None:
        return np.minimum(room.box[0, :2], room.position[:2]), np.maximum(room.box[1, :2], room.position[:2])
    points = _points(room)
    return (
        np.minimum(points.min(axis=0), room.position[:2]) - _REACH,
        np.maximum(points.max(axis=0), room.position[:2]) + _REACH,
    )


def _paint_boxes(labels: np.ndarray, origin: np.ndarray, edge: float, rooms: Sequence[RoomSketch]) -> None:
    """The cells whose centres lie in the boxes, the largest first."""
    boxed = [(room.box, room.number) for room in rooms if room.box is not None]
    for box, number in sorted(boxed, key=lambda each: (-float(np.prod(each[0][1, :2] - each[0][0, :2])), each[1])):
        (c0, r0), (c1, r1) = np.ceil((box[:, :2] - origin) / edge - 0.5).astype(np.int64).tolist()
        labels[max(r0, 0) : r1, max(c0, 0) : c1] = number


def _paint_places(labels: np.ndarray, origin: np.ndarray, edge: float, places: Mapping[int, np.ndarray]) -> None:
    """The cells near to places go to the room of the nearest; boxes stay as they are."""
    if not places:
        return
    points = np.concatenate(list(places.values()))
    of = np.repeat(np.array(list(places), dtype=np.int32), [len(p) for p in places.values()])
    rows, columns = np.nonzero(labels < 0)
    centres = (np.stack([columns, rows], axis=1) + 0.5) * edge + origin
    distance, nearest = cKDTree(points).query(centres, distance_upper_bound=_REACH)
    is_near = np.isfinite(distance)
    labels[rows[is_near], columns[is_near]] = of[nearest[is_near]]
