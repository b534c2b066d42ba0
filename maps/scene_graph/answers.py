"""What a scene graph answers to a query."""

from __future__ import annotations

import networkx as nx
import numpy as np

from embmem.maps.scene_graph.graph import path, room_of
from embmem.records import Hit, Query

_ANSWERED = ("room", "furniture", "object")


def answer(graph: nx.DiGraph, query: Query, layer: str) -> list[Hit]:
    """The rooms and things that match every field that is set, best first."""
    wanted = None if query.entity is None else query.entity.strip().casefold()
    found: list[tuple[float, float, str]] = []
    for key, node in graph.nodes(data=True):
        if node["layer"] not in _ANSWERED or (wanted is not None and node["name"].casefold() != wanted):
            continue
        if not query.since <= node["stamp"] < query.until or node["confidence"] < query.min_confidence:
            continue
        position = np.array(node["position"])
        if query.box is not None and not ((position >= query.box[0]) & (position <= query.box[1])).all():
            continue
        distance = 0.0 if query.near is None else float(np.linalg.norm(position - query.near))
        if (query.near is not None and distance > query.radius) or not _is_in(graph, key, query.place):
            continue
        found.append((node["confidence"] / (1.0 + distance), distance, key))
    found.sort(key=lambda each: -each[0])
    return [_hit(graph, key, score, distance, query, layer) for score, distance, key in found[: query.k]]


def _is_in(graph: nx.DiGraph, key: str, place: str | None) -> bool:
    """Whether a node is inside of a place, which is the name or key of a room or of anything that it is on or in."""
    if place is None:
        return True
    wanted = place.strip().casefold()
    return any(wanted in (up, graph.nodes[up]["name"].casefold()) for _, up in path(graph, key))


def _hit(graph: nx.DiGraph, key: str, score: float, distance: float, query: Query, layer: str) -> Hit:
    node = graph.nodes[key]
    room = room_of(graph, key)
    why = " ".join([node["name"], *(f"{relation} {graph.nodes[up]['name']}" for relation, up in path(graph, key)[:3])])
    detail = {"confidence": node["confidence"], "id": float(node["number"])}
    if room is not None:
        detail["room"] = float(graph.nodes[room]["number"])
    if "area" in node:
        detail["area"] = node["area"]
    return Hit(
        score=score,
        why=why if query.near is None else f"{why}, {distance:.2f} m away",
        layer=layer,
        stamp=node["stamp"],
        position=np.array(node["position"]),
        entity=node["name"],
        detail=detail,
    )
