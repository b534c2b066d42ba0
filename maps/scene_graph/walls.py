"""The floor plan of the walls alone: what reaches high, with the furniture left out."""

from __future__ import annotations

import numpy as np

from embmem.maps.grid import OCCUPIED, UNSEEN, GridBuilder, OccupancyGrid
from embmem.maps.voxels.voxel_map import VoxelMap


def wall_grid(
    voxels: VoxelMap, floor: float = 0.0, *, low: float = 0.15, high: float = 1.45, top: float = 1.85
) -> OccupancyGrid:
    """Walls of one level as an occupancy grid: cells are occupied where something stands between `high` and `top`.

    Few pieces of furniture reach that high, and doors are open there. Where the upper band was not seen, a cell is free
    if the lower one is, from `low` to `high`, or if the floor was seen; it stays unseen over furniture.

    Args:
        voxels: the map.
        floor: height of the floor of this level in the map [m]; the other heights count from it.
        low: [m] lowest part of things that stand on the floor.
        high: [m] above which walls are told from furniture.
        top: [m] below the lintels of doors.
    """
    above = GridBuilder(voxels, floor + high, floor + top, floor + high).update()
    below = GridBuilder(voxels, floor + low, floor + high, floor - low).update()
    grids = [grid for grid in (above, below) if grid.cells.size]
    if not grids:
        return above
    resolution = voxels.resolution
    corners = [np.rint(grid.origin / resolution).astype(np.int64) for grid in grids]
    corner = np.min(corners, axis=0)
    end = np.max([c + grid.cells.shape[::-1] for c, grid in zip(corners, grids, strict=True)], axis=0)
    upper, lower = (_placed(grid, corner, end - corner) for grid in (above, below))
    cells = np.where(upper == UNSEEN, np.where(lower == OCCUPIED, UNSEEN, lower), upper).astype(np.int8)
    return OccupancyGrid(corner * resolution, resolution, cells)


def _placed(grid: OccupancyGrid, corner: np.ndarray, size: np.ndarray) -> np.ndarray:
    """The cells of a grid in a larger frame, `size` (x, y) cells from `corner`."""
    cells = np.full((size[1], size[0]), UNSEEN, dtype=np.int8)
    column, row = np.rint(grid.origin / grid.resolution).astype(np.int64) - corner
    h, w = grid.cells.shape
    cells[row : row + h, column : column + w] = grid.cells
    return cells
