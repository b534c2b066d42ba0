"""The scene graph as a networkx graph: the form that answers, texts and files are made from.

Nodes are keyed "building:0", "floor:0", "room:3", "thing:17" and hold `layer`, `name`, `number`, `position` [m], and
as far as it is known `box` [m], `stamp` [s], `confidence`, `area` [m^2], `share`. An edge goes from what is on, in or
part of something to that, its `relation`; "next to" goes both ways and is told once, from the lower to the higher.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import networkx as nx
import numpy as np

from embmem.maps.scene_graph.categories import room_kind
from embmem.maps.scene_graph.floors import Floor
from embmem.maps.scene_graph.related import Related, rows_of
from embmem.maps.scene_graph.relations import RELATIONS
from embmem.maps.scene_graph.things import Things
from embmem.maps.scene_graph.trail import Trail

LAYERS = ("building", "floor", "room", "furniture", "object")  # from the top


def as_networkx(
    floors: list[Floor], things: Things, related: Related, trail: Trail, names: Mapping[int, str] | None = None
) -> nx.DiGraph:
    """Building, floors, rooms and things with their relations, in this order; `names` of rooms that were given one."""
    graph = nx.DiGraph()
    if floors or len(things):
        _add(graph, "building:0", "building", "building", 0, _middle(floors, things))
    rooms = _rooms_of_things(related)
    for number, floor in enumerate(floors):
        key = f"floor:{number}"
        middle = _middle([floor], things)
        _add(graph, key, "floor", f"floor {number}", number, [*middle[:2], floor.height])
        graph.add_edge(key, "building:0", relation="part of")
    for number, floor in enumerate(floors):
        _add_rooms(graph, number, floor, things, related, rooms, trail)
    for room, name in (names or {}).items():
        if f"room:{room}" in graph:
            graph.nodes[f"room:{room}"]["name"] = name
    _add_things(graph, things, related, rooms)
    return graph


def _add(graph: nx.DiGraph, key: str, layer: str, name: str, number: int, position: list[float], **more: Any) -> None:
    graph.add_node(key, layer=layer, name=name, number=number, position=position, **more)


def _middle(floors: list[Floor], things: Things) -> list[float]:
    """[m] the middle of all rooms, or of all things."""
    boxes = [floor.rooms.bounds(int(room)) for floor in floors for room in floor.rooms.ids()]
    if boxes:
        corners = np.concatenate(boxes)
        x, y = (0.5 * (corners.min(axis=0) + corners.max(axis=0))).tolist()
        return [x, y, floors[0].height]
    if len(things):
        return [float(v) for v in 0.5 * (things.box[:, 0].min(axis=0) + things.box[:, 1].max(axis=0))]
    return [0.0, 0.0, floors[0].height if floors else 0.0]


def _rooms_of_things(related: Related) -> np.ndarray:
    """(n,) the room of each thing: that of what carries it in the end."""
    rooms = related.scene.room.copy()
    carrier = rows_of(related.ids, related.carrier)
    at = np.arange(len(rooms))
    while (up := carrier[at] >= 0).any():
        at = np.where(up, carrier[at], at)
    return np.where(rooms[at] >= 0, rooms[at], rooms)


def _add_rooms(
    graph: nx.DiGraph, number: int, floor: Floor, things: Things, related: Related, rooms: np.ndarray, trail: Trail
) -> None:
    ids = floor.rooms.ids().tolist()
    for room, stamp in zip(ids, trail.anchors(floor.rooms, floor.height).tolist(), strict=True):
        inside = np.flatnonzero((rooms == room) & related.scene.is_furniture).tolist()
        counts: dict[str, int] = {}
        for i in inside:
            name = things.categories[i].casefold()
            counts[name] = counts.get(name, 0) + 1
        name, share = room_kind(counts)
        x, y = floor.rooms.middle(room).tolist()
        low, high = floor.rooms.bounds(room).tolist()
        _add(
            graph, f"room:{room}", "room", name, room, [x, y, floor.height],
            box=[[*low, floor.height], [*high, floor.height]], stamp=stamp, confidence=1.0,
            area=floor.rooms.area(room), share=share,
        )  # fmt: skip
        graph.add_edge(f"room:{room}", f"floor:{number}", relation="part of")
    doors = floor.rooms.doors
    for (a, b), (x, y), width in zip(doors.rooms.tolist(), doors.position.tolist(), doors.width.tolist(), strict=True):
        edge = (f"room:{a}", f"room:{b}")
        if not graph.has_edge(*edge):
            graph.add_edge(*edge, relation="next to", doors=[])
        graph.edges[edge]["doors"].append([x, y, floor.height, width])


def _add_things(graph: nx.DiGraph, things: Things, related: Related, rooms: np.ndarray) -> None:
    positions = things.position.tolist()
    for i, number in enumerate(things.ids.tolist()):
        layer = "furniture" if related.scene.is_furniture[i] else "object"
        _add(
            graph, f"thing:{number}", layer, things.categories[i], number, positions[i], box=things.box[i].tolist(),
            stamp=float(things.stamp[i]), confidence=float(things.confidence[i]),
        )  # fmt: skip
    r = related.relations
    for source, target, kind in zip(r.source.tolist(), r.target.tolist(), r.kind.tolist(), strict=True):
        graph.add_edge(f"thing:{source}", f"thing:{target}", relation=RELATIONS[kind])
    is_carried = related.carrier >= 0
    for number, room, carried in zip(things.ids.tolist(), rooms.tolist(), is_carried.tolist(), strict=True):
        if not carried and room >= 0:
            graph.add_edge(f"thing:{number}", f"room:{room}", relation="in")


def parent(graph: nx.DiGraph, key: str) -> tuple[str, str] | None:
    """(relation, key) of what a node is on, in or part of; None at the top. Being part of something comes last."""
    found = [(d["relation"], target) for _, target, d in graph.out_edges(key, data=True) if d["relation"] != "next to"]
    return min(found, key=lambda each: (each[0] == "part of", each[1])) if found else None


def path(graph: nx.DiGraph, key: str) -> list[tuple[str, str]]:
    """The parents of a node from the nearest up to the building, each with its relation."""
    steps: list[tuple[str, str]] = []
    seen = {key}
    while (step := parent(graph, key)) is not None and step[1] not in seen:
        steps.append(step)
        key = step[1]
        seen.add(key)
    return steps


def room_of(graph: nx.DiGraph, key: str) -> str | None:
    """The key of the room that a node is in or is."""
    keys = [key, *(up for _, up in path(graph, key))]
    return next((up for up in keys if graph.nodes[up]["layer"] == "room"), None)
