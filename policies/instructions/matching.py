"""How well a way through the known part of a house fits what was told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from embmem.policies.instructions.known import UNKNOWN_KIND, Doorway, KnownHouse, Landmark
from embmem.policies.instructions.steps import Step

MOST_DOORS = 5
METRE = 0.004  # of the score, that a metre of way costs: of ways that fit alike the shorter one is meant
_WEIGHTS = {"leave": 1.0, "door": 1.0, "turn": 1.0, "cross": 1.0, "pass": 1.0, "enter": 2.0, "stop": 0.0}
_NEAR_DOOR, _BESIDE = 1.4, 1.6  # [m]
_PERHAPS = 0.4  # how well a room of unknown kind fits any
_TURNS = {"straight": (-35.0, 35.0), "left": (30.0, 150.0), "right": (-150.0, -30.0)}  # [degrees]


@dataclass(frozen=True, eq=False)
class Match:
    """A way to a landmark, or to any point, and how well it fits."""

    score: float  # share of what was told that fits, less the price of the way
    doors: tuple[Doorway, ...]
    rooms: tuple[int, ...]
    landmark: Landmark | None = None


@dataclass(frozen=True, eq=False)
class _Event:
    """Something that happens on a way."""

    kind: str
    room: str = UNKNOWN_KIND
    angle: float = np.nan  # [degrees] of a turn, positive left
    near: tuple[tuple[str, str | None], ...] = ()  # landmarks and their sides


def best_match(
    house: KnownHouse, origin: Float[np.ndarray, "2"], steps: Sequence[Step], *, without: Sequence[np.ndarray] = ()
) -> Match | None:
    """The way from `origin` [m] to a landmark of the last step that fits best.

    None if no such landmark is known, but for those within 0.5 m of a point in `without`.
    """
    if not steps or steps[-1].kind != "stop":
        return None
    goals: dict[int, list[Landmark]] = {}
    for landmark in house.landmarks:
        is_open = all(np.hypot(*(landmark.middle - gone)) > 0.5 for gone in without)
        if landmark.category == steps[-1].landmark and is_open:
            goals.setdefault(landmark.room, []).append(landmark)
    start = house.room_at(origin)
    if start is None or not goals:
        return None
    best: Match | None = None
    for rooms, doors in house.ways(start, MOST_DOORS):
        for landmark in goals.get(rooms[-1], ()):
            score = fit(house, origin, rooms, doors, landmark.middle, steps)
            if best is None or score > best.score:
                best = Match(score, doors, rooms, landmark)
    return best


def promise(
    house: KnownHouse, origin: Float[np.ndarray, "2"], point: Float[np.ndarray, "2"], steps: Sequence[Step]
) -> float:
    """How much of what was told fits a way to a point, e.g. where the unknown begins; 0 if no way is known."""
    start, end = house.room_at(origin), house.room_at(point)
    if start is None or end is None:
        return 0.0
    ways = (way for way in house.ways(start, MOST_DOORS) if way[0][-1] == end)
    return max((fit(house, origin, rooms, doors, point, steps) for rooms, doors in ways), default=0.0)


def fit(
    house: KnownHouse,
    origin: Float[np.ndarray, "2"],
    rooms: Sequence[int],
    doors: Sequence[Doorway],
    end: Float[np.ndarray, "2"],
    steps: Sequence[Step],
) -> float:
    """The share of the steps that come about on a way in their order, less `METRE` for each metre of it."""
    stops = np.array([origin, *(door.position for door in doors), end])
    told = [step for step in steps if step.kind != "stop"]
    length = float(np.linalg.norm(np.diff(stops, axis=0), axis=1).sum())
    if not told:
        return 1.0 - METRE * length
    events = _events(house, rooms, doors, stops)
    best = np.zeros(len(events) + 1)  # of the steps so far, by the number of events that are used up
    for step in told:
        weight, before, last = _WEIGHTS[step.kind], best.copy(), 0.0
        for j, event in enumerate(events):
            fits = weight * _agreement(step, event)
            # several things may be passed at once, so a pass does not use up its event
            taken = before[j + 1 if step.kind == "pass" else j] + fits
            best[j + 1] = last = max(before[j + 1], last, taken)
    return float(best.max()) / sum(_WEIGHTS[step.kind] for step in told) - METRE * length


def _events(
    house: KnownHouse, rooms: Sequence[int], doors: Sequence[Doorway], stops: Float[np.ndarray, "n 2"]
) -> list[_Event]:
    events = []
    for i, room in enumerate(rooms):
        kind = house.kinds[room]
        own = [landmark for landmark in house.landmarks if landmark.room == room]
        if i:
            events.append(_Event("enter", kind))
            events.append(_Event("turn", angle=_turned(house, rooms[i - 1], room, stops[i], stops[i + 1])))
        events.append(_Event("pass", near=_beside(own, stops[i], stops[i + 1])))
        if i < len(doors):
            at = doors[i].position[None]
            near = tuple((landmark.category, None) for landmark in own if landmark.gap(at) <= _NEAR_DOOR)
            events += [_Event("cross", kind), _Event("door", near=near), _Event("leave", kind, near=near)]
    return events


def _agreement(step: Step, event: _Event) -> float:
    """How well a step fits an event, from 0 to 1."""
    if step.kind != event.kind:
        return 0.0
    if step.turn is not None:
        low, high = _TURNS[step.turn]
        return float(low <= event.angle <= high)
    names = [name for name, _ in event.near]
    if step.room is None:
        is_side = step.side is None or (step.landmark, step.side) in event.near
        return (1.0 if is_side else 0.6) * float(step.landmark in names)
    same = 1.0 if step.room == event.room else _PERHAPS if event.room == UNKNOWN_KIND else 0.0
    return same * (1.0 if step.landmark is None or step.landmark in names else 0.6)


def _turned(
    house: KnownHouse, before: int, room: int, door: Float[np.ndarray, "2"], to: Float[np.ndarray, "2"]
) -> float:
    """[degrees] between the direction through a door and that to the next stop, positive left."""
    through = house.through(before, room, door)
    if through is None:
        return float("nan")
    offset = to - door
    cross = through[0] * offset[1] - through[1] * offset[0]
    return float(np.degrees(np.arctan2(cross, through @ offset)))


def _beside(
    landmarks: Sequence[Landmark], a: Float[np.ndarray, "2"], b: Float[np.ndarray, "2"]
) -> tuple[tuple[str, str | None], ...]:
    """Categories near the straight line from `a` to `b`, with the side that their middle lies on."""
    line = a + (b - a) * np.linspace(0.0, 1.0, 12)[:, None]
    found = []
    for landmark in landmarks:
        if landmark.gap(line) <= _BESIDE:
            to = landmark.middle - a
            cross = (b - a)[0] * to[1] - (b - a)[1] * to[0]
            found.append((landmark.category, "left" if cross > 0 else "right"))
    return tuple(found)
