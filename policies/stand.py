"""Where to stand to see a place."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from embmem.maps.voxels.voxel_map import VoxelMap
from embmem.policies.cost_map import CostMap

_MAX_RAYS = 150


def viewpoints(
    costs: CostMap,
    voxels: VoxelMap,
    target: Float[np.ndarray, "3"],
    *,
    eye: float,
    far: float,
    short: float = 0.15,
) -> Float[np.ndarray, "n 2"]:
    """Points [m] within `far` (horizontally) of `target` where a body can stand and nothing known hides the target.

    Args:
        costs: where the body can be.
        voxels: what hides things; unknown space does not.
        target: map frame [m].
        eye: height of the camera above the floor [m].
        far: [m].
        short: the last bit of the ray [m] is not tested, as it ends inside the thing itself.
    """
    low, high = costs.cells(np.stack([target[:2] - far, target[:2] + far]))
    rows, columns = np.mgrid[low[0] : high[0] + 1, low[1] : high[1] + 1]
    cells = np.stack([rows.ravel(), columns.ravel()], axis=1)
    points = costs.centres(cells)
    is_open = np.isfinite(costs.price[cells[:, 0], cells[:, 1]])
    points = points[is_open & (np.hypot(*(points - target[:2]).T) <= far)]
    points = points[:: 1 + len(points) // _MAX_RAYS]
    if not len(points):
        return points
    eyes = np.column_stack([points, np.full(len(points), eye)])
    rays = target - eyes
    lengths = np.linalg.norm(rays, axis=1)
    blocked = voxels.cast(eyes, rays, float(lengths.max()))
    return points[blocked >= lengths - short]
