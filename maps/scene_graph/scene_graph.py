"""The scene graph as a layer: building, floors, rooms, furniture, objects, and how they lie to each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import networkx as nx
import numpy as np

from embmem.errors import InputError
from embmem.maps.grid import OccupancyGrid
from embmem.maps.objects import ObjectMemory
from embmem.maps.scene_graph.answers import answer
from embmem.maps.scene_graph.categories import CONTAINERS, FURNITURE
from embmem.maps.scene_graph.floors import Floor, rooms_of_things
from embmem.maps.scene_graph.graph import as_networkx
from embmem.maps.scene_graph.levels import STOREY, floor_plans
from embmem.maps.scene_graph.related import Related, relate_again, relate_all
from embmem.maps.scene_graph.relations import RelationRules, Scene
from embmem.maps.scene_graph.room_identity import move_rooms, recognise_rooms
from embmem.maps.scene_graph.rooms import RoomMap, RoomRules, segment_rooms
from embmem.maps.scene_graph.saved import Parts, params_from_state, params_to_json, parts_from_state, parts_to_arrays
from embmem.maps.scene_graph.things import Things
from embmem.maps.scene_graph.trail import Trail
from embmem.maps.states import check_header
from embmem.maps.voxels.voxel_map import VoxelMap
from embmem.observation import Observation
from embmem.protocols import Deformation, Layer, LayerState
from embmem.records import Hit, Query

_SAME_FLOOR = 1.0  # [m] between the heights of one floor at two times


@dataclass(frozen=True)
class Touched:
    """What an update had to look at."""

    relations: int  # dropped or made, also where they came out the same
    of: int  # relations there are
    new_rooms: tuple[int, ...] = ()
    merged_rooms: tuple[int, ...] = ()  # that are part of another one now


class SceneGraph:
    """Rooms, furniture and objects, derived from a floor plan and from things by `update`.

    Frames only leave the trail of the camera, by which a room is anchored: it moves with the keyframe that was nearest
    when the camera was in it last. A thing moves with the keyframe nearest to its last sighting.
    """

    kind: ClassVar[str] = "scene_graph"
    version: ClassVar[int] = 1

    def __init__(
        self,
        *,
        room_rules: RoomRules | None = None,
        relation_rules: RelationRules | None = None,
        furniture: Sequence[str] = FURNITURE,
        containers: Sequence[str] = CONTAINERS,
        furniture_size: float = 1.2,
    ) -> None:
        """An empty graph.

        Args:
            room_rules: what makes a room; the default `RoomRules` if not given.
            relation_rules: thresholds of the relations between things; the default `RelationRules` if not given.
            furniture: categories that are furniture; case does not matter.
            containers: categories that things are in, not on.
            furniture_size: [m] a thing that is larger in any direction is furniture whatever it is called.
        """
        if not furniture_size > 0:
            raise ValueError(f"furniture_size must be > 0 m, got {furniture_size}")
        self.room_rules, self.relation_rules = room_rules or RoomRules(), relation_rules or RelationRules()
        self.furniture, self.containers = tuple(furniture), tuple(containers)
        self.furniture_size = furniture_size
        self.things = Things.none()
        self.floors: list[Floor] = []
        self.related = Related.none()
        self.merged: dict[int, int] = {}  # a room that is no more -> the one that it became part of
        self.trail = Trail()
        self.room_names: dict[int, str] = {}  # of rooms that were given one; others are called by what is in them
        self._next_room = 0
        self._graph: nx.DiGraph | None = None  # as it is now, if it was asked for

    def __len__(self) -> int:
        """Number of rooms and things."""
        return len(self.things) + len(self.room_ids())

    def observe(self, observation: Observation) -> None:
        """Remember where the camera was; what the graph holds changes by `update` only."""
        self.trail.add(observation.T_map_camera[:3, 3], observation.stamp)
        self._graph = None

    def update(self, floors: OccupancyGrid | Sequence[tuple[float, OccupancyGrid]], things: Things) -> Touched:
        """Bring the graph up to date; whatever has not changed keeps its number.

        Args:
            floors: the plan of the walls (`wall_grid`) on floor height 0, or (height [m], plan) of each level.
            things: all that is believed to be there now.

        Raises:
            ValueError: if two levels are nearer to each other than storeys are, or a height is not finite.
        """
        levels = [(0.0, floors)] if isinstance(floors, OccupancyGrid) else sorted(floors, key=lambda each: each[0])
        heights = [height for height, _ in levels]
        if not np.isfinite(heights).all() or (np.diff(heights) < STOREY).any():
            raise ValueError(f"floors must have finite heights, {STOREY} m apart at least, got {heights}")
        self._graph = None
        before = set(self.room_ids())
        merged: dict[int, int] = {}
        new_floors = [self._recognised(height, segment_rooms(plan, self.room_rules), merged) for height, plan in levels]
        self.floors = new_floors
        alive = set(self.room_ids())
        self.merged = {old: new for old, new in {**self.merged, **merged}.items() if old not in alive}
        self.things = things
        self.related = relate_again(self.related, things.ids, self._scene(), self.relation_rules)
        return Touched(
            self.related.touched, len(self.related.relations), tuple(sorted(alive - before)), tuple(sorted(merged))
        )

    def update_from(self, voxels: VoxelMap, objects: ObjectMemory | None, min_confidence: float = 0.5) -> Touched:
        """`update` with the levels found in a voxel map and with what an object memory believes to be there."""
        things = Things.none() if objects is None else Things.of(objects, min_confidence)
        return self.update(floor_plans(voxels), things)

    def derive(self, layers: Sequence[Layer], min_confidence: float = 0.5) -> None:
        """`update_from` the voxel map and the object memory among the layers of a memory.

        Without a voxel map nothing is changed: the graph is what `update` made it.
        """
        voxels = next((layer for layer in layers if isinstance(layer, VoxelMap)), None)
        if voxels is not None:
            objects = next((layer for layer in layers if isinstance(layer, ObjectMemory)), None)
            self.update_from(voxels, objects, min_confidence)

    def room_ids(self) -> list[int]:
        """The numbers of the rooms there are, ascending."""
        return sorted(int(room) for floor in self.floors for room in floor.rooms.ids())

    def current_room(self, room: int) -> int | None:
        """The room that a room of some time ago is or is part of now; None if it is gone."""
        alive, seen = set(self.room_ids()), set()
        while room not in alive and room in self.merged and room not in seen:
            seen.add(room)
            room = self.merged[room]
        return room if room in alive else None

    def room_at(self, position: np.ndarray) -> int | None:
        """The room around a point (3,) [m], or None."""
        point = np.asarray(position, dtype=np.float64).reshape(1, 1, 3)
        room = int(rooms_of_things(self.floors, np.repeat(point, 2, axis=1))[0])
        return room if room >= 0 else None

    def networkx(self) -> nx.DiGraph:
        """The graph as it is now, for whoever wants to walk it; see `graph.as_networkx`."""
        return self._current().copy()

    def query(self, query: Query) -> list[Hit]:
        """Rooms, furniture and objects by name (`entity`), room (`place`: "kitchen" or "room:3"), box, place and time.

        The score is the confidence; with `near` it is divided by 1 + the distance [m]. Ties keep the order of the
        nodes: rooms from the lowest floor up, things by id. A node has no text and no embedding: these get no answer.
        """
        if query.kind not in (None, self.kind) or query.text is not None or query.embedding is not None:
            return []
        return answer(self._current(), query, self.kind) if len(self) else []

    def tick(self, stamp: float) -> None:
        """Time alone changes nothing."""

    def deform(self, deformation: Deformation) -> None:
        """Move every thing, room and bit of the trail with its own keyframe; relations are found anew."""
        if len(deformation.stamps) == 0:
            return
        self._graph = None
        self.things = self.things.moved(deformation.at(self.things.stamp))
        self.floors = sorted((self._moved(floor, deformation) for floor in self.floors), key=lambda each: each.height)
        self.trail = self.trail.moved(deformation)
        self.related = relate_all(self.things.ids, self._scene(), self.relation_rules)

    def stats(self) -> dict[str, float]:
        """Rooms, doors, furniture, objects, relations, bytes of RAM."""
        labels = sum(floor.rooms.labels.nbytes for floor in self.floors)
        is_furniture = self.related.scene.is_furniture
        return {
            "floors": float(len(self.floors)),
            "rooms": float(len(self.room_ids())),
            "doors": float(sum(len(floor.rooms.doors) for floor in self.floors)),
            "furniture": float(np.count_nonzero(is_furniture)),
            "objects": float(np.count_nonzero(~is_furniture)),
            "relations": float(len(self.related.relations)),
            "bytes": float(labels + self.things.box.nbytes + 24 * len(self.related.relations) + self.trail.nbytes),
        }

    def save(self) -> LayerState:
        """Things, rooms, doors, trail and parameters; relations follow from them."""
        params = {
            "room_rules": self.room_rules, "relation_rules": self.relation_rules, "furniture": list(self.furniture),
            "containers": list(self.containers), "furniture_size": self.furniture_size,
        }  # fmt: skip
        parts = Parts(self.things, self.floors, self.merged, self.trail, self._next_room, self.room_names)
        return LayerState(self.kind, self.version, params_to_json(params), parts_to_arrays(parts))

    @classmethod
    def load(cls, state: LayerState) -> SceneGraph:
        """The graph that was saved.

        Raises:
            InputError: if the state is of another kind, a newer version or malformed.
        """
        check_header(state, cls.kind, cls.version)
        try:
            graph = cls(**params_from_state(state))
        except ValueError as error:
            raise InputError(f"layer {cls.kind!r}: {error}") from error
        parts = parts_from_state(state)
        graph.things, graph.floors, graph.merged = parts.things, parts.floors, parts.merged
        graph.trail, graph._next_room, graph.room_names = parts.trail, parts.next_room, parts.names
        graph.related = relate_all(graph.things.ids, graph._scene(), graph.relation_rules)
        return graph

    def _current(self) -> nx.DiGraph:
        """The graph as it is now; not to be changed."""
        if self._graph is None:
            self._graph = as_networkx(self.floors, self.things, self.related, self.trail, self.room_names)
        return self._graph

    def _scene(self) -> Scene:
        """What the relations follow from."""
        things = self.things
        names = frozenset(name.casefold() for name in self.furniture)
        containers = frozenset(name.casefold() for name in self.containers)
        is_large = (things.box[:, 1] - things.box[:, 0]).max(axis=1) > self.furniture_size
        return Scene(
            things.box,
            things.named(names) | is_large,
            things.named(containers),
            rooms_of_things(self.floors, things.box),
        )

    def _recognised(self, height: float, rooms: RoomMap, merged: dict[int, int]) -> Floor:
        """The level with the numbers that its rooms had; what has gone is added to `merged`."""
        near = [floor for floor in self.floors if abs(floor.height - height) < _SAME_FLOOR]
        old = min(near, key=lambda floor: abs(floor.height - height)).rooms if near else None
        found = recognise_rooms(old, rooms, self._next_room)
        self._next_room = max([self._next_room - 1, *found.rooms.ids().tolist()]) + 1
        merged |= found.merged
        return Floor(float(height), found.rooms)

    def _moved(self, floor: Floor, deformation: Deformation) -> Floor:
        """The level after its rooms have moved; a room that vanished below another one is merged with that."""
        ids = floor.rooms.ids()
        if len(ids) == 0:
            return floor
        T = deformation.at(self.trail.anchors(floor.rooms, floor.height))
        middles = np.array([[*floor.rooms.middle(int(room)), floor.height] for room in ids])
        middles = np.einsum("nij,nj->ni", T[:, :3, :3], middles) + T[:, :3, 3]
        rooms = move_rooms(floor.rooms, ids, T)
        into = rooms.at(middles[:, :2])
        is_gone = ~np.isin(ids, rooms.ids()) & (into >= 0)
        self.merged |= dict(zip(ids[is_gone].tolist(), into[is_gone].tolist(), strict=True))
        return replace(floor, height=float(np.median(middles[:, 2])), rooms=rooms)


def scene_graph_of(layers: Sequence[Layer], graph: SceneGraph | None = None, min_confidence: float = 0.5) -> SceneGraph:
    """The scene graph of a memory's layers: the one among them, or `graph`, or a new one, brought up to date.

    Raises:
        ValueError: if there is no voxel map among the layers.
    """
    if not any(isinstance(layer, VoxelMap) for layer in layers):
        raise ValueError(f"a scene graph needs a voxel map, the layers are {[layer.kind for layer in layers]}")
    given = [] if graph is None else [graph]
    found = next((layer for layer in (*given, *layers) if isinstance(layer, SceneGraph)), None)
    found = SceneGraph() if found is None else found
    found.derive(layers, min_confidence)
    return found
