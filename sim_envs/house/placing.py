"""Lays small objects on furniture: near a front edge, apart from each other, in view of somebody standing there."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from embmem.sim_envs.house.access import CELL, EYE_HEIGHT, distance_to_box, reachable_cells, sees
from embmem.sim_envs.house.categories import OBJECTS
from embmem.sim_envs.house.furniture import FURNITURE
from embmem.sim_envs.house.house import Door, Furniture, Room, SmallObject, object_aabb

_TRIES = 8
_GAP = 0.03  # [m] between neighbours
_APART = np.array([-_GAP, -_GAP, 1e-6, _GAP, _GAP, 0.02])
_HEADROOM = np.array([0.0, 0.0, 1e-6, 0.0, 0.0, 0.02])  # [m]
_INSET = (0.02, 0.06)  # [m] from the edge of the surface
_VIEW_DISTANCE = 0.85  # [m] tighter than the metre of the tasks, whose lattice of view points is another one
_VIEW_CELLS = 4  # places to stand from which an object must be seen
_FACING_YAW = (-np.pi / 2, 0.0, np.pi / 2, np.pi)  # a local front of +y becomes +x, +y, -x, -y


class Placer:
    """Places objects one after the other and remembers where they lie."""

    def __init__(self, rooms: tuple[Room, ...], doors: tuple[Door, ...], furniture: tuple[Furniture, ...]) -> None:
        self._furniture = {f.id: f for f in furniture}
        self._eyes: dict[int, Float[np.ndarray, "n 3"]] = {}
        self._boxes: dict[int, Float[np.ndarray, "n 6"]] = {}
        self._lying: dict[int, dict[int, Float[np.ndarray, "6"]]] = {f.id: {} for f in furniture}
        self._kept: dict[tuple[str, str], list[int]] = {}
        kinds = {room.id: room.kind for room in rooms}
        for f in furniture:
            self._kept.setdefault((kinds[f.room], f.category), []).append(f.id)
        for room in rooms:
            own = [f for f in furniture if f.room == room.id]
            own_doors = [d for d in doors if room.id in (d.room_a, d.room_b)]
            self._boxes[room.id] = np.concatenate([np.empty((0, 6)), *(f.boxes for f in own)])
            self._eyes[room.id] = _eyes(room, own, own_doors)

    def add(self, obj: SmallObject) -> None:
        """Remember an object that lies where it is."""
        self._lying[obj.furniture][obj.id] = object_aabb(obj.position, obj.yaw, obj.size)

    def remove(self, obj: SmallObject) -> None:
        """Forget an object that was taken away."""
        del self._lying[obj.furniture][obj.id]

    def choices(self, category: str) -> tuple[list[int], Float[np.ndarray, " n"]]:
        """Ids of the furniture that may carry the category and their probabilities, from the household priors."""
        ids: list[int] = []
        weights: list[float] = []
        for place, weight in OBJECTS[category].places:
            kept = self._kept.get(place, [])
            ids += kept
            weights += [weight / max(len(kept), 1)] * len(kept)
        return ids, np.array(weights) / max(sum(weights), 1e-12)

    def lay(self, rng: np.random.Generator, category: str, furniture_id: int, object_id: int) -> SmallObject | None:
        """A new object on that piece of furniture, not remembered yet; None if no free spot in view is found."""
        piece = self._furniture[furniture_id]
        size = np.array(OBJECTS[category].size)
        for _ in range(_TRIES):
            spot = _spot(rng, piece, size)
            if spot is None:
                continue
            position, yaw = spot
            if self._is_good(piece, object_aabb(position, yaw, size)):
                return SmallObject(object_id, category, piece.room, furniture_id, position, yaw, size)
        return None

    def _is_good(self, piece: Furniture, aabb: Float[np.ndarray, "6"]) -> bool:
        """Whether the box is free and visible from enough places."""
        grown = aabb + _APART
        others = np.array([*self._lying[piece.id].values()]).reshape(-1, 6)
        if _meets(grown, others) or _meets(aabb + _HEADROOM, self._boxes[piece.room]):
            return False
        eyes = self._eyes[piece.room]
        near = eyes[distance_to_box(eyes[:, :2], aabb) < _VIEW_DISTANCE]
        if len(near) < _VIEW_CELLS:
            return False
        centre = (aabb[:3] + aabb[3:]) / 2
        return int(sees(near, centre, self._boxes[piece.room]).sum()) >= _VIEW_CELLS


def _eyes(room: Room, furniture: list[Furniture], doors: list[Door]) -> Float[np.ndarray, "n 3"]:
    """Eye points above all cells that a body can reach."""
    rects = np.array([(f.x0, f.y0, f.x1, f.y1) for f in furniture if f.blocks_floor]).reshape(-1, 4)
    cells = reachable_cells(room, rects, doors)
    if cells is None:
        return np.empty((0, 3))
    rows, columns = np.nonzero(cells)
    x, y = room.x0 + CELL * (columns + 0.5), room.y0 + CELL * (rows + 0.5)
    return np.stack([x, y, np.full(len(x), EYE_HEIGHT)], axis=1)


def _meets(box: Float[np.ndarray, "6"], others: Float[np.ndarray, "n 6"]) -> bool:
    return bool(((box[:3] < others[:, 3:]) & (box[3:] > others[:, :3])).all(axis=1).any())


def _spot(
    rng: np.random.Generator, piece: Furniture, size: Float[np.ndarray, "3"]
) -> tuple[Float[np.ndarray, "3"], float] | None:
    """A random place near an edge of one of the surfaces: centre of the bottom and yaw; None if it is too small."""
    x0, y0, x1, y1, z = piece.surfaces[rng.integers(len(piece.surfaces))].tolist()
    edge = int(rng.integers(4)) if FURNITURE[piece.category].any_side else piece.facing
    yaw = float(_FACING_YAW[edge] + rng.uniform(-0.25, 0.25))
    box = object_aabb(np.zeros(3), yaw, size)
    half_x, half_y = float(box[3]), float(box[4])
    inset = float(rng.uniform(*_INSET))
    low_x, high_x, low_y, high_y = x0 + half_x, x1 - half_x, y0 + half_y, y1 - half_y
    if edge % 2:
        low_x, high_x = low_x + 0.01, high_x - 0.01
        y = high_y - inset if edge == 1 else low_y + inset
        x = float(rng.uniform(low_x, max(low_x, high_x)))
    else:
        low_y, high_y = low_y + 0.01, high_y - 0.01
        x = high_x - inset if edge == 0 else low_x + inset
        y = float(rng.uniform(low_y, max(low_y, high_y)))
    if low_x > high_x or low_y > high_y or not (low_x <= x <= high_x and low_y <= y <= high_y):
        return None
    return np.round(np.array([x, y, z]), 4), round(yaw, 4)
