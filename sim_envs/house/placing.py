"""Lays small objects on furniture: near a front edge, apart from each other, in view of somebody standing there."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from embmem.sim_envs.house.access import CELL, EYE_HEIGHT, distance_to_box, reachable_cells, sees
from embmem.sim_envs.house.categories import OBJECTS
from embmem.sim_envs.house.furniture import FURNITURE
from embmem.sim_envs.house.house import Door, Furniture, Room, SmallObject, object_aabb

_TRIES = 6  # free spots of which the view is tested
_STEP = 0.05  # [m] between spots along an edge
_TURN = 0.15  # [rad] by which things are laid down askew
_RIM = 0.01  # [m] that stays free all round a surface
_GAP = 0.03  # [m] between neighbours
_APART = np.array([-_GAP, -_GAP, 1e-6, _GAP, _GAP, 0.02])
_HEADROOM = np.array([0.0, 0.0, 1e-6, 0.0, 0.0, 0.02])  # [m]
_INSET = (0.01, 0.05)  # [m] from the rim
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
        boxes, yaws = _spots(rng, piece, size)
        lying = np.array([*self._lying[piece.id].values()]).reshape(-1, 6)
        blocked = _meet(boxes + _APART, lying) | _meet(boxes + _HEADROOM, self._boxes[piece.room])
        for i in rng.permutation(np.flatnonzero(~blocked))[:_TRIES]:
            if self._leaves_all_in_view(piece, np.concatenate([boxes[i : i + 1], lying])):
                middle = (boxes[i, :3] + boxes[i, 3:]) / 2
                position = np.round(np.array([middle[0], middle[1], boxes[i, 2]]), 4)
                return SmallObject(object_id, category, piece.room, furniture_id, position, float(yaws[i]), size)
        return None

    def _leaves_all_in_view(self, piece: Furniture, lying: Float[np.ndarray, "n 6"]) -> bool:
        """Whether the first of the boxes on the piece can be seen, and the others still can."""
        # What lies in one row along a front edge hides nothing; only from other sides things hide each other.
        n = len(lying) if FURNITURE[piece.category].any_side else 1
        return all(self._is_in_view(piece.room, lying[i], np.delete(lying, i, axis=0)) for i in range(n))

    def _is_in_view(self, room: int, aabb: Float[np.ndarray, "6"], others: Float[np.ndarray, "n 6"]) -> bool:
        """Whether the box is visible from enough places close by."""
        eyes = self._eyes[room]
        near = eyes[distance_to_box(eyes[:, :2], aabb) < _VIEW_DISTANCE]
        if len(near) < _VIEW_CELLS:
            return False
        centre = (aabb[:3] + aabb[3:]) / 2
        return int(sees(near, centre, np.concatenate([self._boxes[room], others])).sum()) >= _VIEW_CELLS


def _eyes(room: Room, furniture: list[Furniture], doors: list[Door]) -> Float[np.ndarray, "n 3"]:
    """Eye points above all cells that a body can reach."""
    rects = np.array([(f.x0, f.y0, f.x1, f.y1) for f in furniture if f.blocks_floor]).reshape(-1, 4)
    cells = reachable_cells(room, rects, doors)
    if cells is None:
        return np.empty((0, 3))
    rows, columns = np.nonzero(cells)
    x, y = room.x0 + CELL * (columns + 0.5), room.y0 + CELL * (rows + 0.5)
    return np.stack([x, y, np.full(len(x), EYE_HEIGHT)], axis=1)


def _meet(boxes: Float[np.ndarray, "n 6"], others: Float[np.ndarray, "m 6"]) -> Bool[np.ndarray, " n"]:
    """Which of the boxes meet any of the others."""
    starts_before = boxes[:, None, :3] < others[None, :, 3:]
    ends_after = boxes[:, None, 3:] > others[None, :, :3]
    meets: Bool[np.ndarray, " n"] = np.any(np.all(starts_before & ends_after, axis=2), axis=1)
    return meets


def _spots(
    rng: np.random.Generator, piece: Furniture, size: Float[np.ndarray, "3"]
) -> tuple[Float[np.ndarray, "n 6"], Float[np.ndarray, " n"]]:
    """Boxes that the object may fill along the edges of the surfaces, one every few centimetres, and its yaw there."""
    inset, turn, phase = rng.uniform(*_INSET), rng.uniform(-_TURN, _TURN), rng.uniform(0.0, _STEP)
    boxes, yaws = [np.empty((0, 6))], [np.empty(0)]
    for edge in (0, 1, 2, 3) if FURNITURE[piece.category].any_side else (piece.facing,):
        yaw = round(float(_FACING_YAW[edge] + turn), 4)
        lying = object_aabb(np.zeros(3), yaw, size)
        for x0, y0, x1, y1, z in piece.surfaces.tolist():
            low = np.array([x0, y0]) - lying[:2] + _RIM
            high = np.array([x1, y1]) - lying[3:5] - _RIM
            along, across = (0, 1) if edge % 2 else (1, 0)
            if (low > high).any():
                continue
            at = low[along] + phase + np.arange(0.0, max(high[along] - low[along] - phase, 1e-9), _STEP)
            centre = np.full((len(at), 3), z)
            centre[:, along] = np.minimum(at, high[along])
            front = high[across] - inset if edge < 2 else low[across] + inset
            centre[:, across] = np.clip(front, low[across], high[across])
            boxes.append(np.round(np.tile(centre, 2), 4) + lying)
            yaws.append(np.full(len(at), yaw))
    return np.concatenate(boxes), np.concatenate(yaws)
