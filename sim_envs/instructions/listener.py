"""Somebody who knows the house and follows what was told: does it lead to one place, and there only?

Nothing of this is shared with the one who tells: it walks from door to door in straight lines, takes every way
through the house that fits the words, and is generous where the words are vague, so that what it can misunderstand
is not told.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from embmem.policies.instructions.steps import Step
from embmem.sim_envs.house import Door, Furniture, House

MAX_DOORS = 5
NEAR = 1.3  # [m] between a door and what is next to it
BESIDE = 1.8  # [m] between a straight line and what is passed
_TURNS = {"straight": (0.0, 40.0), "left": (25.0, 155.0), "right": (-155.0, -25.0)}  # [degrees] that may be meant

Point = tuple[float, float]
Event = tuple[str, object]


@dataclass(frozen=True)
class Understood:
    """Where a description leads."""

    doors: tuple[int, ...]
    goal: int  # id of the piece of furniture
    goals: int  # number of pieces that the words fit


def understand(house: House, start: Sequence[float], steps: Sequence[Step]) -> Understood | None:
    """The shortest way that fits the steps, and how many goals there are; None if nothing fits.

    Args:
        house: where it is told.
        start: x, y [m].
        steps: what was told, the last one a stop.
    """
    here = house.room_at(*start)
    if here is None or not steps or steps[-1].kind != "stop":
        return None
    point = (float(start[0]), float(start[1]))
    ways: list[tuple[float, tuple[int, ...], int]] = []
    for rooms, doors in _ways(house, (here.id,), ()):
        for piece in house.furniture:
            is_meant = piece.room == rooms[-1] and piece.category == steps[-1].landmark and piece.blocks_floor
            if is_meant and _fits(house, point, rooms, doors, piece, steps):
                ways.append((_length(house, point, doors, piece), doors, piece.id))
    if not ways:
        return None
    _, doors, goal = min(ways)
    return Understood(doors, goal, len({way[2] for way in ways}))


def _ways(
    house: House, rooms: tuple[int, ...], doors: tuple[int, ...]
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """All (rooms, doors) that come through no room twice."""
    yield rooms, doors
    if len(doors) == MAX_DOORS:
        return
    for number, door in enumerate(house.doors):
        for a, b in ((door.room_a, door.room_b), (door.room_b, door.room_a)):
            if a == rooms[-1] and b not in rooms:
                yield from _ways(house, (*rooms, b), (*doors, number))


def _fits(
    house: House,
    start: Point,
    rooms: tuple[int, ...],
    doors: tuple[int, ...],
    goal: Furniture,
    steps: Sequence[Step],
) -> bool:
    """Whether the steps come about in their order, whatever else may happen in between."""
    at = 0
    moments = list(_moments(house, start, rooms, doors, goal))
    for step in steps[:-1]:
        while at < len(moments) and not _is_meant(step, *moments[at]):
            at += 1
        if at == len(moments):
            return False
        if step.kind != "pass":  # several things may be passed in one room, in an order that lines only guess
            at += 1
    return True


def _moments(
    house: House, start: Point, rooms: tuple[int, ...], doors: tuple[int, ...], goal: Furniture
) -> Iterator[tuple[str, object]]:
    """What happens on a way, as (kind, what the step must say)."""
    kinds = {room.id: room.kind for room in house.rooms}
    stops = [start, *(_middle(house.doors[d]) for d in doors), ((goal.x0 + goal.x1) / 2, (goal.y0 + goal.y1) / 2)]
    for i, room in enumerate(rooms):
        if i:
            yield "enter", kinds[room]
            yield "turn", _angle(house, doors[i - 1], rooms[i - 1], stops[i], stops[i + 1])
        yield "pass", _beside(house, room, stops[i], stops[i + 1])
        if i < len(doors):
            door = house.doors[doors[i]]
            near = {f.category for f in house.furniture if f.room == room and _gap(f, door) <= NEAR}
            yield "cross", kinds[room]
            yield "door", near
            yield "leave", (kinds[room], near)


def _is_meant(step: Step, kind: str, what: object) -> bool:
    if step.kind != kind:
        return False
    if isinstance(what, tuple):
        return step.room in (None, what[0]) and (step.landmark is None or step.landmark in what[1])
    if isinstance(what, set):
        return step.landmark in what
    if isinstance(what, dict):
        return step.landmark in what and (step.side is None or step.side in what[step.landmark])
    if isinstance(what, float) and step.turn is not None:
        low, high = _TURNS[step.turn]
        return low <= (abs(what) if step.turn == "straight" else what) <= high
    return step.room == what


def _angle(house: House, door: int, before: int, here: Point, there: Point) -> float:
    """[degrees] from the direction through a door to the next stop, positive to the left."""
    d = house.doors[door]
    room = next(r for r in house.rooms if r.id == before)
    if d.x1 - d.x0 < d.y1 - d.y0:  # the wall runs along y
        through = 0.0 if (d.x0 + d.x1) / 2 > (room.x0 + room.x1) / 2 else math.pi
    else:
        through = math.pi / 2 if (d.y0 + d.y1) / 2 > (room.y0 + room.y1) / 2 else -math.pi / 2
    return math.degrees(math.remainder(math.atan2(there[1] - here[1], there[0] - here[0]) - through, math.tau))


def _beside(house: House, room: int, a: Point, b: Point) -> dict[str, set[str]]:
    """The furniture near a straight line and the sides it may be on."""
    found: dict[str, set[str]] = {}
    for piece in house.furniture:
        if piece.room != room or not piece.blocks_floor:
            continue
        gap = min(_outside(piece, a[0] + (b[0] - a[0]) * i / 20, a[1] + (b[1] - a[1]) * i / 20) for i in range(21))
        if gap > BESIDE:
            continue
        sides = found.setdefault(piece.category, set())
        for x in (piece.x0, piece.x1):
            for y in (piece.y0, piece.y1):
                cross = (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])
                sides.add("left" if cross > 0 else "right")
    return found


def _middle(door: Door) -> Point:
    return (door.x0 + door.x1) / 2, (door.y0 + door.y1) / 2


def _outside(piece: Furniture, x: float, y: float) -> float:
    return math.hypot(max(piece.x0 - x, x - piece.x1, 0.0), max(piece.y0 - y, y - piece.y1, 0.0))


def _gap(piece: Furniture, door: Door) -> float:
    dx = max(piece.x0 - door.x1, door.x0 - piece.x1, 0.0)
    dy = max(piece.y0 - door.y1, door.y0 - piece.y1, 0.0)
    return math.hypot(dx, dy)


def _length(house: House, start: Point, doors: tuple[int, ...], goal: Furniture) -> float:
    stops = [start, *(_middle(house.doors[d]) for d in doors)]
    last = _outside(goal, *stops[-1])
    return sum(math.dist(a, b) for a, b in pairwise(stops)) + last
