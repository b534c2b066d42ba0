"""Kernels that fold the marks of one frame into the blocks.

A frame first marks a local byte grid that covers its box: however many rays pass a voxel, it is updated once a frame,
and an endpoint beats a pass-through (Hornung et al., OctoMap, Autonomous Robots 2013, sec. 4.1). z runs fastest and
blocks start at multiples of 8, so a row of a block is one 64-bit word.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Int8
from numba import njit

from embmem.maps.voxels.blocks import SCALE, SIDE, UNKNOWN, insert, pack

FREE = 1  # seen through
HIT = 2  # a surface was measured here


def update_table(hit: float, miss: float, low: float, high: float) -> Int8[np.ndarray, "4 256"]:
    """The new byte of a voxel by its marks and its old byte (as unsigned), from log-odds."""
    hit, miss, low, high = (round(x * SCALE) for x in (hit, miss, low, high))
    old = np.arange(256, dtype=np.uint8).view(np.int8)
    known = np.where(old == UNKNOWN, 0, old).astype(np.int64)
    after_hit, after_miss = np.clip(known + hit, low, high), np.clip(known + miss, low, high)
    return np.stack([old, after_miss, after_hit, after_hit]).astype(np.int8)


@no_type_check
@njit(cache=True)
def box_of_ends(ends, n, origin_voxel, padding):
    """(low, high) block coordinates, inclusive, of the box of the first n end voxels and the origin."""
    low, high = origin_voxel.copy(), origin_voxel.copy()
    for i in range(n):
        for axis in range(3):
            value = ends[i, axis]
            low[axis] = min(low[axis], value)
            high[axis] = max(high[axis], value)
    for axis in range(3):
        low[axis] = (low[axis] - padding) // SIDE
        high[axis] = (high[axis] + padding) // SIDE
    return low, high


@no_type_check
@njit(cache=True)
def touched_blocks(words, shape):
    """(n, 3) local coordinates of the blocks that hold a mark; `words` are the marks as (x, y, block z) 64-bit."""
    n_y, n_z = shape[1] // SIDE, shape[2] // SIDE
    is_touched = np.zeros((shape[0] // SIDE, n_y, n_z), dtype=np.bool_)
    for x in range(words.shape[0]):
        for y in range(words.shape[1]):
            for z in range(n_z):
                if words[x, y, z] != 0:
                    is_touched[x // SIDE, y // SIDE, z] = True
    n = 0
    touched = np.empty((is_touched.size, 3), dtype=np.int64)
    for x in range(is_touched.shape[0]):
        for y in range(n_y):
            for z in range(n_z):
                if is_touched[x, y, z]:
                    touched[n, 0], touched[n, 1], touched[n, 2] = x, y, z
                    n += 1
    return touched[:n]


@no_type_check
@njit(cache=True)
def fold(words, touched, low, pool, table_of_updates, n, stamp, revision):
    """Update the touched blocks of the pool from the marks and clear these; returns the new number of blocks.

    Args:
        words: the marks as (x, y, block z) 64-bit words.
        touched: (m, 3) local block coordinates.
        low: (3,) block coordinates of the local grid's corner.
        pool: (table, keys, cells, stamps, revisions) with room for all touched blocks.
    """
    table, keys, cells, stamps, revisions = pool
    for i in range(len(touched)):
        bx, by, bz = touched[i]
        block, n = insert(table, keys, cells, n, pack(bx + low[0], by + low[1], bz + low[2]))
        stamps[block], revisions[block] = stamp, revision
        for row in range(SIDE * SIDE):
            x, y = bx * SIDE + row // SIDE, by * SIDE + row % SIDE
            word = words[x, y, bz]
            if word == 0:
                continue
            words[x, y, bz] = 0
            for z in range(SIDE):
                mark = (word >> np.uint64(8 * z)) & np.uint64(3)
                cells[block, row * SIDE + z] = table_of_updates[mark, np.uint8(cells[block, row * SIDE + z])]
    return n
