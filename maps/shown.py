"""What the layers of a running memory show to others, as plain arrays and fields (`embmem.ros.shown`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from embmem.maps.grid import GridBuilder
from embmem.maps.landmarks import LandmarkGraph
from embmem.maps.objects import ObjectMemory
from embmem.maps.scene_graph.scene_graph import SceneGraph
from embmem.maps.voxels import VoxelMap
from embmem.maps.voxels.formats.octomap_files import binary_tree
from embmem.protocols import Layer
from embmem.ros.outgoing.parts import time_of_seconds, xyz
from embmem.ros.shown import GraphShown, GridShown, ThingsShown, VoxelsShown

L = TypeVar("L")


class LayersShown:
    """Reads layers; keeps the floor plan of the voxels that it saw last, which costs only what has changed since."""

    def __init__(
        self, *, z_min: float = 0.15, z_max: float = 1.0, z_floor: float = -0.15, min_confidence: float = 0.5
    ) -> None:
        """Settings.

        Args:
            z_min: [m] above which a robot on the floor can hit something ...
            z_max: ... and below which.
            z_floor: [m] above which an occupied voxel is floor.
            min_confidence: of things that are told of.
        """
        self._heights = (z_min, z_max, z_floor)
        self._min_confidence = min_confidence
        self._plan: GridBuilder | None = None

    def voxels(self, layers: Sequence[Layer]) -> VoxelsShown | None:
        """Occupied space as of now."""
        voxels = _first(layers, VoxelMap)
        if voxels is None:
            return None
        return VoxelsShown(float(voxels.resolution), voxels.occupied(), binary_tree(voxels))

    def grid(self, layers: Sequence[Layer]) -> GridShown | None:
        """The floor plan as of now; a copy. None where there are no voxels, or none was seen yet."""
        voxels = _first(layers, VoxelMap)
        if voxels is None:
            return None
        if self._plan is None or self._plan.voxels is not voxels:
            self._plan = GridBuilder(voxels, *self._heights)
        grid = self._plan.update()
        if not grid.cells.size:
            return None
        return GridShown(np.array(grid.origin, dtype=np.float64), float(grid.resolution), grid.cells.copy())

    def things(self, layers: Sequence[Layer]) -> ThingsShown | None:
        """Things as of now."""
        objects = _first(layers, ObjectMemory)
        if objects is None:
            return None
        things = objects.things()
        things = things[things["confidence"] >= self._min_confidence]
        return ThingsShown(
            ids=things["id"],
            labels=tuple(objects.categories[i] for i in things["category"].tolist()),
            position=things["position"],
            box=things["box"],
            confidence=things["confidence"],
            last_seen=things["last_seen"],
        )

    def landmarks(self, layers: Sequence[Layer]) -> GraphShown | None:
        """Places and ways, as LandmarkNode and LandmarkEdge."""
        landmarks = _first(layers, LandmarkGraph)
        if landmarks is None:
            return None
        graph = landmarks.to_networkx()
        nodes: dict[Any, dict[str, Any]] = {
            key: {
                "id": int(key), "position": xyz(np.array(node["position"])),
                "last_seen": time_of_seconds(node["last_seen"]), "n_views": int(node["count"]),
            }
            for key, node in graph.nodes(data=True)
        }  # fmt: skip
        edges: dict[tuple[Any, Any], dict[str, Any]] = {
            (a, b): {
                "source": int(a), "target": int(b), "length": float(edge["length"]), "cost": float(edge["cost"]),
                "seconds": _known(edge["seconds"]),
                "n_successes": int(edge["successes"]), "n_failures": int(edge["failures"]),
            }
            for a, b, edge in graph.edges(data=True)
        }  # fmt: skip
        return GraphShown(nodes, edges)

    def scene(self, layers: Sequence[Layer]) -> GraphShown | None:
        """Rooms, things and relations, as SceneNode and SceneEdge."""
        scene = _first(layers, SceneGraph)
        if scene is None:
            return None
        graph = scene.networkx()
        nodes: dict[Any, dict[str, Any]] = {key: _scene_node(key, node) for key, node in graph.nodes(data=True)}
        edges: dict[tuple[Any, Any], dict[str, Any]] = {
            (a, b): {
                "source": a, "target": b, "relation": edge["relation"],
                "doors": [xyz(np.array(door[:3])) for door in edge.get("doors", ())],
                "door_widths": [float(door[3]) for door in edge.get("doors", ())],
            }
            for a, b, edge in graph.edges(data=True)
        }  # fmt: skip
        return GraphShown(nodes, edges)


def _scene_node(key: str, node: dict[str, Any]) -> dict[str, Any]:
    fields = {
        "id": key, "layer": node["layer"], "name": node["name"], "position": xyz(np.array(node["position"])),
        "stamp": time_of_seconds(float(node.get("stamp", math.nan))),
        "confidence": _known(node.get("confidence")), "area": _known(node.get("area")),
    }  # fmt: skip
    if node.get("box") is not None:
        low, high = node["box"]
        fields |= {"has_box": True, "box_low": xyz(np.array(low)), "box_high": xyz(np.array(high))}
    return fields


def _known(value: float | None) -> float:
    """The number, or the one NaN of this module: fields that are unknown in two graphs are the same object then."""
    return math.nan if value is None or not math.isfinite(value) else float(value)


def _first(layers: Sequence[Layer], kind: type[L]) -> L | None:
    return next((layer for layer in layers if isinstance(layer, kind)), None)
