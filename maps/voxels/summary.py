"""What each block holds in short: counts and bounds, renewed only for the blocks that changed."""

from __future__ import annotations

import weakref
from math import prod
from typing import Protocol, no_type_check, runtime_checkable

import numpy as np
from jaxtyping import Int
from numba import njit

from embmem.maps.voxels.blocks import AXIS_BITS, AXIS_LIMIT, UNKNOWN, BlockPool

SOLID = 1  # the block holds an occupied voxel
GAPS = 2  # the block holds an unknown voxel
OUTSIDE = 4  # no block is here or farther on
CODE_BITS = 3  # of the flags in an entry of the grid
_MOST_ENTRIES = 1 << 22  # of the grid; blocks of maps that are spread wider are looked up in the table
_LOW_BITS = np.uint64(0x7F7F7F7F7F7F7F7F)
_SIGN_BITS = np.uint64(0x8080808080808080)
_LOW_QUAD = np.uint64(15)
_GATHER = np.uint64(0x0002040810204081)


@no_type_check
@njit(cache=True, inline="always")
def unpack_one(key):
    """The block coordinates of one packed key."""
    mask = (1 << AXIS_BITS) - 1
    return (
        (key >> (2 * AXIS_BITS)) - AXIS_LIMIT,
        ((key >> AXIS_BITS) & mask) - AXIS_LIMIT,
        (key & mask) - AXIS_LIMIT,
    )


@runtime_checkable
class Voxels(Protocol):
    """What the queries ask of a voxel map."""

    resolution: float  # edge of a voxel [m]
    blocks: BlockPool

    def summary(self) -> BlockSummary:
        """What each block holds in short, current."""


class BlockSummary:
    """Arrays beside the rows of a pool; `of` brings them up to date, its cost is that of the blocks that changed.

    `solid` and `stops` have a bit for each voxel, one word a cube of 4^3: the occupied voxels, and those together with
    the unknown. Their row 0 stands for all blocks that are not there, row r + 1 for row r of the pool. `grid` has
    (that row << CODE_BITS | flags) for every place of the box, with one layer around that is `OUTSIDE`.
    """

    def __init__(self) -> None:
        self._pool: weakref.ref[BlockPool] | None = None
        self._revision, self._n = -1, 0
        self.box = np.zeros((2, 3), dtype=np.int64)  # lowest and highest coordinates of blocks, inclusive
        self._allocate(0)

    def of(self, pool: BlockPool) -> BlockSummary:
        """This summary, current for the pool."""
        if self._pool is None or self._pool() is not pool:
            self._pool, self._revision, self._n = weakref.ref(pool), -1, 0
        if self._revision == pool.revision and self._n == pool.n:
            return self
        if len(self.flags) < pool.n:
            self._allocate(len(pool.keys))
            self._n = 0
        before = self.box.copy()
        if self._n == 0:
            self.box[:] = [AXIS_LIMIT], [-AXIS_LIMIT - 1]
        arrays = (self.n_occupied, self.n_free, self.lowest, self.highest, self.flags, self.box)
        _summarise(pool.cells[: pool.n], pool.keys, pool.revisions, self._revision, self._n, arrays)
        _mark_voxels(
            pool.cells[: pool.n].view(np.uint64), pool.revisions, self._revision, self._n, self.solid, self.stops
        )
        if self._n == 0 or not np.array_equal(before, self.box):
            self._revision, self._n = -1, 0
            self.grid = _empty_grid(self.box)
        if self.grid.size:
            _fill_grid(
                self.grid, self.box[0] - 1, pool.keys[: pool.n], pool.revisions, self._revision, self._n, self.flags
            )
        self._revision, self._n = pool.revision, pool.n
        return self

    def _allocate(self, capacity: int) -> None:
        self.n_occupied = np.zeros(capacity, dtype=np.int16)
        self.n_free = np.zeros(capacity, dtype=np.int16)
        self.lowest = np.zeros(capacity, dtype=np.int8)  # over the known voxels; 127 if there are none
        self.highest = np.zeros(capacity, dtype=np.int8)  # UNKNOWN if there are none
        self.flags = np.zeros(capacity, dtype=np.uint8)  # SOLID | GAPS
        self.solid = np.zeros((capacity + 1, 8), dtype=np.uint64)
        self.stops = np.zeros((capacity + 1, 8), dtype=np.uint64)
        self.stops[0] = ~np.uint64(0)
        self.grid = np.empty((0, 0, 0), dtype=np.int32)


