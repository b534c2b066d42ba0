"""The levels of a building: at which heights there are floors."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from embmem.maps.grid import OccupancyGrid
from embmem.maps.scene_graph.walls import wall_grid
from embmem.maps.voxels.voxel_map import VoxelMap

STOREY = 2.0  # [m] least height from one floor to the next
_CLEAR = 1.0  # [m] above a floor that must not be solid


def find_levels(
    heights: Float[np.ndarray, " n"], *, bin_width: float = 0.05, storey: float = STOREY, share: float = 0.25
) -> Float[np.ndarray, " k"]:
    """Heights of the floors [m], ascending, from the heights of level surfaces that one could stand on.

    The highest peak of their histogram is a floor; so is the next that has at least `share` of its surface and is a
    `storey` from every floor found so far, and so on. A table top is too small or too near to its floor to be one. A
    peak is told by the median of what lies within two bins of it.
    """
    heights = heights[np.isfinite(heights)]
    if len(heights) == 0:
        return np.zeros(0)
    bins = np.floor(heights / bin_width).astype(np.int64)
    first = int(bins.min())
    counts = np.bincount(bins - first).astype(np.float64)
    smooth = np.convolve(counts, [0.5, 1.0, 0.5], mode="same")
    floors: list[float] = []
    for peak in np.argsort(-smooth, kind="stable").tolist():
        if smooth[peak] < share * smooth.max():
            break
        near = np.abs(bins - first - peak) <= 2
        height = float(np.median(heights[near]))
        if all(abs(height - floor) >= storey for floor in floors):
            floors.append(height)
    return np.array(sorted(floors))


def standing_heights(voxels: VoxelMap) -> Float[np.ndarray, " n"]:
    """[m] tops of the occupied voxels with free space above them, one a voxel."""
    solid = voxels.occupied()
    if len(solid) == 0:
        return np.zeros(0)
    up = np.array([0.0, 0.0, voxels.resolution])
    is_clear: Bool[np.ndarray, " n"] = np.ones(len(solid), dtype=np.bool_)
    n_free = np.zeros(len(solid), dtype=np.int64)
    for step in range(1, max(2, round(_CLEAR / voxels.resolution))):
        values = voxels.log_odds(solid + step * up)
        is_clear &= ~(values > 0)
        n_free += values <= 0
    tops: Float[np.ndarray, " n"] = solid[:, 2] + 0.5 * voxels.resolution
    return tops[is_clear & (n_free > 0)]


def levels_of(heights: Float[np.ndarray, " n"], floors: Float[np.ndarray, " k"]) -> Int[np.ndarray, " n"]:
    """The level that what is at each height [m] belongs to: the highest floor below it, with half a metre to spare."""
    found: Int[np.ndarray, " n"] = np.searchsorted(floors - 0.5, heights, side="right") - 1
    return np.maximum(found, 0)


def floor_plans(voxels: VoxelMap) -> list[tuple[float, OccupancyGrid]]:
    """(height [m], grid of the walls) of every level of a voxel map, from below."""
    return [(floor, wall_grid(voxels, floor)) for floor in find_levels(standing_heights(voxels)).tolist()]
