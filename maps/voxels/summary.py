"""What each block holds in short: counts and bounds, renewed only for the blocks that changed."""

from __future__ import annotations

import weakref
from typing import Protocol, no_type_check, runtime_checkable

import numpy as np
from numba import njit

from embmem.maps.voxels.blocks import AXIS_BITS, AXIS_LIMIT, UNKNOWN, BlockPool

SOLID = 1  # the block holds an occupied voxel
GAPS = 2  # the block holds an unknown voxel


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
    """Arrays beside the rows of a pool; `of` brings them up to date, its cost is that of the blocks that changed."""

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
        if self._n == 0:
            self.box[:] = [AXIS_LIMIT], [-AXIS_LIMIT - 1]
        arrays = (self.n_occupied, self.n_free, self.lowest, self.highest, self.flags, self.box)
        _summarise(pool.cells[: pool.n], pool.keys, pool.revisions, self._revision, self._n, arrays)
        self._revision, self._n = pool.revision, pool.n
        return self

    def _allocate(self, capacity: int) -> None:
        self.n_occupied = np.zeros(capacity, dtype=np.int16)
        self.n_free = np.zeros(capacity, dtype=np.int16)
        self.lowest = np.zeros(capacity, dtype=np.int8)  # over the known voxels; 127 if there are none
        self.highest = np.zeros(capacity, dtype=np.int8)  # UNKNOWN if there are none
        self.flags = np.zeros(capacity, dtype=np.uint8)  # SOLID | GAPS


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
