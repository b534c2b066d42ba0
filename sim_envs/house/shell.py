"""Floors, ceilings and walls of rooms and the openings of doors, facing into the house.

Neighbouring faces share their corners (no T-junctions), so that a rasteriser leaves no cracks: together the shells of
all rooms and doors are one closed surface.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from embmem.sim_envs.house.categories import LABEL_IDS
from embmem.sim_envs.house.furniture import CHECKER, PLAIN, RGB, TILES, WOOD
from embmem.sim_envs.house.house import DOOR_HEIGHT, Door, House, Room

_FLOORS: dict[str, tuple[RGB, int]] = {
    "kitchen": ((206, 200, 188), CHECKER),
    "bathroom": ((176, 200, 208), TILES),
    "laundry room": ((188, 192, 190), TILES),
    "storage room": ((150, 148, 144), PLAIN),
    "corridor": ((196, 160, 118), TILES),
    "office": ((134, 140, 152), PLAIN),
    "playroom": ((170, 190, 150), CHECKER),
}
_WOODEN_FLOOR: tuple[RGB, int] = ((186, 142, 96), WOOD)
_WALLS: tuple[RGB, ...] = (
    (232, 226, 212), (214, 224, 226), (228, 214, 202), (216, 226, 208), (226, 220, 232), (236, 230, 200),
)  # fmt: skip
_TILED_WALL: tuple[RGB, int] = ((220, 232, 234), TILES)
_CEILING: RGB = (244, 244, 240)
_FRAME: RGB = (240, 236, 226)
_Point = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Faces:
    """Triangles with their looks."""

    vertices: Float[np.ndarray, "v 3"]
    triangles: Int[np.ndarray, "t 3"]
    colour: np.ndarray  # (t, 3)
    pattern: np.ndarray  # (t,)
    semantic: np.ndarray  # (t,)


class _Builder:
    """Collects polygons."""

    def __init__(self) -> None:
        self._vertices: list[_Point] = []
        self._triangles: list[tuple[int, int, int]] = []
        self._looks: list[tuple[int, int, int, int, int]] = []

    def polygon(self, points: list[_Point], colour: RGB, pattern: int, label: str) -> None:
        """A flat convex polygon, counter-clockwise seen from inside the house; edges may hold further points."""
        first = len(self._vertices)
        self._vertices += points
        n = len(points)
        if n == 4:
            new = [(first, first + 1, first + 2), (first, first + 2, first + 3)]
        else:  # a fan about the centre, since a fan about a corner degenerates on points along its edges
            centre = np.mean(points, axis=0)
            self._vertices.append((float(centre[0]), float(centre[1]), float(centre[2])))
            new = [(first + n, first + i, first + (i + 1) % n) for i in range(n)]
        self._triangles += new
        self._looks += [(*colour, pattern, LABEL_IDS[label])] * len(new)

    def faces(self) -> Faces:
        """All polygons as triangles."""
        looks = np.array(self._looks)
        return Faces(
            np.array(self._vertices, dtype=np.float64),
            np.array(self._triangles),
            looks[:, :3],
            looks[:, 3],
            looks[:, 4],
        )


def room_faces(house: House, room: Room) -> Faces:
    """Floor, ceiling and the four walls of a room around its doors."""
    builder, height = _Builder(), house.height
    floor_colour, floor_pattern = _FLOORS.get(room.kind, _WOODEN_FLOOR)
    wall_colour, wall_pattern = _WALLS[(house.seed + 5 * room.id) % len(_WALLS)], PLAIN
    if room.kind == "bathroom":
        wall_colour, wall_pattern = _TILED_WALL
    doors = [door for door in house.doors if room.id in (door.room_a, door.room_b)]
    corners = [(room.x0, room.y0), (room.x1, room.y0), (room.x1, room.y1), (room.x0, room.y1)]
    outline: list[tuple[float, float]] = []
    for start, end in zip(corners, [*corners[1:], corners[0]], strict=True):
        marks = _openings(doors, start, end)
        outline += [start, *marks]
        columns = [start, *marks, end]
        for i, (a, b) in enumerate(itertools.pairwise(columns)):
            # Columns alternate: wall, door, wall, ...
            column = _lintel(a, b, height) if i % 2 else _panel(columns, i, height)
            builder.polygon(column, wall_colour, wall_pattern, "wall")
    builder.polygon([(x, y, 0.0) for x, y in outline], floor_colour, floor_pattern, "floor")
    builder.polygon([(x, y, height) for x, y in reversed(outline)], _CEILING, PLAIN, "ceiling")
    return builder.faces()


def _openings(doors: list[Door], start: tuple[float, float], end: tuple[float, float]) -> list[tuple[float, float]]:
    """Where doors begin and end on the wall from `start` to `end`, in that order."""
    axis = 0 if start[1] == end[1] else 1
    level = start[1 - axis]
    marks: list[float] = []
    for door in doors:
        low, high = ((door.x0, door.y0), (door.x1, door.y1))
        on_line = level in (low[1 - axis], high[1 - axis])
        inside = min(start[axis], end[axis]) <= low[axis] and high[axis] <= max(start[axis], end[axis])
        if on_line and inside:
            marks += [low[axis], high[axis]]
    marks.sort(reverse=end[axis] < start[axis])
    return [(mark, level) if axis == 0 else (level, mark) for mark in marks]


def _lintel(a: tuple[float, float], b: tuple[float, float], height: float) -> list[_Point]:
    return [(*b, DOOR_HEIGHT), (*a, DOOR_HEIGHT), (*a, height), (*b, height)]


def _panel(columns: list[tuple[float, float]], i: int, height: float) -> list[_Point]:
    """The wall beside a door: its edge meets the lintel's corner."""
    a, b = columns[i], columns[i + 1]
    points: list[_Point] = [(*b, 0.0), (*a, 0.0)]
    points += [(*a, DOOR_HEIGHT)] if i > 0 else []
    points += [(*a, height), (*b, height)]
    points += [(*b, DOOR_HEIGHT)] if i + 2 < len(columns) else []
    return points


def door_faces(door: Door) -> Faces:
    """Threshold, jambs and the underside of the lintel, facing into the opening."""
    builder = _Builder()
    x0, y0, x1, y1, top = door.x0, door.y0, door.x1, door.y1, DOOR_HEIGHT
    is_in_y_wall = x1 - x0 > y1 - y0  # the wall runs along x, one walks along y
    low: list[_Point] = [(x0, y0, 0.0), (x1, y0, 0.0), (x1, y1, 0.0), (x0, y1, 0.0)]
    high: list[_Point] = [(x, y, top) for x, y, _ in low]
    builder.polygon(low, (150, 120, 90), PLAIN, "floor")
    builder.polygon(high[::-1], _FRAME, PLAIN, "door frame")
    jambs = [(1, 2), (3, 0)] if is_in_y_wall else [(0, 1), (2, 3)]
    for i, j in jambs:
        builder.polygon([low[j], low[i], high[i], high[j]], _FRAME, PLAIN, "door frame")
    return builder.faces()
