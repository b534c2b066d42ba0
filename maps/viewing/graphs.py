"""Pose graph, landmark graph and scene graph as nodes and edges to look at."""

from __future__ import annotations

from collections.abc import Mapping

import networkx as nx
import numpy as np

from embmem.maps.landmarks import LandmarkGraph
from embmem.maps.pose_graph import PoseGraph
from embmem.viewing.scene import Graph

_DRAWN = ("room", "furniture", "object")  # layers of the scene graph; building and floors have no place of their own


def keyframe_graph(poses: PoseGraph, most: int) -> tuple[Graph, str]:
    """(keyframes with odometry and loops, what was left out).

    Of more than `most` every n-th is shown; odometry joins those that are left, and loops go to the one before.
    """
    stamps, T = poses.trajectory()
    step = -(-len(stamps) // most)
    shown = np.arange(0, len(stamps), max(step, 1))
    sessions = np.array([keyframe.session for keyframe in poses.keyframes], dtype=np.int64)[shown]
    along = np.flatnonzero(np.diff(sessions) == 0)
    edges, kinds = [np.column_stack([along, along + 1])], ["odometry"] * len(along)
    for name, is_on in (("loop", True), ("rejected loop", False)):
        loops = [(edge.i, edge.j) for edge in poses.loops if edge.is_on == is_on]
        ends = np.array(loops, dtype=np.int64).reshape(-1, 2) // max(step, 1)
        edges.append(ends)
        kinds += [name] * len(ends)
    graph = Graph(
        poses.kind,
        "Keyframes",
        tuple(f"keyframe {k}, session {session}" for k, session in zip(shown.tolist(), sessions.tolist(), strict=True)),
        T[shown, :3, 3],
        stamps[shown],
        np.concatenate(edges),
        tuple(kinds),
    )
    left_out = f"{len(shown):,} of {len(stamps):,} keyframes are shown, evenly chosen." if step > 1 else ""
    return graph, left_out


def landmark_graph(landmarks: LandmarkGraph, most: int) -> tuple[Graph, str]:
    """(landmarks and the ways between them, what was left out); of more than `most` those that were seen most."""
    nodes, edges, ids = landmarks.tables.nodes, landmarks.tables.edges, landmarks.tables.ids
    alive = np.flatnonzero(nodes["is_alive"])
    shown = np.sort(alive[np.argsort(-nodes["count"][alive], kind="stable")[:most]])
    number = np.full(len(nodes), -1, dtype=np.int64)
    number[shown] = np.arange(len(shown))
    ends = np.column_stack([number[edges["source"]], number[edges["target"]]])
    is_shown = edges["is_alive"] & (ends >= 0).all(axis=1)
    walked, failed = edges["successes"][is_shown] > 0, edges["failures"][is_shown] > edges["successes"][is_shown]
    kinds = np.select([failed, walked], ["failing", "walked"], "assumed")
    seen = nodes["count"][shown].tolist()
    graph = Graph(
        landmarks.kind,
        "Landmarks",
        tuple(f"landmark {i}, seen {n:,} times" for i, n in zip(ids[shown].tolist(), seen, strict=True)),
        nodes["position"][shown].copy(),
        nodes["anchor"][shown].copy(),
        ends[is_shown],
        tuple(kinds.tolist()),
        is_directed=True,
        is_shown=True,
    )
    left_out = (
        f"{len(shown):,} of {len(alive):,} landmarks are shown, those seen most." if len(shown) < len(alive) else ""
    )
    return graph, left_out


def relation_graph(scene: nx.DiGraph, kind: str, places: Mapping[str, np.ndarray], most: int) -> tuple[Graph, str]:
    """(rooms, furniture and objects with how they lie to each other, what was left out): at most `most`, rooms first.

    Args:
        scene: the graph.
        kind: of its layer.
        places: [m] of nodes that are drawn elsewhere than it has them.
        most: nodes.
    """
    every = [key for key, node in scene.nodes(data=True) if node["layer"] in _DRAWN]  # rooms come before things
    keys = every[:most]
    number = {key: i for i, key in enumerate(keys)}
    edges = [(number[a], number[b], d["relation"]) for a, b, d in scene.edges(data=True) if a in number and b in number]
    positions = [places.get(key, scene.nodes[key]["position"]) for key in keys]
    graph = Graph(
        kind,
        "Scene graph",
        tuple(f"{scene.nodes[key]['name']} ({key})" for key in keys),
        np.array(positions, dtype=np.float64).reshape(-1, 3),
        np.full(len(keys), np.nan),
        np.array([edge[:2] for edge in edges], dtype=np.int64).reshape(-1, 2),
        tuple(edge[2] for edge in edges),
        is_directed=True,
    )
    left_out = f"{len(keys):,} of {len(every):,} nodes of the scene graph are shown." if len(keys) < len(every) else ""
    return graph, left_out
