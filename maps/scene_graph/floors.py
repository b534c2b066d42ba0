"""The levels of a building with their rooms, and which room a thing is in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int
from scipy import ndimage

from embmem.maps.scene_graph.levels import levels_of
from embmem.maps.scene_graph.rooms import RoomMap

_LATTICE = 5  # points along each side of a footprint
_NEAR = 1.0  # [m] from the free space of a room, so that furniture and walls around it belong to it


@dataclass(frozen=True, eq=False)
class Floor:
    """One level."""

    height: float  # [m] of the floor, map frame
    rooms: RoomMap

    @cached_property
    def _reach(self) -> RoomMap:
        """The rooms grown into what stands around them."""
        labels = self.rooms.labels
        if not (labels >= 0).any():
            return self.rooms
        margin = int(np.ceil(_NEAR / self.rooms.resolution))
        padded = np.pad(labels, margin, constant_values=-1)
        distance, (y, x) = ndimage.distance_transform_edt(padded < 0, return_indices=True)
        grown = np.where(distance * self.rooms.resolution <= _NEAR, padded[y, x], -1).astype(np.int32)
        return RoomMap(self.rooms.origin - margin * self.rooms.resolution, self.rooms.resolution, grown)

    def rooms_of(self, box: Float[np.ndarray, "n 2 3"]) -> Int[np.ndarray, " n"]:
        """The room that most of each footprint lies in; of what lies in none the nearest, -1 beyond a metre."""
        at = np.linspace(0.0, 1.0, _LATTICE)
        share = np.stack(np.meshgrid(at, at), axis=-1).reshape(-1, 2)
        points = box[:, None, 0, :2] + share * (box[:, None, 1, :2] - box[:, None, 0, :2])
        inside = _majority(self.rooms.at(points.reshape(-1, 2)).reshape(len(box), -1))
        near = _majority(self._reach.at(points.reshape(-1, 2)).reshape(len(box), -1))
        return np.where(inside >= 0, inside, near)


def _majority(rooms: Int[np.ndarray, "n k"]) -> Int[np.ndarray, " n"]:
    """The most frequent number >= 0 of each row, the lowest of ties; -1 without any."""
    rooms = np.sort(rooms, axis=1)
    counts = (rooms[:, :, None] == rooms[:, None, :]).sum(axis=2)
    best = np.argmax(np.where(rooms >= 0, counts, 0), axis=1)
    return rooms[np.arange(len(rooms)), best] if len(rooms) else np.zeros(0, dtype=np.int64)


def rooms_of_things(floors: list[Floor], box: Float[np.ndarray, "n 2 3"]) -> Int[np.ndarray, " n"]:
    """The room of each box on the level that its bottom is on; -1 for none."""
    found = np.full(len(box), -1, dtype=np.int64)
    if not floors:
        return found
    level = levels_of(box[:, 0, 2], np.array([floor.height for floor in floors]))
    for i, floor in enumerate(floors):
        own = level == i
        if own.any():
            found[own] = floor.rooms_of(box[own])
    return found
