"""What can be said about a route: only what is clear to somebody who walks it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from embmem.policies.instructions.steps import Step
from embmem.sim_envs.house import Door, Furniture, House, Room
from embmem.sim_envs.instructions.routes import Route, is_landmark

NEAR_DOOR = 0.9  # [m] between a door and the furniture that tells which it is
PASSED = 0.9  # [m] between a way and furniture that it leads by
AHEAD = 0.6  # [m] of way before and behind what is passed
TURN = (60.0, 120.0)  # [degrees] a clear turn
STRAIGHT = 20.0  # [degrees] clearly none


def tell(house: House, route: Route) -> tuple[Step, ...]:
    """Everything that can be said about a route, in the order of the way."""
    rooms = {room.id: room for room in house.rooms}
    steps: list[Step] = []
    bounds = [0, *route.crossings, len(route.way) - 1]
    for i, number in enumerate(route.rooms):
        room = rooms[number]
        way = route.way[bounds[i] : bounds[i + 1] + 1]
        is_last = i + 1 == len(route.rooms)
        if i:
            turn = _turn(house.doors[route.doors[i - 1]], rooms[route.rooms[i - 1]], way)
            if turn is not None:
                steps.append(Step("turn", turn=turn))
        steps += [step for step in _passed(house, room, way) if step.landmark != route.goal.category]
        near = None if is_last else _near_door(house, room, house.doors[route.doors[i]])
        if is_last:
            steps.append(Step("stop", landmark=route.goal.category))
        elif i == 0:
            steps = [Step("leave", room=room.kind, landmark=near)]
        else:
            steps.append(Step("cross", room=room.kind))
            steps += [] if near is None else [Step("door", landmark=near)]
        if i + 2 == len(route.rooms):
            steps.append(Step("enter", room=rooms[route.rooms[-1]].kind))
    return tuple(steps)


def _turn(door: Door, before: Room, way: Float[np.ndarray, "n 2"]) -> str | None:
    """Where the way leads behind a door, as seen by somebody who comes through it."""
    across = np.array([0.0, 1.0]) if door.x1 - door.x0 > door.y1 - door.y0 else np.array([1.0, 0.0])
    middle = np.array([door.x0 + door.x1, door.y0 + door.y1]) / 2.0
    inside = np.array([before.x0 + before.x1, before.y0 + before.y1]) / 2.0
    if across @ (middle - inside) < 0:
        across = -across
    offset = way[-1] - way[0]
    if np.linalg.norm(offset) < AHEAD:
        return None
    angle = np.degrees(np.arctan2(across[0] * offset[1] - across[1] * offset[0], across @ offset))
    if abs(angle) <= STRAIGHT:
        return "straight"
    if TURN[0] <= abs(angle) <= TURN[1]:
        return "left" if angle > 0 else "right"
    return None


def _passed(house: House, room: Room, way: Float[np.ndarray, "n 2"]) -> list[Step]:
    """The furniture that the way leads by, in order; only what there is one of in the room."""
    found = []
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(way, axis=0), axis=1))])
    for piece in _unique(house, room):
        gaps = np.hypot(*_offsets(way, piece.x0, piece.y0, piece.x1, piece.y1).T)
        i = int(np.argmin(gaps))
        if gaps[i] > PASSED or along[i] < AHEAD or along[-1] - along[i] < AHEAD:
            continue
        ahead = way[min(i + 5, len(way) - 1)] - way[max(i - 5, 0)]
        to = np.array([piece.x0 + piece.x1, piece.y0 + piece.y1]) / 2.0 - way[i]
        side = np.degrees(np.arctan2(ahead[0] * to[1] - ahead[1] * to[0], ahead @ to))
        name = None
        if TURN[0] / 2 <= abs(side) <= 180.0 - TURN[0] / 2:
            name = "left" if side > 0 else "right"
        found.append((float(along[i]), Step("pass", landmark=piece.category, side=name)))
    return [step for _, step in sorted(found, key=lambda each: each[0])]


def _near_door(house: House, room: Room, door: Door) -> str | None:
    """The category of the furniture nearest to a door, seen from a room where there is one of it."""
    best, best_gap = None, NEAR_DOOR
    corners = np.array([[door.x0, door.y0], [door.x1, door.y1], [door.x0, door.y1], [door.x1, door.y0]])
    for piece in _unique(house, room):
        gap = float(np.hypot(*_offsets(corners, piece.x0, piece.y0, piece.x1, piece.y1).T).min())
        if gap < best_gap:
            best, best_gap = piece.category, gap
    return best


def _unique(house: House, room: Room) -> list[Furniture]:
    """The landmarks of a room that are the only ones of their kind there."""
    own = [piece for piece in house.furniture if piece.room == room.id and is_landmark(piece)]
    names = [piece.category for piece in own]
    return [piece for piece in own if names.count(piece.category) == 1]


def _offsets(points: Float[np.ndarray, "n 2"], x0: float, y0: float, x1: float, y1: float) -> Float[np.ndarray, "n 2"]:
    """How far outside of a rectangle each point lies along x and y [m]."""
    low, high = np.array([x0, y0]), np.array([x1, y1])
    return np.maximum(np.maximum(low - points, points - high), 0.0)
