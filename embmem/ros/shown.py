"""What a memory's layers show to others, as plain arrays: between the maps, which know layers, and messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, Int8

from embmem.protocols import Layer

Key = int | str


@dataclass(frozen=True, eq=False)
class VoxelsShown:
    """Occupied space."""

    resolution: float  # [m]
    centres: Float[np.ndarray, "n 3"]  # of the occupied voxels [m]
    tree: bytes  # OctoMap's binary tree, without a header; empty where nothing is known


@dataclass(frozen=True, eq=False)
class GridShown:
    """The floor plan: rows along +y, columns along +x."""

    origin: Float[np.ndarray, "2"]  # [m] corner of cell (0, 0)
    resolution: float  # [m]
    cells: Int8[np.ndarray, "h w"]  # -1 unknown, 0 free to 100 occupied


@dataclass(frozen=True, eq=False)
class ThingsShown:
    """Things that are believed to be there."""

    ids: Int[np.ndarray, " n"]
    labels: tuple[str, ...]
    position: Float[np.ndarray, "n 3"]  # [m]
    box: Float[np.ndarray, "n 2 3"]  # [m] lowest and highest corner
    confidence: Float[np.ndarray, " n"]
    last_seen: Float[np.ndarray, " n"]  # [s]


@dataclass(frozen=True, eq=False)
class GraphShown:
    """A graph as fields of messages, or as messages: nodes by id, edges by the ids of their ends."""

    nodes: dict[Any, Any] = field(default_factory=dict)
    edges: dict[tuple[Any, Any], Any] = field(default_factory=dict)


@runtime_checkable
class Shows(Protocol):
    """Reads the layers of a memory; None where it has no such layer."""

    def voxels(self, layers: Sequence[Layer]) -> VoxelsShown | None:
        """Occupied space as of now."""

    def grid(self, layers: Sequence[Layer]) -> GridShown | None:
        """The floor plan as of now; a copy."""

    def things(self, layers: Sequence[Layer]) -> ThingsShown | None:
        """Things as of now."""

    def landmarks(self, layers: Sequence[Layer]) -> GraphShown | None:
        """Places and ways, as LandmarkNode and LandmarkEdge."""

    def scene(self, layers: Sequence[Layer]) -> GraphShown | None:
        """Rooms, things and relations, as SceneNode and SceneEdge."""
