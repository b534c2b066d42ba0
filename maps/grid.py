"""The floor plan: a top-down occupancy grid, kept up to date from the voxels that changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import no_type_check

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, Int8, UInt8
from numba import njit
from scipy import ndimage

from embmem.maps.voxels.blocks import SIDE, UNKNOWN, BlockPool, find, pack, unpack
from embmem.maps.voxels.voxel_map import VoxelMap

UNSEEN, FREE, OCCUPIED = -1, 0, 100  # the values of nav_msgs/OccupancyGrid
_SLAB = 8  # blocks added around when the grid has to grow


@dataclass(frozen=True, eq=False)
class Frontier:
    """A connected piece of the border between what is free and what was never seen."""

    cells: np.ndarray  # (n, 2) row, column
    centre: np.ndarray  # (2,) [m], the centre of that cell of the frontier which is nearest to the mean of all

    def __len__(self) -> int:
        return len(self.cells)


@dataclass(eq=False)
class OccupancyGrid:
    """Cells seen from above: rows along +y, columns along +x, in the frame of the map."""

    origin: Float[np.ndarray, "2"]  # [m] corner of cell (0, 0) with the lowest x and y
    resolution: float  # edge of a cell [m]
    cells: Int8[np.ndarray, "h w"]  # -1 unseen, 0 free, 100 occupied

    @classmethod
    def from_voxels(
        cls, voxels: VoxelMap, z_min: float = 0.15, z_max: float = 1.0, z_floor: float = -0.15
    ) -> OccupancyGrid:
        """The grid of a voxel map as it is now; see `GridBuilder`."""
        return GridBuilder(voxels, z_min, z_max, z_floor).update()

    def to_cells(self, points: Float[np.ndarray, "n c"]) -> Int[np.ndarray, "n 2"]:
        """(row, column) of the cells that hold the points [m], x first; they may lie outside of the grid."""
        return np.floor((points[:, 1::-1] - self.origin[::-1]) / self.resolution).astype(np.int64)

    def to_points(self, cells: Int[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """Centres (x, y) [m] of the cells (row, column)."""
        return (cells[:, ::-1] + 0.5) * self.resolution + self.origin

    def contains(self, cells: Int[np.ndarray, "n 2"]) -> Bool[np.ndarray, " n"]:
        """Whether the cells (row, column) lie in the grid."""
        return np.all((cells >= 0) & (cells < self.cells.shape), axis=1)

    def inflate(self, radius: float) -> Bool[np.ndarray, "h w"]:
        """True where the centre of an occupied cell is at most `radius` [m] from the centre of the cell."""
        if self.cells.size == 0:
            return np.zeros(self.cells.shape, dtype=np.bool_)
        reach = int(radius / self.resolution + 1e-9)
        y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
        disc = (np.hypot(y, x) * self.resolution <= radius + 1e-9).astype(np.uint8)
        return cv2.dilate((self.cells == OCCUPIED).astype(np.uint8), disc).view(np.bool_)

    def costs(self, inscribed: float, inflation: float, scaling: float = 3.0) -> UInt8[np.ndarray, "h w"]:
        """What it costs to have a robot's centre in each cell, in the numbers of a Nav2 costmap.

        Occupied cells cost 254, those within `inscribed` 253: there the robot touches something whichever way it is
        turned. Farther away the cost is 252 exp(-scaling (distance - inscribed)), up to `inflation`, beyond it is 0.
        Unseen cells cost 255. Distances are between the centres of cells (nav2_costmap_2d, InflationLayer).

        Args:
            inscribed: [m] radius of the largest circle inside the robot.
            inflation: [m] up to which obstacles are felt.
            scaling: [1/m] how fast the cost falls.
        """
        if not (0.0 <= inscribed <= inflation < np.inf and scaling > 0.0):
            raise ValueError(f"need 0 <= inscribed <= inflation and scaling > 0, got {inscribed, inflation, scaling}")
        occupied = self.cells == OCCUPIED
        costs = np.zeros(self.cells.shape, dtype=np.uint8)
        if occupied.any():
            distance = ndimage.distance_transform_edt(~occupied) * self.resolution
            near = distance <= inflation + 1e-9
            costs[near] = 252.0 * np.exp(-scaling * np.maximum(distance[near] - inscribed, 0.0))
            costs[distance <= inscribed + 1e-9] = 253
            costs[occupied] = 254
        costs[self.cells == UNSEEN] = 255
        return costs

    def is_frontier(self) -> Bool[np.ndarray, "h w"]:
        """True for the free cells with an unseen cell beside them; beyond the grid nothing was seen."""
        unseen = np.pad(self.cells == UNSEEN, 1, constant_values=True)
        beside = unseen[:-2, 1:-1] | unseen[2:, 1:-1] | unseen[1:-1, :-2] | unseen[1:-1, 2:]
        return (self.cells == FREE) & beside

    def frontiers(self, min_cells: int = 3) -> list[Frontier]:
        """The 8-connected frontiers of at least `min_cells` cells, largest first; ties from the lowest row and column.

        Yamauchi, A frontier-based approach for autonomous exploration, CIRA 1997.
        """
        labels, n = ndimage.label(self.is_frontier(), structure=np.ones((3, 3)))
        if n == 0:
            return []
        cells = np.argwhere(labels > 0)
        of = labels[cells[:, 0], cells[:, 1]]
        cells = cells[np.argsort(of, kind="stable")]
        groups = np.split(cells, np.cumsum(np.bincount(of)[1:])[:-1])
        groups = sorted((g for g in groups if len(g) >= min_cells), key=len, reverse=True)
        middles = [g[np.argmin(((g - g.mean(axis=0)) ** 2).sum(axis=1))] for g in groups]
        return [Frontier(g, self.to_points(m[None])[0]) for g, m in zip(groups, middles, strict=True)]


class GridBuilder:
    """Derives the grid of a voxel map and keeps it current at the cost of the blocks that changed.

    A cell is occupied if a voxel of its column between `z_min` and `z_max` is. Else it is free if one of these voxels
    is known to be free, or if the floor was seen: an occupied voxel between `z_floor` and `z_min`. Else it is unseen.
    """

    def __init__(self, voxels: VoxelMap, z_min: float = 0.15, z_max: float = 1.0, z_floor: float = -0.15) -> None:
        """Heights [m] are rounded to whole voxels."""
        if not z_floor <= z_min < z_max:
            raise ValueError(f"need z_floor <= z_min < z_max, got {z_floor}, {z_min}, {z_max}")
        self.voxels = voxels
        self._heights = np.array([round(z / voxels.resolution) for z in (z_floor, z_min, z_max)])
        if self._heights[1] == self._heights[2]:
            raise ValueError(f"between z_min {z_min} and z_max {z_max} lies no voxel of {voxels.resolution} m")
        self._pool: BlockPool | None = None
        self._revision = -1
        self._corner = np.zeros(2, dtype=np.int64)  # block coordinates (x, y) of the grid's corner
        self._shape = np.zeros(2, dtype=np.int64)  # in blocks (x, y)
        self.grid = OccupancyGrid(np.zeros(2), voxels.resolution, np.empty((0, 0), dtype=np.int8))

    def update(self) -> OccupancyGrid:
        """The grid as of now. It is the same object until the map outgrows it or is deformed: do not keep its cells."""
        pool = self.voxels.blocks
        if pool is not self._pool:  # the first time, and after a deformation
            self._pool, self._revision, self._shape = pool, -1, np.zeros(2, dtype=np.int64)
            self.grid = OccupancyGrid(np.zeros(2), self.voxels.resolution, np.empty((0, 0), dtype=np.int8))
        changed = np.flatnonzero(pool.revisions[: pool.n] > self._revision)
        self._revision = pool.revision
        blocks = unpack(pool.keys[changed])
        low, high = self._heights[0] // SIDE, (self._heights[2] - 1) // SIDE
        blocks = blocks[(blocks[:, 2] >= low) & (blocks[:, 2] <= high)]
        if len(blocks):
            self._cover(blocks[:, :2].min(axis=0), blocks[:, :2].max(axis=0))
            columns = _distinct(blocks, self._corner, self._shape)
            _update_columns(pool.table, pool.keys, pool.cells, columns, self._corner, self._heights, self.grid.cells)
        return self.grid

    def _cover(self, low: np.ndarray, high: np.ndarray) -> None:
        """Make the grid cover the blocks `low` to `high` (x, y), with some room to spare."""
        old_corner, old_end = self._corner, self._corner + self._shape
        if self._shape.all() and (low >= old_corner).all() and (high < old_end).all():
            return
        if not self._shape.all():
            old_corner, old_end = low, high + 1
        corner = np.where(low < old_corner, low - _SLAB, old_corner)
        end = np.where(high >= old_end, high + 1 + _SLAB, old_end)
        width, height = (end - corner) * SIDE
        cells = np.full((height, width), UNSEEN, dtype=np.int8)
        column, row = (self._corner - corner) * SIDE
        old = self.grid.cells
        cells[row : row + old.shape[0], column : column + old.shape[1]] = old
        self._corner, self._shape = corner, end - corner
        resolution = self.voxels.resolution
        self.grid = OccupancyGrid(corner * SIDE * resolution, resolution, cells)


def _distinct(blocks: np.ndarray, corner: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """(n, 2) the block columns (x, y) that hold the blocks, each once."""
    is_in = np.zeros(tuple(shape), dtype=np.bool_)
    is_in[blocks[:, 0] - corner[0], blocks[:, 1] - corner[1]] = True
    return np.argwhere(is_in) + corner


@no_type_check
@njit(cache=True, nogil=True)
def _update_columns(table, keys, pool_cells, columns, corner, heights, cells):
    """Recompute the cells over each block column from all voxels between the floor and z_max."""
    floor_seen = np.empty((SIDE, SIDE), dtype=np.bool_)
    state = np.empty((SIDE, SIDE), dtype=np.int8)
    z_floor, z_min, z_max = heights
    for i in range(len(columns)):
        bx, by = columns[i]
        floor_seen[:] = False
        state[:] = UNSEEN
        for bz in range(z_floor // SIDE, (z_max - 1) // SIDE + 1):
            block = find(table, keys, pack(bx, by, bz))
            if block >= 0:
                low, high = max(z_floor - bz * SIDE, 0), min(z_max - bz * SIDE, SIDE)
                _read_block(pool_cells[block], low, high, z_min - bz * SIDE, floor_seen, state)
        x0, y0 = (bx - corner[0]) * SIDE, (by - corner[1]) * SIDE
        for x in range(SIDE):
            for y in range(SIDE):
                value = state[x, y]
                cells[y0 + y, x0 + x] = FREE if value == UNSEEN and floor_seen[x, y] else value


@no_type_check
@njit(cache=True, nogil=True)
def _read_block(block, low, high, first, floor_seen, state):
    """Merge the layers low..high of a block into the columns; below `first` they are floor."""
    for x in range(SIDE):
        for y in range(SIDE):
            for z in range(low, high):
                value = block[(x * SIDE + y) * SIDE + z]
                if value == UNKNOWN:
                    continue
                if z < first:
                    floor_seen[x, y] |= value > 0
                elif value > 0:
                    state[x, y] = OCCUPIED
                elif state[x, y] == UNSEEN:
                    state[x, y] = FREE
