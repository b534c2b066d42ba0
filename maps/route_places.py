"""Places and ways of a memory for a route server: of its landmark graph, else of rooms and the doors between them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import networkx as nx
import numpy as np
from jaxtyping import Bool, Float, Int

from embmem.errors import InputError
from embmem.exports.route_graph import Metadata, Place, Way, write_route_graph
from embmem.maps.distance import descend, distance_field
from embmem.maps.landmarks import LandmarkGraph
from embmem.maps.scene_graph.exporting import scene_graph_in
from embmem.maps.scene_graph.floors import Floor
from embmem.maps.scene_graph.scene_graph import SceneGraph
from embmem.maps.voxels import VoxelMap
from embmem.protocols import Layer

_STRAIGHT = 0.25  # [cells] between the points of a line that is looked along


def write_routes(path: Path, layers: Sequence[Layer], *, frame: str = "map") -> None:
    """Write the places of a memory's layers as GeoJSON for Nav2; see `write_route_graph`.

    Raises:
        InputError: if there are neither landmarks with ways between them nor rooms with doors.
    """
    places, ways = route_graph_of(layers)
    write_route_graph(path, places, ways, frame=frame)


def route_graph_of(layers: Sequence[Layer]) -> tuple[list[Place], list[Way]]:
    """The landmarks and what it costs to go from one to the next, or rooms and doors with the ways' lengths [m].

    A way between a door and the middle of a room bends where a straight line would leave the room; bends are places,
    too. Where rooms of the memory cannot be told, there is no graph.

    Raises:
        InputError: if there is neither.
    """
    landmarks = next((layer for layer in layers if isinstance(layer, LandmarkGraph)), None)
    if landmarks is not None and landmarks.to_networkx().number_of_edges():
        return _of_landmarks(landmarks.to_networkx())
    if any(isinstance(layer, (VoxelMap, SceneGraph)) for layer in layers):
        builder = _Rooms(scene_graph_in(layers))
        if builder.ways:
            return builder.places, builder.ways
    kinds = [layer.kind for layer in layers]
    raise InputError(
        f"a route graph needs landmarks with ways between them (memory=maps) or rooms with doors, the layers {kinds} "
        "have neither"
    )


def _of_landmarks(graph: nx.DiGraph) -> tuple[list[Place], list[Way]]:
    numbers = {landmark: i for i, landmark in enumerate(graph)}
    places = []
    for landmark, node in graph.nodes(data=True):
        known: Metadata = {"landmark": landmark, "count": node["count"], "last_seen": node["last_seen"]}
        x, y, z = node["position"]
        places.append(Place(x, y, z, known))
    ways = []
    for a, b, edge in graph.edges(data=True):
        known = {"length": edge["length"], "successes": edge["successes"], "failures": edge["failures"]}
        if np.isfinite(edge["seconds"]):
            known["seconds"] = edge["seconds"]
        ways.append(Way(numbers[a], numbers[b], float(edge["cost"]), known))
    return places, ways


class _Rooms:
    """Collects the middles of rooms, their doors and the bends between them."""

    def __init__(self, scene: SceneGraph) -> None:
        self.places: list[Place] = []
        self.ways: list[Way] = []
        names = {node["number"]: node["name"] for node in scene.networkx().nodes.values() if node["layer"] == "room"}
        for number, floor in enumerate(scene.floors):
            self._add_floor(number, floor, names)

    def _add_floor(self, number: int, floor: Floor, names: dict[int, str]) -> None:
        doors = floor.rooms.doors
        ids = sorted(set(doors.rooms.ravel().tolist()))
        rooms = {}
        for room in ids:
            known: Metadata = {"kind": "room", "room": room, "name": names.get(room, ""), "floor": number}
            rooms[room] = self._add(floor.rooms.middle(room), floor.height, known)
        for pair, position, width in zip(doors.rooms.tolist(), doors.position, doors.width.tolist(), strict=True):
            known = {"kind": "door", "width": width, "floor": number}
            door = self._add(position, floor.height, known)
            for room in pair:
                self._connect(floor, room, (door, position), (rooms[room], floor.rooms.middle(room)))

    def _add(self, where: Float[np.ndarray, "2"], height: float, known: Metadata) -> int:
        self.places.append(Place(float(where[0]), float(where[1]), float(height), known))
        return len(self.places) - 1

    def _connect(self, floor: Floor, room: int, door: tuple[int, np.ndarray], middle: tuple[int, np.ndarray]) -> None:
        """Ways from the door to the middle of the room and back, inside of the room."""
        bends = _bends(floor, room, door[1], middle[1])
        if bends is None:
            return
        chain = [door[0], *(self._add(b, floor.height, {"kind": "bend", "room": room}) for b in bends), middle[0]]
        points = [door[1], *bends, middle[1]]
        for a, b, p, q in zip(chain, chain[1:], points, points[1:], strict=False):
            length = float(np.linalg.norm(q - p))
            self.ways += [Way(a, b, length), Way(b, a, length)]


def _bends(
    floor: Floor, room: int, door: Float[np.ndarray, "2"], middle: Float[np.ndarray, "2"]
) -> list[Float[np.ndarray, "2"]] | None:
    """Corners [m] of a way from the door to the middle that stays in the room; None if no way does."""
    rooms = floor.rooms
    is_outside = rooms.labels != room
    start, goal = (np.floor((p[::-1] - rooms.origin[::-1]) / rooms.resolution).astype(np.int64) for p in (door, middle))
    start = np.clip(start, 0, np.array(rooms.labels.shape) - 1)
    is_outside[start[0], start[1]] = False  # a door lies on the border of its rooms
    for row, column in _around(start, rooms.labels.shape):
        is_outside[row, column] = False
    field = distance_field(is_outside, goal[None], rooms.resolution)
    cells = descend(field, is_outside, start)
    if not len(cells):
        return None
    kept, at = [], 0
    while at < len(cells) - 1:
        nxt = max((k for k in range(at + 1, len(cells)) if _is_clear(is_outside, cells[at], cells[k])), default=at + 1)
        kept.append(nxt)
        at = nxt
    return [(cells[k][::-1] + 0.5) * rooms.resolution + rooms.origin for k in kept[:-1]]


def _around(cell: Int[np.ndarray, "2"], shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """The cells beside one, inside of the grid: a door stands between the cells of two rooms."""
    near = [(int(cell[0]) + r, int(cell[1]) + c) for r in (-1, 0, 1) for c in (-1, 0, 1)]
    return [(r, c) for r, c in near if 0 <= r < shape[0] and 0 <= c < shape[1]]


def _is_clear(is_outside: Bool[np.ndarray, "h w"], a: Int[np.ndarray, "2"], b: Int[np.ndarray, "2"]) -> bool:
    """Whether the straight line between the middles of two cells stays inside."""
    n = max(2, int(np.ceil(np.abs(b - a).max() / _STRAIGHT)) + 1)
    line = np.rint(a + np.linspace(0.0, 1.0, n)[:, None] * (b - a)).astype(np.int64)
    return not is_outside[line[:, 0], line[:, 1]].any()
