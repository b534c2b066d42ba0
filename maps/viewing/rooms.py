"""Rooms of the scene graph as outlines with names, and what it says about each thing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import cv2
import networkx as nx
import numpy as np
from jaxtyping import Bool, Float

from embmem.maps.objects import ObjectMemory
from embmem.maps.scene_graph.floors import Floor
from embmem.maps.scene_graph.graph import room_of
from embmem.maps.scene_graph.scene_graph import SceneGraph
from embmem.viewing.scene import Room, Thing, Trajectory

_FINE = 4  # parts of a cell's edge that an outline is traced in


def rooms_of(scene: SceneGraph, graph: nx.DiGraph, trajectory: Trajectory | None) -> tuple[Room, ...]:
    """The rooms of all floors, each known since the camera was in it first."""
    names = room_names(graph, len(scene.floors))
    rooms = []
    for floor in scene.floors:
        since = _since(floor, trajectory)
        for room in floor.rooms.ids().tolist():
            rings = outlines(floor.rooms.labels == room, floor.rooms.origin, floor.rooms.resolution)
            stamp = since.get(room, float("nan"))
            rooms.append(Room(names[f"room:{room}"], rings, floor.rooms.middle(room), stamp))
    return tuple(rooms)


def room_names(graph: nx.DiGraph, n_floors: int) -> dict[str, str]:
    """What each room is called, with its number where several are called alike, and the floor where there are more."""
    rooms = {key: node for key, node in graph.nodes(data=True) if node["layer"] == "room"}
    count = Counter(node["name"] for node in rooms.values())
    names = {}
    for key, node in rooms.items():
        name = node["name"] if count[node["name"]] == 1 else f"{node['name']} {node['number']}"
        above = next((up for _, up, d in graph.out_edges(key, data=True) if d["relation"] == "part of"), None)
        names[key] = name if n_floors < 2 or above is None else f"{name}, {graph.nodes[above]['name']}"
    return names


def outlines(
    is_room: Bool[np.ndarray, "h w"], origin: Float[np.ndarray, "2"], resolution: float
) -> tuple[Float[np.ndarray, "_ 2"], ...]:
    """Rings [m] around the cells of a room and around its holes, the longest first, half a cell from the true edge."""
    rows, columns = np.nonzero(is_room)
    if not len(rows):
        return ()
    corner = np.array([columns.min(), rows.min()])
    mask = is_room[corner[1] : rows.max() + 1, corner[0] : columns.max() + 1].astype(np.uint8)
    fine = cv2.resize(mask, None, fx=_FINE, fy=_FINE, interpolation=cv2.INTER_NEAREST)
    rings, _ = cv2.findContours(fine, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    simple = (cv2.approxPolyDP(ring, 0.3 * _FINE, True)[:, 0] for ring in rings)
    scaled = [origin + (corner + (ring + 0.5) / _FINE) * resolution for ring in simple if len(ring) > 2]
    return tuple(sorted(scaled, key=lambda ring: -cv2.arcLength(ring.astype(np.float32), True)))


def _since(floor: Floor, trajectory: Trajectory | None) -> dict[int, float]:
    """First stamp [s] of the camera in each room."""
    if trajectory is None:
        return {}
    above = trajectory.T_map_camera[:, 2, 3] - floor.height
    inside = np.where((above > -0.5) & (above < 2.5), floor.rooms.at(trajectory.T_map_camera[:, :2, 3]), -1)
    rooms, first = np.unique(inside, return_index=True)
    return {int(room): float(trajectory.stamps[i]) for room, i in zip(rooms, first, strict=True) if room >= 0}


def placed(things: Iterable[Thing], graph: nx.DiGraph, n_floors: int) -> list[Thing]:
    """The things of the object memory with their room, and with what they are on, in or next to."""
    names, told = room_names(graph, n_floors), []
    for thing in things:
        key = node_of(thing)
        if key is None or key not in graph:
            told.append(thing)
            continue
        room = room_of(graph, key)
        told.append(replace(thing, room=names.get(room or "", ""), facts=tuple(_facts(graph, key))))
    return told


def node_of(thing: Thing) -> str | None:
    """The key in the scene graph of a thing of the object memory."""
    return f"thing:{thing.id.rpartition(' ')[2]}" if thing.layer == ObjectMemory.kind else None


def _facts(graph: nx.DiGraph, key: str) -> Iterable[str]:
    """Sentences about a thing: what it is on or in, what is on or in it, what it is next to."""
    for _, other, edge in graph.out_edges(key, data=True):
        if graph.nodes[other]["layer"] != "room":
            yield f"{edge['relation']} the {graph.nodes[other]['name']}"
    for other, _, edge in graph.in_edges(key, data=True):
        name = graph.nodes[other]["name"]
        yield f"next to the {name}" if edge["relation"] == "next to" else f"{name} is {edge['relation']} it"
