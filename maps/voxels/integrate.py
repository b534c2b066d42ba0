"""Kernels that fold the marks of one frame into the blocks.

A frame first marks a local byte grid that covers its box: however many rays pass a voxel, it is updated once a frame,
and an endpoint beats a pass-through (Hornung et al., OctoMap, Autonomous Robots 2013, sec. 4.1). z runs fastest and
blocks start at multiples of 8, so a row of a block is one 64-bit word.

Free space is marked first and hits after it, so every racing store of a phase writes the same value: the marks do not
depend on how many threads wrote them.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

from embmem.maps.voxels.blocks import SCALE, SIDE, UNKNOWN, VOLUME, insert, pack

FREE = 1  # seen through
HIT = 2  # a surface was measured here


def byte_steps(hit: float, miss: float, low: float, high: float) -> tuple[np.int16, np.int16, np.int16, np.int16]:
    """What `new_byte` adds to a voxel and between what it clamps, from log-odds."""
    in_bytes = [np.int16(round(x * SCALE)) for x in (hit, miss, low, high)]
    return in_bytes[0], in_bytes[1], in_bytes[2], in_bytes[3]


@no_type_check
@njit(error_model="numpy")
def new_byte(mark, old, steps):
    """The byte of a voxel after a frame from its mark, its old byte and `byte_steps`."""
    hit, miss, low, high = steps
    known = np.int16(0) if old == UNKNOWN else np.int16(old)
    moved = np.int16(known + (hit if mark == HIT else miss))
    moved = min(max(moved, low), high)
    return old if mark == 0 else np.int8(moved)


@no_type_check
@njit(cache=True, nogil=True)
def touched_blocks(words, is_touched, start, stop):
    """Set (x, y, z) of `is_touched` where a block holds a mark, for start <= x < stop.

    Args:
        words: the marks as (x, y, block z) 64-bit words.
        is_touched: bool, one a block.
    """
    n_z = words.shape[2]
    seen = np.empty(n_z, dtype=np.uint64)
    for block_x in range(start, stop):
        for block_y in range(is_touched.shape[1]):
            seen[:] = 0
            for x in range(block_x * SIDE, block_x * SIDE + SIDE):
                for y in range(block_y * SIDE, block_y * SIDE + SIDE):
                    for z in range(n_z):
                        seen[z] |= words[x, y, z]
            for z in range(n_z):
                is_touched[block_x, block_y, z] = seen[z] != 0


@no_type_check
@njit(cache=True, nogil=True)
def locate_blocks(touched, low, pool, n, stamp, revision, rows):
    """Write the row of each touched block to `rows`, new ones appended; returns the new number of blocks.

    Args:
        touched: (m, 3) block coordinates in the local grid.
        low: (3,) block coordinates of the local grid's corner.
        pool: (table, keys, cells, stamps, revisions) with room for all touched blocks.
    """
    table, keys, cells, stamps, revisions = pool
    for i in range(len(touched)):
        key = pack(touched[i, 0] + low[0], touched[i, 1] + low[1], touched[i, 2] + low[2])
        rows[i], n = insert(table, keys, cells, n, key)
        stamps[rows[i]], revisions[rows[i]] = stamp, revision
    return n


@no_type_check
@njit(cache=True, nogil=True, error_model="numpy")
def fold(words, touched, rows, cells, steps, start, stop):
    """Update the blocks `rows` from the marks of the blocks `touched`, start <= i < stop, and clear these marks."""
    marks = np.empty(VOLUME, dtype=np.uint8)
    packed = marks.view(np.uint64)
    for i in range(start, stop):
        x, y, z = touched[i, 0] * SIDE, touched[i, 1] * SIDE, touched[i, 2]
        for row in range(SIDE * SIDE):
            packed[row] = words[x + row // SIDE, y + row % SIDE, z]
            words[x + row // SIDE, y + row % SIDE, z] = 0
        block = cells[rows[i]]
        for j in range(VOLUME):
            block[j] = new_byte(marks[j], block[j], steps)
