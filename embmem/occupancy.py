"""What the core asks of a map of occupied space, and which views saw a point in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from embmem.errors import InputError
from embmem.geometry import invert_pose, project, transform_points
from embmem.memory import Memory
from embmem.observation import Intrinsics
from embmem.records import Query, Record


@runtime_checkable
class Occupancy(Protocol):
    """A layer that knows which parts of space are occupied, free or unknown (`embmem.maps` brings one)."""

    resolution: float  # edge of a voxel [m]
    max_range: float  # [m], farther nothing was mapped

    def occupied(self) -> Float[np.ndarray, "n 3"]:
        """Centres of the occupied voxels [m]."""

    def free(self) -> Float[np.ndarray, "n 3"]:
        """Centres of the free voxels [m]."""

    def log_odds(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """Log-odds of occupancy at the points, > 0 is occupied, NaN where nothing is known."""

    def nearest_occupied(
        self, points: Float[np.ndarray, "n 3"]
    ) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, " n"]]:
        """(centre, distance) [m] of the occupied voxel nearest to each point; NaN and inf on an empty map."""

    def cast(
        self, origins: Float[np.ndarray, "n 3"], directions: Float[np.ndarray, "n 3"], max_range: float
    ) -> Float[np.ndarray, " n"]:
        """Distance [m] along each ray to the first occupied voxel, inf if none within `max_range`."""


def find_occupancy(memory: Memory) -> Occupancy:
    """The layer of the memory that maps occupied space.

    Raises:
        InputError: if it has none.
    """
    for layer in memory.layers:
        if isinstance(layer, Occupancy):
            return layer
    raise InputError(f"this memory maps no occupied space, only {[layer.kind for layer in memory.layers]}")


def views(memory: Memory) -> list[Record]:
    """The recorded views, oldest first."""
    return memory.store.read(Query(kind="view", k=max(len(memory.store), 1)))[::-1]


def views_of(point: Float[np.ndarray, "3"], records: Sequence[Record], occupancy: Occupancy) -> list[Record]:
    """The views that had the point inside their image, within range, and nothing occupied before it.

    A point inside an occupied voxel is seen when its own voxel, or one it touches, is the first on the ray.
    """
    candidates = [record for record in records if _is_in_image(point, record, occupancy.max_range)]
    if not candidates:
        return []
    origins = np.stack([r.T_map_obs[:3, 3] for r in candidates if r.T_map_obs is not None])
    rays = point - origins
    distances = np.linalg.norm(rays, axis=1)
    far = float(distances.max()) + occupancy.resolution
    reached = occupancy.cast(origins, rays, far) >= distances - np.sqrt(3.0) * occupancy.resolution
    return [record for record, is_clear in zip(candidates, reached.tolist(), strict=True) if is_clear]


def _is_in_image(point: Float[np.ndarray, "3"], record: Record, max_range: float) -> bool:
    if record.T_map_obs is None or "intrinsics" not in record.payload:
        return False
    stored = record.payload["intrinsics"]
    k = Intrinsics(**{**stored, "distortion": tuple(stored.get("distortion", ()))})
    in_camera = transform_points(invert_pose(record.T_map_obs), point[None])
    distance = float(np.linalg.norm(in_camera))
    if not 1e-6 < distance <= max_range:
        return False
    u, v = project(in_camera, k)[0]
    return bool(-0.5 <= u < k.width - 0.5 and -0.5 <= v < k.height - 0.5)
