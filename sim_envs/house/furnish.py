"""Puts furniture into rooms: along the walls, clear of the doors, so that a body still reaches everything."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from embmem.sim_envs.house.access import CELL, reachable_cells
from embmem.sim_envs.house.furniture import FURNITURE
from embmem.sim_envs.house.groups import Group, groups
from embmem.sim_envs.house.house import BODY_HEIGHT, WALL_THICKNESS, Door, Furniture, Room
from embmem.sim_envs.house.pieces import build_group, moved
from embmem.sim_envs.house.rooms import FURNISHING

_STEP = 0.1  # [m] between candidate positions
_TRIES = 14  # candidates that are tested for clear ways
_DOOR_ZONE = 0.75  # [m] in front of a door that stays empty
_GAP = 0.02  # [m] between neighbouring groups
_APART = np.array([-_GAP, -_GAP, _GAP, _GAP])
_APPROACH = 0.5  # [m] in front of furniture with surfaces within which a body must find a place to stand
_ON_OUTER_WALL = frozenset({"window"})


@dataclass(frozen=True)
class _Site:
    """A room to be furnished."""

    room: Room
    doors: list[Door]
    outer: frozenset[int]  # directions in which no other room lies: windows go there


def furnish(rng: np.random.Generator, rooms: tuple[Room, ...], doors: tuple[Door, ...]) -> tuple[Furniture, ...]:
    """Furniture of all rooms, ids from 1."""
    pieces: list[Furniture] = []
    for room in rooms:
        own_doors = [door for door in doors if room.id in (door.room_a, door.room_b)]
        pieces += _furnish_room(rng, _Site(room, own_doors, _outer_walls(room, rooms)), len(pieces) + 1)
    return tuple(pieces)


def _outer_walls(room: Room, rooms: tuple[Room, ...]) -> frozenset[int]:
    reach = WALL_THICKNESS * 2
    sides = {
        0: (room.x1, room.y0, room.x1 + reach, room.y1),
        1: (room.x0, room.y1, room.x1, room.y1 + reach),
        2: (room.x0 - reach, room.y0, room.x0, room.y1),
        3: (room.x0, room.y0 - reach, room.x1, room.y0),
    }
    others = np.array([(r.x0, r.y0, r.x1, r.y1) for r in rooms if r.id != room.id]).reshape(-1, 4)
    shared = np.any(_overlaps(np.array(list(sides.values())), others), axis=1)
    return frozenset(np.flatnonzero(~shared).tolist())


def _furnish_room(rng: np.random.Generator, site: _Site, first_id: int) -> list[Furniture]:
    placed: list[Furniture] = []
    for name, probability in FURNISHING[site.room.kind]:
        if rng.random() >= probability:
            continue
        for group in groups(rng, name):
            added = _place(rng, site, group, placed, first_id + len(placed))
            if added:
                placed += added
                break
    return placed


def _place(
    rng: np.random.Generator, site: _Site, group: Group, placed: list[Furniture], first_id: int
) -> list[Furniture]:
    """The pieces of the group where they fit, or nothing."""
    facings, extents = _candidates(site, group)
    upright = build_group(group, site.room.id, first_id)
    bottom = min(float(f.boxes[:, 2].min()) for f in upright)
    top = max(float(f.boxes[:, 5].max()) for f in upright)
    others = [f for f in placed if f.boxes[:, 2].min() < top and f.boxes[:, 5].max() > bottom]
    taken = np.array([(f.x0, f.y0, f.x1, f.y1) for f in others]).reshape(-1, 4)
    taken = np.concatenate([taken + _APART, _door_zones(site)])
    fits = np.flatnonzero(~_overlaps(extents, taken).any(axis=1))
    for index in _ordered(rng, site, extents, fits, group.is_central)[:_TRIES]:
        facing, to = int(facings[index]), (float(extents[index, 0]), float(extents[index, 1]))
        pieces = [moved(f, (group.width, group.depth), facing, to) for f in upright]
        if bottom >= BODY_HEIGHT or _leaves_ways(site, placed + pieces):
            return pieces
    return []


def _candidates(site: _Site, group: Group) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, "n 4"]]:
    """The ways the group may be turned (facing) and the rectangles it then covers."""
    room = site.room
    facings, extents = [np.empty(0, dtype=np.int64)], [np.empty((0, 4))]
    is_window = bool(_ON_OUTER_WALL & {p.category for p in group.pieces})
    for facing in (0, 1, 2, 3):
        dx, dy = (group.width, group.depth) if facing % 2 else (group.depth, group.width)
        free_x, free_y = room.x1 - room.x0 - dx, room.y1 - room.y0 - dy
        if min(free_x, free_y) < 0 or (is_window and (facing + 2) % 4 not in site.outer):
            continue
        xs, ys = _steps(free_x), _steps(free_y)
        if group.is_central:
            xs, ys = xs[1:-1], ys[1:-1]
        elif facing % 2:
            ys = ys[:1] if facing == 1 else ys[-1:]
        else:
            xs = xs[:1] if facing == 0 else xs[-1:]
        x, y = (np.round(grid.ravel(), 4) for grid in np.meshgrid(room.x0 + xs, room.y0 + ys))
        extents.append(np.stack([x, y, x + dx, y + dy], axis=1))
        facings.append(np.full(len(x), facing))
    return np.concatenate(facings), np.concatenate(extents)


def _steps(free: float) -> Float[np.ndarray, " n"]:
    """Offsets [m] from one wall to the other, both ends included."""
    return np.append(np.arange(0.0, free - 1e-3, _STEP), free)


def _door_zones(site: _Site) -> Float[np.ndarray, "n 4"]:
    """Rectangles before the doors, and in the openings themselves."""
    zones = []
    for door in site.doors:
        is_in_y_wall = door.x1 - door.x0 > door.y1 - door.y0
        dx, dy = (0.05, _DOOR_ZONE) if is_in_y_wall else (_DOOR_ZONE, 0.05)
        zones.append((door.x0 - dx, door.y0 - dy, door.x1 + dx, door.y1 + dy))
    return np.array(zones, dtype=np.float64).reshape(-1, 4)


def _overlaps(rects: Float[np.ndarray, "n 4"], others: Float[np.ndarray, "m 4"]) -> Bool[np.ndarray, "n m"]:
    """Whether the inside of each rectangle meets the inside of each of the others."""
    starts_before = rects[:, None, :2] < others[None, :, 2:] - 1e-9
    ends_after = rects[:, None, 2:] > others[None, :, :2] + 1e-9
    overlaps: Bool[np.ndarray, "n m"] = np.all(starts_before & ends_after, axis=2)
    return overlaps


def _ordered(
    rng: np.random.Generator, site: _Site, extents: Float[np.ndarray, "n 4"], fits: np.ndarray, is_central: bool
) -> np.ndarray:
    """The fitting candidates by preference: corners before the middle of a wall, the middle for what stands free."""
    room, rects = site.room, extents[fits]
    to_wall_x = np.minimum(rects[:, 0] - room.x0, room.x1 - rects[:, 2])
    to_wall_y = np.minimum(rects[:, 1] - room.y0, room.y1 - rects[:, 3])
    to_corner = np.minimum(np.maximum(to_wall_x, to_wall_y), 0.8)
    score = -np.minimum(to_wall_x, to_wall_y) if is_central else to_corner
    return fits[np.argsort(score + rng.uniform(0.0, 0.9, size=len(fits)), kind="stable")]


def _leaves_ways(site: _Site, pieces: list[Furniture]) -> bool:
    """Whether all doors stay connected and a body can still come close to everything that carries things."""
    standing = [f for f in pieces if f.blocks_floor]
    rects = np.array([(f.x0, f.y0, f.x1, f.y1) for f in standing]).reshape(-1, 4)
    cells = reachable_cells(site.room, rects, site.doors)
    if cells is None:
        return False
    rows, columns = np.nonzero(cells)
    x, y = site.room.x0 + CELL * (columns + 0.5), site.room.y0 + CELL * (rows + 0.5)
    for f in standing:
        if len(f.surfaces) and f.category != "chair":
            x0, y0, x1, y1 = _front(f, _APPROACH)
            if not ((x > x0) & (x < x1) & (y > y0) & (y < y1)).any():
                return False
    return True


def _front(f: Furniture, reach: float) -> tuple[float, float, float, float]:
    """The rectangle [m] of the floor from which things on the piece can be seen and taken."""
    if FURNITURE[f.category].any_side:
        return f.x0 - reach, f.y0 - reach, f.x1 + reach, f.y1 + reach
    return (
        (f.x1, f.y0, f.x1 + reach, f.y1),
        (f.x0, f.y1, f.x1, f.y1 + reach),
        (f.x0 - reach, f.y0, f.x0, f.y1),
        (f.x0, f.y0 - reach, f.x1, f.y0),
    )[f.facing]
