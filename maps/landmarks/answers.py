"""Answers of the landmark graph: hits, and a networkx graph."""

from __future__ import annotations

import networkx as nx
import numpy as np

from embmem.maps.landmarks.routing import Pricing
from embmem.maps.landmarks.tables import Tables
from embmem.records import Hit, Query


def hits(tables: Tables, query: Query, layer: str) -> list[Hit]:
    """See `LandmarkGraph.query`."""
    asked = (query.entity, query.place, query.text, query.key, query.source, query.linked_to, query.frustum)
    if any(field is not None for field in asked) or query.kind not in (None, layer) or tables.n_nodes == 0:
        return []
    nodes = tables.nodes
    position, seen = nodes["position"], nodes["last_seen"]
    match = nodes["is_alive"] & (query.since <= seen) & (seen < query.until)
    score = nodes["count"] / (nodes["count"] + 1.0)
    distance = np.zeros(len(nodes))
    if query.box is not None:
        match &= ((query.box[0] <= position) & (position <= query.box[1])).all(axis=1)
    if query.embedding is not None:
        if tables.dim == 0 or query.embedding.shape != (tables.dim,):
            return []
        score = _cosines(tables.descriptors, query.embedding)
        match &= score >= query.min_similarity
    if query.near is not None:
        distance = np.linalg.norm(position - query.near, axis=1)
        match &= distance <= query.radius
        score = score / (1.0 + distance)
    found = np.flatnonzero(match)
    best = found[np.lexsort((found, -score[found]))][: query.k]
    return [_hit(tables, int(row), float(score[row]), float(distance[row]), query, layer) for row in best]


def _cosines(means: np.ndarray, embedding: np.ndarray) -> np.ndarray:
    """(n,) cosines of mean descriptors with an embedding, some rows at a time: in double they would be twice as big."""
    cosines, unit = np.empty(len(means)), embedding / max(float(np.linalg.norm(embedding)), 1e-30)
    for begin in range(0, len(means), 65536):
        part = means[begin : begin + 65536].astype(np.float64)
        cosines[begin : begin + len(part)] = (part @ unit) / np.maximum(np.linalg.norm(part, axis=1), 1e-30)
    return cosines


def _hit(tables: Tables, row: int, score: float, distance: float, query: Query, layer: str) -> Hit:
    node, edges = tables.nodes[row], tables.incident(row)
    why = [f"landmark {tables.ids[row]} seen {node['count']} times"]
    if query.embedding is not None:
        why.append(f"cosine {score * (1.0 + distance):.2f}")
    if query.near is not None:
        why.append(f"{distance:.2f} m away")
    detail = {
        "id": float(tables.ids[row]),
        "count": float(node["count"]),
        "first_seen": float(node["anchor"]),
        "edges": float(len(edges)),
    }
    return Hit(score, ", ".join(why), layer, float(node["last_seen"]), node["position"].copy(), detail=detail)


def to_networkx(tables: Tables, pricing: Pricing) -> nx.DiGraph:
    """See `LandmarkGraph.to_networkx`."""
    graph = nx.DiGraph()
    nodes, edges = tables.nodes, tables.edges[tables.edges["is_alive"]]
    for row in np.flatnonzero(nodes["is_alive"]).tolist():
        graph.add_node(
            int(tables.ids[row]),
            position=tuple(nodes["position"][row].tolist()),
            first_seen=float(nodes["anchor"][row]),
            last_seen=float(nodes["last_seen"][row]),
            count=int(nodes["count"][row]),
            descriptor=tables.descriptors[row].copy(),
        )
    columns = {
        "cost": pricing.cost(edges),
        "risk": pricing.risk(edges),
        "length": edges["length"],
        "seconds": np.where(edges["timed"] > 0, edges["seconds"], np.nan),
        "successes": edges["successes"],
        "failures": edges["failures"],
        "instruction": edges["instruction"],
    }
    ends = zip(tables.ids[edges["source"]].tolist(), tables.ids[edges["target"]].tolist(), strict=True)
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    for (a, b), row in zip(ends, rows, strict=True):
        graph.add_edge(a, b, **dict(zip(columns, row, strict=True)))
    return graph
