"""What a memory knows of a house, as far as told routes speak of it: rooms, doors and pieces of furniture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from embmem.maps.scene_graph import SceneGraph
from embmem.maps.scene_graph.rooms import RoomMap

UNKNOWN_KIND = "room"  # of a room without furniture that would tell
_ACROSS = 0.6  # [m] from a door to where the rooms are that it joins
_AROUND = 0.4 * np.array([[np.cos(a), np.sin(a)] for a in np.linspace(0.0, 2 * np.pi, 8, endpoint=False)])  # [m]


@dataclass(frozen=True, eq=False)
class Landmark:
    """A piece of furniture on the map."""

    id: int
    category: str
    low: Float[np.ndarray, "2"]  # [m]
    high: Float[np.ndarray, "2"]  # [m]
    room: int
    stamp: float = 0.0  # [s] when it was seen last

    @property
    def middle(self) -> Float[np.ndarray, "2"]:
        """[m]."""
        return (self.low + self.high) / 2.0

    def gap(self, points: Float[np.ndarray, "n 2"]) -> float:
        """Distance [m] to the nearest of the points."""
        outside = np.maximum(np.maximum(self.low - points, points - self.high), 0.0)
        return float(np.hypot(*outside.T).min())


@dataclass(frozen=True, eq=False)
class Doorway:
    """A passage between two rooms on the map."""

    rooms: tuple[int, int]
    position: Float[np.ndarray, "2"]  # [m]


@dataclass(frozen=True, eq=False)
class KnownHouse:
    """Rooms by number, doors and landmarks."""

    kinds: dict[int, str]
    middles: dict[int, np.ndarray]  # (2,) [m]
    doors: tuple[Doorway, ...]
    landmarks: tuple[Landmark, ...]
    plan: RoomMap | None

    @staticmethod
    def of(graph: SceneGraph) -> KnownHouse:
        """What a scene graph holds of its largest floor."""
        if not graph.floors:
            return KnownHouse({}, {}, (), (), None)
        plan = max((floor.rooms for floor in graph.floors), key=lambda rooms: len(rooms.ids()))
        ids = plan.ids().tolist()
        nodes = graph.networkx()
        kinds = {room: str(nodes.nodes[f"room:{room}"]["name"]) for room in ids}
        doors = tuple(
            Doorway((a, b), position)
            for (a, b), position in zip(plan.doors.rooms.tolist(), plan.doors.position, strict=True)
        )
        landmarks = []
        for source, target, data in nodes.edges(data=True):
            if data["relation"] == "in" and target.startswith("room:"):
                thing, room = nodes.nodes[source], nodes.nodes[target]["number"]
                if thing["layer"] == "furniture" and room in kinds:
                    box = np.array(thing["box"])[:, :2]
                    landmarks.append(Landmark(thing["number"], thing["name"], box[0], box[1], room, thing["stamp"]))
        return KnownHouse(kinds, {room: plan.middle(room) for room in ids}, doors, tuple(landmarks), plan)

    def room_at(self, point: Float[np.ndarray, "2"]) -> int | None:
        """The room that holds a point [m], or the one that begins within 0.4 m of it; None if there is none."""
        if self.plan is None:
            return None
        found = self.plan.at(np.vstack([point, point + _AROUND]))
        inside = found[found >= 0]
        return int(inside[0]) if len(inside) else None

    def through(self, before: int, room: int, door: Float[np.ndarray, "2"]) -> Float[np.ndarray, "2"] | None:
        """The direction through a door [m] from one room into another; None where the shapes of the rooms do not tell.

        Walls run along the axes of the map or not: the direction is taken as the axis that the rooms agree with.
        """
        if self.plan is None:
            return None
        for ahead in (np.array([1.0, 0.0]), np.array([0.0, 1.0])):
            sides = self.plan.at(np.stack([door - _ACROSS * ahead, door + _ACROSS * ahead])).tolist()
            if sides in ([before, room], [room, before]):
                return ahead if sides == [before, room] else -ahead
        return None

    def ways(self, start: int, most_doors: int) -> Iterator[tuple[tuple[int, ...], tuple[Doorway, ...]]]:
        """All (rooms, doors) from a room that come through none twice."""
        exits: dict[int, list[tuple[int, Doorway]]] = {}
        for door in self.doors:
            a, b = door.rooms
            exits.setdefault(a, []).append((b, door))
            exits.setdefault(b, []).append((a, door))
        stack: list[tuple[tuple[int, ...], tuple[Doorway, ...]]] = [((start,), ())]
        while stack:
            rooms, doors = stack.pop()
            yield rooms, doors
            if len(doors) < most_doors:
                stack += [((*rooms, b), (*doors, door)) for b, door in exits.get(rooms[-1], ()) if b not in rooms]
