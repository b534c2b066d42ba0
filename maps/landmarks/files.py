"""The landmark graph as node-link JSON, which networkx, D3 and their kin read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embmem.errors import InputError
from embmem.maps.landmarks.graph import LandmarkGraph
from embmem.output import write_atomic
from embmem.protocols import Layer

FORMAT = "embmem landmarks"
VERSION = 1


def write_landmarks(path: Path, layers: Sequence[Layer]) -> None:
    """Write the landmark graph among these layers; `networkx.node_link_graph(data, edges="edges")` reads it.

    Nodes hold `position` [m], `first_seen`, `last_seen` [s] and `count`, edges `length` [m], `cost`, `successes`,
    `failures` and, where it was measured, `seconds`. Descriptors stay behind.

    Raises:
        InputError: if there is no landmark.
    """
    layer = next((layer for layer in layers if isinstance(layer, LandmarkGraph)), None)
    if layer is None:
        there = [layer.kind for layer in layers]
        raise InputError(f"landmarks need a landmark graph, only {there} are there; build with memory=maps")
    if len(layer) == 0:
        raise InputError("there is no landmark yet: the memory has seen no view that could be described")
    graph = layer.to_networkx()
    data = {
        "directed": True,
        "multigraph": False,
        "graph": {"format": FORMAT, "version": VERSION},
        "nodes": [{"id": key, **_plain(node)} for key, node in graph.nodes(data=True)],
        "edges": [{"source": a, "target": b, **_plain(edge)} for a, b, edge in graph.edges(data=True)],
    }
    write_atomic(path, json.dumps(data, allow_nan=False, indent=1).encode())


def _plain(attributes: dict[str, Any]) -> dict[str, Any]:
    """Numbers and lists of numbers; what is not known is left out."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in attributes.items()
        if not isinstance(value, np.ndarray) and (not isinstance(value, float) or np.isfinite(value))
    }
