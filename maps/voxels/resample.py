"""Moving blocks: each is resampled at the centres of the voxels that its box covers after the move."""

from __future__ import annotations

from math import floor
from typing import no_type_check

import numpy as np
from numba import njit

from embmem.maps.voxels.blocks import AXIS_LIMIT, SIDE, UNKNOWN, BlockPool, insert, pack, unpack
from embmem.maps.voxels.cast import cell_index

_MAX_NEW = 27  # a cube of 8 voxels, however it is turned, meets at most 3 blocks along an axis


def moved_blocks(pool: BlockPool, T_new_old: np.ndarray, resolution: float) -> BlockPool:
    """A new pool with block i moved by the rigid `T_new_old[i]` (n, 4, 4); where blocks meet, the higher byte wins.

    Asking for every new voxel where it came from leaves no holes, which moving the old voxels would.
    """
    moved = BlockPool()
    coordinates = unpack(pool.keys[: pool.n])
    if pool.n and np.abs(coordinates).max() + np.abs(T_new_old[:, :3, 3]).max() / (resolution * SIDE) > AXIS_LIMIT / 2:
        raise ValueError("the deformation moves voxels out of the range of block keys")
    for row in pool.order():  # blocks, not voxels: a few thousand
        T_voxels = T_new_old[row].copy()
        T_voxels[:3, 3] /= resolution
        inverse = np.linalg.inv(T_voxels)
        moved.reserve(_MAX_NEW)
        moved.n = _move_block(
            coordinates[row], pool.cells[row], pool.stamps[row], T_voxels, inverse, _arrays(moved), moved.n
        )
    moved.revisions[: moved.n] = moved.revision
    return moved


def _arrays(pool: BlockPool) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    return pool.table, pool.keys, pool.cells, pool.stamps


@no_type_check
@njit(cache=True)
def _move_block(coordinate, values, stamp, T, inverse, arrays, n):
    """Write one block, turned and shifted by T (in voxels), into the arrays; returns the new number of blocks."""
    table, keys, cells, stamps = arrays
    R = np.ascontiguousarray(T[:3, :3])
    centre = R @ (coordinate * SIDE + SIDE / 2.0) + T[:3, 3]
    half = np.abs(R).sum(axis=1) * (SIDE / 2.0)
    low = np.floor(centre - half - 0.5).astype(np.int64)
    high = np.floor(centre + half + 0.5).astype(np.int64)
    for x in range(low[0], high[0] + 1):
        for y in range(low[1], high[1] + 1):
            for z in range(low[2], high[2] + 1):
                value = _value_at(inverse, x + 0.5, y + 0.5, z + 0.5, coordinate, values)
                if value == UNKNOWN:
                    continue
                n_before = n
                block, n = insert(table, keys, cells, n, pack(x // SIDE, y // SIDE, z // SIDE))
                stamps[block] = stamp if n > n_before else max(stamps[block], stamp)
                index = cell_index(x, y, z)
                cells[block, index] = max(cells[block, index], value)
    return n


@no_type_check
@njit(cache=True)
def _value_at(inverse, x, y, z, coordinate, values):
    """The byte of the old block from which the new point (x, y, z) came, UNKNOWN outside of the block."""
    # 1e-9 so that a move by whole voxels, whose inverse is rounded, meets the same voxel for sure
    i = floor(inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2] * z + inverse[0, 3] + 1e-9)
    j = floor(inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2] * z + inverse[1, 3] + 1e-9)
    k = floor(inverse[2, 0] * x + inverse[2, 1] * y + inverse[2, 2] * z + inverse[2, 3] + 1e-9)
    i -= coordinate[0] * SIDE
    j -= coordinate[1] * SIDE
    k -= coordinate[2] * SIDE
    if not (0 <= i < SIDE and 0 <= j < SIDE and 0 <= k < SIDE):
        return UNKNOWN
    return values[(i * SIDE + j) * SIDE + k]
