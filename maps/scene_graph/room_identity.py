"""Rooms keep their number while the map grows, and follow it when it is deformed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from embmem.maps.scene_graph.rooms import Doors, RoomMap


@dataclass(frozen=True, eq=False)
class Recognised:
    """A room map whose rooms have the numbers that they had before."""

    rooms: RoomMap
    merged: dict[int, int]  # a room that is no more -> the one that holds most of it
    split: dict[int, int]  # a new room -> the one that held most of it


def recognise_rooms(old: RoomMap | None, new: RoomMap, next_id: int, least_share: float = 0.3) -> Recognised:
    """The rooms of `new`, each with the number of the old room that it shares most with, one to one; or a new number.

    The pair that shares most area comes first, so that of a room that is split the larger part keeps the number, and
    of rooms that become one the larger's number stays. A pair that shares less than `least_share` of the smaller of
    the two is none.

    Args:
        old: the rooms as they were numbered; may lie in another grid.
        new: numbered in any way.
        next_id: from here on numbers are free.
        least_share: of the area.
    """
    h, w = new.labels.shape
    centres = (np.indices((h, w)).reshape(2, -1).T[:, ::-1] + 0.5) * new.resolution + new.origin
    before = np.full(h * w, -1, dtype=np.int64) if old is None else old.at(centres)
    now = new.labels.ravel().astype(np.int64)
    both = (before >= 0) & (now >= 0)
    pairs, shared = np.unique(np.stack([before[both], now[both]], axis=1), axis=0, return_counts=True)
    area = shared * new.resolution**2
    old_ids, old_area = _areas(old) if old is not None else (np.zeros(0, dtype=np.int64), np.zeros(0))
    new_ids, new_area = _areas(new)
    smaller = np.minimum(
        old_area[np.searchsorted(old_ids, pairs[:, 0])], new_area[np.searchsorted(new_ids, pairs[:, 1])]
    )
    fits = area >= least_share * smaller
    names: dict[int, int] = {}
    taken: set[int] = set()
    order = np.lexsort((pairs[:, 1], pairs[:, 0], -area))
    for i in order.tolist():
        a, b = pairs[i].tolist()
        if fits[i] and b not in names and a not in taken:
            names[b] = a
            taken.add(a)
    split: dict[int, int] = {}
    merged: dict[int, int] = {}
    for room in new_ids.tolist():
        if room not in names:
            names[room] = next_id
            next_id += 1
    for i in order.tolist():
        a, b = pairs[i].tolist()
        if a not in taken and fits[i]:
            merged.setdefault(a, names[b])
        if a in taken and names[b] != a and names[b] not in taken and fits[i]:
            split.setdefault(names[b], a)
    return Recognised(_renamed(new, names), merged, split)


def _areas(rooms: RoomMap) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    ids, counts = np.unique(rooms.labels[rooms.labels >= 0], return_counts=True)
    return ids.astype(np.int64), counts * rooms.resolution**2


def _renamed(rooms: RoomMap, names: dict[int, int]) -> RoomMap:
    table = np.full(max([*names, 0]) + 1, -1, dtype=np.int32)
    for old, new in names.items():
        table[old] = new
    labels = np.where(rooms.labels >= 0, table[rooms.labels], -1).astype(np.int32)
    pairs = table[rooms.doors.rooms].astype(np.int64).reshape(-1, 2)
    order = np.lexsort((rooms.doors.position[:, 0], rooms.doors.position[:, 1], pairs.max(axis=1), pairs.min(axis=1)))
    doors = Doors(np.sort(pairs, axis=1)[order], rooms.doors.position[order], rooms.doors.width[order])
    return RoomMap(rooms.origin, rooms.resolution, labels, doors)


def move_rooms(rooms: RoomMap, ids: Int[np.ndarray, " n"], T_new_old: Float[np.ndarray, "n 4 4"]) -> RoomMap:
    """Every room moved by its own transform, seen from above; where two meet, the lower number stays.

    Each cell of the new map looks up where it was, so that a turned room has no holes. A door moves with the first of
    its rooms, and goes with a room that vanishes below another.
    """
    planar = T_new_old[:, :2, [0, 1, 3]]
    inverse = np.linalg.inv(planar[:, :, :2])
    boxes = [rooms.bounds(int(room)) for room in ids]
    corners = [
        box[[[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1]] @ P[:, :2].T + P[:, 2]
        for box, P in zip(boxes, planar, strict=True)
    ]
    if not corners:
        return rooms
    low = np.minimum(np.concatenate(corners).min(axis=0), rooms.origin)
    end = rooms.origin + np.array(rooms.labels.shape[::-1]) * rooms.resolution
    high = np.maximum(np.concatenate(corners).max(axis=0), end)
    low_cell = np.floor((low - rooms.origin) / rooms.resolution + 1e-6).astype(np.int64)
    size = np.ceil((high - rooms.origin) / rooms.resolution - 1e-6).astype(np.int64) - low_cell
    origin = rooms.origin + low_cell * rooms.resolution
    labels = np.full((size[1], size[0]), -1, dtype=np.int32)
    for i in np.argsort(-ids, kind="stable").tolist():
        first = np.maximum(np.floor((corners[i].min(axis=0) - origin) / rooms.resolution - 1e-6).astype(int), 0)
        last = np.minimum(np.ceil((corners[i].max(axis=0) - origin) / rooms.resolution + 1e-6).astype(int), size)
        y, x = np.mgrid[first[1] : last[1], first[0] : last[0]]
        points = (np.stack([x.ravel(), y.ravel()], axis=1) + 0.5) * rooms.resolution + origin
        was = rooms.at((points - planar[i, :, 2]) @ inverse[i].T)
        mine = was == ids[i]
        labels[y.ravel()[mine], x.ravel()[mine]] = ids[i]
    leads = np.isin(rooms.doors.rooms, labels).all(axis=1)
    doors = Doors(rooms.doors.rooms[leads], rooms.doors.position[leads], rooms.doors.width[leads])
    at = np.searchsorted(ids, doors.rooms[:, 0])
    position = np.einsum("nij,nj->ni", planar[at, :, :2], doors.position) + planar[at, :, 2]
    return RoomMap(origin, rooms.resolution, labels, Doors(doors.rooms, position, doors.width))
