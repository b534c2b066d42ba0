"""A scene graph of another program as layers that can be asked, viewed and exported again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import networkx as nx
import numpy as np

from embmem.errors import InputError
from embmem.maps.identity.table import ThingTable
from embmem.maps.landmarks import LandmarkGraph
from embmem.maps.object_rows import ROW
from embmem.maps.objects import ObjectMemory
from embmem.maps.scene_graph.json_files import number, numbers
from embmem.maps.scene_graph.room_areas import DoorSketch, RoomSketch, floors_of
from embmem.maps.scene_graph.saved import Parts, parts_to_arrays
from embmem.maps.scene_graph.scene_graph import SceneGraph
from embmem.maps.scene_graph.things import Things
from embmem.protocols import Layer, LayerState

SURE = 3.0  # log-odds of a thing of which the file says no confidence
THING_EDGE = 0.1  # [m] of a thing of which the file says no box
_MOST_NUMBERS = 1 << 30
_MAX_NAME = 300  # characters
_FARTHEST = 1e6  # [m]
_UNNAMED = {"room": "room", "thing": "thing"}


def layers_of_graph(graph: nx.DiGraph) -> list[Layer]:
    """Objects and furniture as things, rooms with their doors as a scene graph, places as landmarks with ways.

    Numbers of things and rooms stay where they are different from each other. A thing without a box becomes a cube of
    10 cm, one without a confidence is believed in. A room is where its box is, or where its places are. Other nodes
    (agents, segments of a mesh) are left behind.

    Args:
        graph: of `read_dsg` or `read_node_link`.

    Raises:
        InputError: if there is neither a thing nor a room nor a place, or something makes no sense.
    """
    by_layer: dict[str, list[str]] = {}
    for key, node in graph.nodes(data=True):
        if max(map(abs, node["position"])) > _FARTHEST:
            raise InputError(f"the node {key[:40]!r} lies at {node['position']}, beyond {_FARTHEST:g} m")
        by_layer.setdefault("thing" if node["layer"] in ("object", "furniture") else node["layer"], []).append(key)
    things, rooms, places = (by_layer.get(layer, []) for layer in ("thing", "room", "place"))
    if not (things or rooms or places):
        raise InputError(f"the graph has no thing, no room and no place, only {sorted(by_layer)[:8]}")
    table = _rows(graph, things)
    names = [_name(graph.nodes[key], "thing") for key in things]
    layers: list[Layer] = [_objects(table, names)]
    numbers_of_rooms = dict(zip(rooms, _numbers(graph, rooms), strict=True))
    layers.append(_scene(graph, numbers_of_rooms, places, _things(table, names)))
    if places:
        layers.append(_landmarks(graph, places))
    return layers


def _name(node: dict[str, Any], kind: str) -> str:
    text: str = node["name"] or _UNNAMED[kind]
    return text.encode("utf-8", "replace").decode()[:_MAX_NAME]


def _is_named(node: dict[str, Any]) -> bool:
    return node["name"] not in ("", "room")


def _numbers(graph: nx.DiGraph, keys: Sequence[str]) -> list[int]:
    """The numbers of nodes as they are if each has one of its own, else counted."""
    found = [graph.nodes[key].get("number") for key in keys]
    whole = [n for n in found if isinstance(n, int) and not isinstance(n, bool) and 0 <= n < _MOST_NUMBERS]
    return whole if len(set(whole)) == len(keys) else list(range(len(keys)))


def _rows(graph: nx.DiGraph, keys: list[str]) -> np.ndarray:
    """Rows of an object memory; `category` counts the things for now. Ids ascend."""
    rows = np.zeros(len(keys), dtype=ROW)
    rows["id"], rows["category"] = _numbers(graph, keys), np.arange(len(keys))
    for row, key in zip(rows, keys, strict=True):
        node = graph.nodes[key]
        position = np.array(node["position"])
        box = node.get("box", [position - THING_EDGE / 2, position + THING_EDGE / 2])
        row["position"], row["box"] = position, box
        for name in ("first_seen", "last_seen", "here_since"):
            row[name] = node.get("stamp", 0.0)
        share = min(max(float(node.get("confidence", 1.0)), 0.0), 1.0)
        row["log_odds"] = SURE if "confidence" not in node else _odds(share)
    if np.abs(rows["box"]).max(initial=0.0) > _FARTHEST:
        raise InputError(f"the box of a thing reaches beyond {_FARTHEST:g} m")
    rows["weight"], rows["times_seen"], rows["lead"] = 1.0, 2, 1  # twice: what was seen once may be dropped
    return rows[np.argsort(rows["id"], kind="stable")]


def _odds(share: float) -> float:
    """Log-odds within the clamps of an object memory, of which half is believed in."""
    memory = ObjectMemory()
    with np.errstate(divide="ignore"):
        return float(np.clip(np.log(share) - np.log1p(-share), memory.low, memory.high))


def _objects(rows: np.ndarray, names: list[str]) -> ObjectMemory:
    """Built through the checks that a file has to pass."""
    memory = ObjectMemory()
    memory.categories = list(dict.fromkeys(names[i] for i in rows["category"].tolist()))
    index = {name: i for i, name in enumerate(memory.categories)}
    own = rows.copy()
    own["category"] = [index[names[i]] for i in rows["category"].tolist()]
    memory.table = ThingTable(own, looks=np.zeros((len(own), 0), dtype=np.float32), next_id=_after(own["id"]))
    return ObjectMemory.load(memory.save())


def _after(ids: np.ndarray) -> int:
    return int(ids.max(initial=-1)) + 1


def _things(rows: np.ndarray, names: list[str]) -> Things:
    confidence = 1.0 / (1.0 + np.exp(-rows["log_odds"]))
    categories = tuple(names[i] for i in rows["category"].tolist())
    return Things(rows["id"].copy(), categories, rows["box"].copy(), rows["last_seen"].copy(), confidence)


def _scene(graph: nx.DiGraph, rooms: dict[str, int], places: list[str], things: Things) -> SceneGraph:
    inside: dict[str, list[list[float]]] = {}
    for place in places:
        for _, room in graph.out_edges(place):
            if room in rooms:
                inside.setdefault(room, []).append(graph.nodes[place]["position"])
    sketches = [
        RoomSketch(
            room,
            np.array(graph.nodes[key]["position"]),
            np.array(graph.nodes[key]["box"]) if "box" in graph.nodes[key] else None,
            np.array(inside.get(key, []), dtype=np.float64).reshape(-1, 3),
        )
        for key, room in rooms.items()
    ]
    if any(sketch.box is not None and np.abs(sketch.box).max() > _FARTHEST for sketch in sketches):
        raise InputError(f"the box of a room reaches beyond {_FARTHEST:g} m")
    floors = floors_of(sketches, _doors(graph, rooms))
    names = {room: _name(graph.nodes[key], "room") for key, room in rooms.items() if _is_named(graph.nodes[key])}
    parts = Parts(things, floors, next_room=max(rooms.values(), default=-1) + 1, names=names)
    return SceneGraph.load(LayerState("scene_graph", 1, SceneGraph().save().params, parts_to_arrays(parts)))


def _doors(graph: nx.DiGraph, rooms: dict[str, int]) -> list[DoorSketch]:
    """The doors that our own files tell of; others say only that rooms are beside each other."""
    doors = []
    for a, b, edge in graph.edges(data=True):
        told = edge.get("doors")
        if a not in rooms or b not in rooms or a == b or told is None:
            continue
        if not isinstance(told, list):
            raise InputError(f"the doors between {a!r} and {b!r} are no list")
        for each in told:
            x, y, _, width = numbers(each, 4, f"a door between {a!r} and {b!r}")
            if width < 0 or max(abs(x), abs(y)) > _FARTHEST:
                raise InputError(f"a door between {a!r} and {b!r} is {each}")
            doors.append(DoorSketch((rooms[a], rooms[b]), (x, y), width))
    return doors


def _landmarks(graph: nx.DiGraph, places: list[str]) -> LandmarkGraph:
    """Places with ways both ways between those that are joined, as long as they are apart."""
    layer = LandmarkGraph()
    positions = np.array([graph.nodes[key]["position"] for key in places], dtype=np.float64)
    stamps = np.array([number(graph.nodes[key].get("stamp", 0.0), "stamp") for key in places])
    try:
        ids = dict(zip(places, layer.add_landmarks(positions, stamps=stamps).tolist(), strict=True))
    except ValueError as error:
        raise InputError(str(error)) from None
    joined = {tuple(sorted((ids[a], ids[b]))) for a, b in graph.edges if a in ids and b in ids and a != b}
    if joined:
        pairs = np.array(sorted(joined), dtype=np.int64)
        pairs = np.concatenate([pairs, pairs[:, ::-1]])
        row = {landmark: i for i, landmark in enumerate(ids.values())}
        ends = np.array([[row[a], row[b]] for a, b in pairs.tolist()])
        layer.connect(pairs, np.linalg.norm(positions[ends[:, 0]] - positions[ends[:, 1]], axis=1))
    return layer