def _empty_grid(box: Int[np.ndarray, "2 3"]) -> Int[np.ndarray, "nx ny nz"]:
    """Nothing but gaps in the box of blocks, in a layer that is outside; of size 0 where that would be too large."""
    shape = (box[1] - box[0] + 3).tolist()
    if min(shape) < 3 or prod(shape) > _MOST_ENTRIES:
        return np.empty((0, 0, 0), dtype=np.int32)
    grid = np.full(shape, GAPS | OUTSIDE, dtype=np.int32)
    grid[1:-1, 1:-1, 1:-1] = GAPS
    return grid


@no_type_check
@njit(cache=True, nogil=True)
def _summarise(cells, keys, revisions, since, n_before, arrays):
    """Renew the rows that are new or changed after revision `since`."""
    n_occupied, n_free, lowest, highest, flags, box = arrays
    for row in range(len(cells)):
        if row < n_before and revisions[row] <= since:
            continue
        if row >= n_before:
            coordinates = unpack_one(keys[row])
            for axis in range(3):
                box[0, axis] = min(box[0, axis], coordinates[axis])
                box[1, axis] = max(box[1, axis], coordinates[axis])
        occupied, known, low, high = 0, 0, np.int8(127), UNKNOWN
        for i in range(cells.shape[1]):
            cell = cells[row, i]
            occupied += cell > 0
            known += cell != UNKNOWN
            low = min(low, np.int8(127) if cell == UNKNOWN else cell)
            high = max(high, cell)
        n_occupied[row], n_free[row], lowest[row], highest[row] = occupied, known - occupied, low, high
        flags[row] = (SOLID if occupied > 0 else 0) | (GAPS if known < cells.shape[1] else 0)


@no_type_check
@njit(cache=True, nogil=True)
def _mark_voxels(cells, revisions, since, n_before, solid, stops):
    """Renew the bits of the rows that are new or changed after revision `since`; `cells` has eight voxels a word."""
    for row in range(len(cells)):
        if row < n_before and revisions[row] <= since:
            continue
        for corner in range(4):  # by x and y; the cubes below and above in z go together
            first = (corner >> 1) * 32 + (corner & 1) * 4
            solid_0 = solid_1 = stops_0 = stops_1 = np.uint64(0)
            for i in range(16):
                word = cells[row, first + (i >> 2) * 8 + (i & 3)]
                some = (word & _LOW_BITS) + _LOW_BITS  # the sign bit of a byte: whether another bit of it is set
                occupied = ((some & ~word & _SIGN_BITS) * _GATHER) >> np.uint64(56)
                stop = (((some ^ word) & _SIGN_BITS) * _GATHER) >> np.uint64(56)
                shift = np.uint64(4 * i)
                solid_0 |= (occupied & _LOW_QUAD) << shift
                solid_1 |= (occupied >> np.uint64(4)) << shift
                stops_0 |= (stop & _LOW_QUAD) << shift
                stops_1 |= (stop >> np.uint64(4)) << shift
            solid[row + 1, 2 * corner], solid[row + 1, 2 * corner + 1] = solid_0, solid_1
            stops[row + 1, 2 * corner], stops[row + 1, 2 * corner + 1] = stops_0, stops_1


@no_type_check
@njit(cache=True, nogil=True)
def _fill_grid(grid, corner, keys, revisions, since, n_before, flags):
    """Renew the entries of the rows that are new or changed after revision `since`."""
    for row in range(len(keys)):
        if row >= n_before or revisions[row] > since:
            x, y, z = unpack_one(keys[row])
            grid[x - corner[0], y - corner[1], z - corner[2]] = ((row + 1) << CODE_BITS) | flags[row]
