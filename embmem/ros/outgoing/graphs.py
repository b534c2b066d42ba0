"""Landmark and scene graphs as messages: the whole, or what has changed since the message before."""

from __future__ import annotations

from typing import Any

from embmem.ros.outgoing.parts import Fields, header
from embmem.ros.shown import GraphShown


def whole(graph: GraphShown, revision: int, stamp_ns: int, frame: str) -> Fields:
    """An embmem_msgs LandmarkGraph or SceneGraph with all that there is."""
    return {
        "header": header(stamp_ns, frame), "revision": revision, "base_revision": 0, "is_full": True,
        "nodes": list(graph.nodes.values()), "edges": list(graph.edges.values()),
    }  # fmt: skip


def change(before: GraphShown, now: GraphShown, revisions: tuple[int, int], stamp_ns: int, frame: str) -> Fields | None:
    """Likewise with what is new or other than in `before`, and the ids of what is gone; None if nothing is.

    Args:
        before: what the listeners hold.
        now: what they shall hold.
        revisions: of both.
        stamp_ns: [ns].
        frame: of the positions.
    """
    nodes = [node for key, node in now.nodes.items() if before.nodes.get(key) != node]
    edges = [edge for key, edge in now.edges.items() if before.edges.get(key) != edge]
    gone = [key for key in before.nodes if key not in now.nodes]
    gone_edges = [key for key in before.edges if key not in now.edges]
    if not (nodes or edges or gone or gone_edges):
        return None
    return {
        "header": header(stamp_ns, frame), "revision": revisions[1], "base_revision": revisions[0], "is_full": False,
        "nodes": nodes, "edges": edges, "deleted_nodes": gone,
        "deleted_edge_sources": [source for source, _ in gone_edges],
        "deleted_edge_targets": [target for _, target in gone_edges],
    }  # fmt: skip


def applied(held: GraphShown, message: Any) -> GraphShown:
    """What a listener holds after a message; messages of any library.

    A change of another revision than the one held is for the listener to leave aside (`base_revision`).
    """
    nodes = {} if message.is_full else dict(held.nodes)
    edges = {} if message.is_full else dict(held.edges)
    for key in list(message.deleted_nodes):
        nodes.pop(key, None)
        edges = {ends: edge for ends, edge in edges.items() if key not in ends}
    for ends in zip(list(message.deleted_edge_sources), list(message.deleted_edge_targets), strict=True):
        edges.pop(ends, None)
    nodes |= {node.id: node for node in message.nodes}
    edges |= {(edge.source, edge.target): edge for edge in message.edges}
    return GraphShown(nodes, edges)
