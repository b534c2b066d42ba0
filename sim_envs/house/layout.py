"""Procedural floor plans: rooms on both sides of corridors, doors between them, walls around them.

Everything is laid out in whole decimetres, so that walls and doors meet exactly. Three to four rooms lie around a
living room; five to fourteen along one corridor; more in wings that branch off a main corridor.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from embmem.sim_envs.house.house import DOOR_HEIGHT, Door, Room
from embmem.sim_envs.house.rooms import WIDTH, choose_kinds

MIN_ROOMS, MAX_ROOMS = 3, 60
_DOOR = 9  # [dm]
_MAIN = 16  # width of the main corridor of a large home [dm]
_ROOMS_OF_A_WING = 14  # the corridor included
_PUBLIC = ("living room", "kitchen", "dining room")


@dataclass
class _Plan:
    """Rooms and doors in decimetres while they are being laid out."""

    kinds: list[str] = field(default_factory=list)
    rects: list[tuple[int, int, int, int]] = field(default_factory=list)
    doors: list[tuple[int, int, int, int, int, int]] = field(default_factory=list)  # a b x0 y0 x1 y1

    def add(self, kind: str, x0: int, y0: int, x1: int, y1: int) -> int:
        """The index of the new room."""
        self.kinds.append(kind)
        self.rects.append((x0, y0, x1, y1))
        return len(self.kinds) - 1

    def merge(self, other: _Plan, x: int, y: int, *, mirrored: bool) -> int:
        """Add another plan moved to (x, y), its x axis turned round if `mirrored`; the index of its first room."""
        first = len(self.kinds)
        self.kinds += other.kinds
        self.rects += [_moved(rect, x, y, mirrored) for rect in other.rects]
        self.doors += [(a + first, b + first, *_moved(rect, x, y, mirrored)) for a, b, *rect in other.doors]
        return first


def _moved(rect: tuple[int, ...] | list[int], x: int, y: int, mirrored: bool) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = rect
    return (x - x1, y + y0, x - x0, y + y1) if mirrored else (x + x0, y + y0, x + x1, y + y1)


def plan_rooms(rng: np.random.Generator, n_rooms: int) -> tuple[tuple[Room, ...], tuple[Door, ...]]:
    """Exactly `n_rooms` rooms, corridors included, all connected by doors.

    Raises:
        ValueError: if `n_rooms` is outside [3, 60].
    """
    if not MIN_ROOMS <= n_rooms <= MAX_ROOMS:
        raise ValueError(f"n_rooms must lie in [{MIN_ROOMS}, {MAX_ROOMS}], got {n_rooms}")
    if n_rooms <= 4:
        plan = _around_living_room(rng, choose_kinds(rng, n_rooms))
    elif n_rooms <= _ROOMS_OF_A_WING:
        plan = _wing(rng, choose_kinds(rng, n_rooms - 1))
    else:
        plan = _wings(rng, n_rooms)
    return _oriented(rng, plan)


def _oriented(rng: np.random.Generator, plan: _Plan) -> tuple[tuple[Room, ...], tuple[Door, ...]]:
    """The plan in metres with its corner at the origin, perhaps mirrored or with x and y exchanged."""
    mirror_x, mirror_y, swap = (bool(b) for b in rng.integers(0, 2, size=3))
    rects = np.array([*plan.rects, *(door[2:] for door in plan.doors)], dtype=np.int64)
    rects = rects[:, [1, 0, 3, 2]] if swap else rects
    rects = np.stack([-rects[:, 2], rects[:, 1], -rects[:, 0], rects[:, 3]], axis=1) if mirror_x else rects
    rects = np.stack([rects[:, 0], -rects[:, 3], rects[:, 2], -rects[:, 1]], axis=1) if mirror_y else rects
    rects = rects - np.tile(rects[:, :2].min(axis=0), 2)
    metres = (rects / 10.0).tolist()
    n = len(plan.kinds)
    rooms = tuple(Room(i, kind, *metres[i]) for i, kind in enumerate(plan.kinds))
    doors = tuple(Door(a, b, *metres[n + i]) for i, (a, b, *_) in enumerate(plan.doors))
    return rooms, doors


def _row(rng: np.random.Generator, kinds: list[str], length: int) -> list[tuple[int, int]]:
    """The x ranges of rooms side by side that fill `length` exactly, walls of 1 dm between them."""
    widths = np.array([rng.integers(*WIDTH[kind], endpoint=True) for kind in kinds], dtype=np.float64)
    widths *= (length - len(kinds) + 1) / widths.sum()
    ends = np.rint(np.cumsum(widths)).astype(int) + np.arange(len(kinds))
    return list(zip([0, *(int(end) + 1 for end in ends[:-1])], (int(end) for end in ends), strict=True))


def _door_start(rng: np.random.Generator, x0: int, x1: int) -> int:
    """Where a door begins along a wall from x0 to x1: usually near a corner, so that furniture fits."""
    if x1 - x0 < _DOOR + 4:
        return (x0 + x1 - _DOOR) // 2
    near = [x0 + 2, x1 - 2 - _DOOR, int(rng.integers(x0 + 2, x1 - 1 - _DOOR))]
    return int(rng.choice(near, p=[0.4, 0.4, 0.2]))


def _neighbour_doors(rng: np.random.Generator, plan: _Plan, row: list[int]) -> None:
    """Doors between neighbours of a row who like one: living room and kitchen, bedroom and bathroom."""
    for left, right in itertools.pairwise(row):
        pair = {plan.kinds[left], plan.kinds[right]}
        likes = 0.7 if pair <= set(_PUBLIC) else 0.3 if pair == {"bedroom", "bathroom"} else 0.05
        if rng.random() < likes:
            _, y0, x1, y1 = plan.rects[left]
            start = _door_start(rng, y0, y1)
            plan.doors.append((left, right, x1, start, x1 + 1, start + _DOOR))


def _around_living_room(rng: np.random.Generator, kinds: list[str]) -> _Plan:
    plan = _Plan()
    others = [str(kind) for kind in rng.permutation(kinds[1:])]
    length = sum(int(rng.integers(*WIDTH[kind], endpoint=True)) for kind in others) + len(others) - 1
    length = max(length, 60)
    depth, back = int(rng.integers(40, 47)), int(rng.integers(34, 41))
    living = plan.add(kinds[0], 0, 0, length, depth)
    row = [
        plan.add(kind, x0, depth + 1, x1, depth + 1 + back)
        for kind, (x0, x1) in zip(others, _row(rng, others, length), strict=True)
    ]
    for room in row:
        start = _door_start(rng, plan.rects[room][0], plan.rects[room][2])
        plan.doors.append((living, room, start, depth, start + _DOOR, depth + 1))
    _neighbour_doors(rng, plan, row)
    return plan


def _two_rows(rng: np.random.Generator, kinds: list[str]) -> tuple[list[str], list[str]]:
    """The rooms split into two rows of about the same length; public rooms stay together at the far end."""
    rows: tuple[list[str], list[str]] = ([], [])
    public = sorted((kind for kind in kinds if kind in _PUBLIC), key=_PUBLIC.index)
    private = [str(k) for k in rng.permutation([kind for kind in kinds if kind not in _PUBLIC])]
    lengths = [0, 0]
    for kind in [*public[:2], *sorted([*public[2:], *private], key=lambda k: -WIDTH[k][0])]:
        shorter = 0 if kind in public[:2] else int(lengths[1] < lengths[0])
        rows[shorter].append(kind)
        lengths[shorter] += sum(WIDTH[kind]) // 2 + 1
    for row in rows:
        rng.shuffle(row)
        row.sort(key=lambda kind: -_PUBLIC.index(kind) if kind in _PUBLIC else -9)
    return rows


def _wing(rng: np.random.Generator, kinds: list[str]) -> _Plan:
    """A corridor along x (room 0, from x = 0) with a row of rooms on either side, perhaps a room across its end."""
    plan = _Plan()
    kinds = list(kinds)
    has_cap = len(kinds) >= 5 and "living room" in kinds and rng.random() < 0.5
    if has_cap:
        kinds.remove("living room")
    below, above = _two_rows(rng, kinds)
    depth_below, depth_above = (int(d) for d in rng.integers(38, 46, size=2))
    wide = int(rng.integers(13, 17))
    nominal = [sum(sum(WIDTH[kind]) / 2 + 1 for kind in row) for row in (below, above)]
    length = round(sum(nominal) / 2)
    low, high = depth_below + 1, depth_below + 1 + wide
    corridor = plan.add("corridor", 0, low, length, high)
    for row, y0, y1, wall in (
        (below, 0, depth_below, low - 1),
        (above, high + 1, high + 1 + depth_above, high),
    ):
        ids = [plan.add(k, x0, y0, x1, y1) for k, (x0, x1) in zip(row, _row(rng, row, length), strict=True)]
        for room in ids:
            start = _door_start(rng, plan.rects[room][0], plan.rects[room][2])
            plan.doors.append((corridor, room, start, wall, start + _DOOR, wall + 1))
        _neighbour_doors(rng, plan, ids)
    if has_cap:
        width = int(rng.integers(34, 41))
        cap = plan.add("living room", length + 1, 0, length + 1 + width, high + 1 + depth_above)
        start = (low + high - _DOOR) // 2
        plan.doors.append((corridor, cap, length, start, length + 1, start + _DOOR))
    return plan


def _wings(rng: np.random.Generator, n_rooms: int) -> _Plan:
    """Wings left and right of a main corridor along y (room 0)."""
    n_wings = -(-(n_rooms - 1) // _ROOMS_OF_A_WING)
    kinds = choose_kinds(rng, n_rooms - 1 - n_wings)
    plan = _Plan()
    heights = [0, 0]  # of the stacks of wings right and left of the main corridor
    plan.add("corridor", 0, 0, _MAIN, 0)
    # Dealing them out gives every wing its bathrooms and bedrooms; the first has living room and kitchen.
    hands: list[list[str]] = [kinds[:4], *([] for _ in range(n_wings - 1))]
    for kind in kinds[4:]:
        min(hands, key=len).append(kind)
    for hand in hands:
        wing = _wing(rng, hand)
        side = int(heights[1] < heights[0])
        first = plan.merge(wing, -1 if side else _MAIN + 1, heights[side], mirrored=bool(side))
        x0, y0, x1, y1 = plan.rects[first]
        start = (y0 + y1 - _DOOR) // 2
        wall = x1 if side else x0 - 1
        plan.doors.append((0, first, wall, start, wall + 1, start + _DOOR))
        heights[side] += max(rect[3] for rect in wing.rects) + 1
    plan.rects[0] = (0, 0, _MAIN, max(heights) - 1)
    return plan


def build_walls(rooms: tuple[Room, ...], doors: tuple[Door, ...], height: float) -> Float[np.ndarray, "n 6"]:
    """Boxes x0 y0 z0 x1 y1 z1 [m]: what lies within 0.2 m of a room and is neither room nor door, and the lintels."""
    margin = 2
    floors = [(r.x0, r.y0, r.x1, r.y1) for r in rooms] + [(d.x0, d.y0, d.x1, d.y1) for d in doors]
    rects = np.rint(np.array(floors) * 10).astype(int) + margin
    free = np.zeros((rects[:, 3].max() + margin, rects[:, 2].max() + margin), dtype=bool)
    for x0, y0, x1, y1 in rects:
        free[y0:y1, x0:x1] = True
    near = ndimage.binary_dilation(free, np.ones((3, 3), dtype=bool), iterations=margin)
    boxes = [(x0, y0, 0.0, x1, y1, height) for x0, y0, x1, y1 in _rectangles(near & ~free, margin)]
    boxes += [(d.x0, d.y0, DOOR_HEIGHT, d.x1, d.y1, height) for d in doors]
    return np.array(boxes, dtype=np.float64)


def _rectangles(mask: Bool[np.ndarray, "h w"], margin: int) -> list[tuple[float, float, float, float]]:
    """Disjoint rectangles [m] that cover the cells of 1 dm; runs of equal extent in successive rows become one."""
    edges = np.diff(np.pad(mask, ((0, 1), (1, 1))).astype(np.int8), axis=1)
    done: list[tuple[float, float, float, float]] = []
    open_runs: dict[tuple[int, int], int] = {}
    for row, edge in enumerate(edges):
        starts, ends = np.flatnonzero(edge == 1).tolist(), np.flatnonzero(edge == -1).tolist()
        runs = set(zip(starts, ends, strict=True))
        for x0, x1 in sorted(set(open_runs) - runs):
            y0 = open_runs.pop((x0, x1))
            done.append(((x0 - margin) / 10, (y0 - margin) / 10, (x1 - margin) / 10, (row - margin) / 10))
        for run in runs - set(open_runs):
            open_runs[run] = row
    return done
