"""Moving blocks: each is resampled at the centres of the voxels that its box covers after the move.

A turned voxel may lie between the centres. With `keep_all` an occupied one that no centre asks for goes where its own
centre goes: every occupied voxel is found again less than a voxel from where it should be.
"""

from __future__ import annotations

from math import ceil, floor
from typing import no_type_check

import numpy as np
from jaxtyping import Float
from numba import njit

from embmem.maps.voxels.blocks import AXIS_LIMIT, SIDE, UNKNOWN, VOLUME, BlockPool, insert, pack, unpack
from embmem.maps.voxels.cast import cell_index

_MAX_NEW = 27  # a cube of 8 voxels, however it is turned, meets at most 3 blocks along an axis
_CHUNK = 4096  # blocks whose channels are copied at once


def moved_blocks(
    pool: BlockPool, T_new_old: Float[np.ndarray, "n 4 4"], resolution: float, *, keep_all: bool = False
) -> BlockPool:
    """A new pool with block i moved by the rigid `T_new_old[i]`.

    Where blocks meet, the higher byte wins, of equal ones the first in Morton order; the channels come with it. Asking
    for every new voxel where it came from leaves no holes, which moving the old voxels would.

    Raises:
        ValueError: if a block moves out of the range of keys.
    """
    moved, order = BlockPool(), pool.order()
    coordinates = unpack(pool.keys[: pool.n])
    if pool.n and np.abs(coordinates).max() + np.abs(T_new_old[:, :3, 3]).max() / (resolution * SIDE) > AXIS_LIMIT / 2:
        raise ValueError("the deformation moves voxels out of the range of block keys")
    T_voxels = np.array(T_new_old, dtype=np.float64)
    T_voxels[:, :3, 3] /= resolution
    inverse = np.linalg.inv(T_voxels)
    sources = np.zeros((0, VOLUME), dtype=np.int64)  # 1 + the place of a voxel in the old pool
    done = 0
    while done < pool.n:
        n_room = 2 * (pool.n - done) + _MAX_NEW
        moved.reserve(n_room)
        if pool.channels and len(sources) < moved.n + n_room:
            larger = np.zeros((max(len(moved.keys), moved.n + n_room), VOLUME), dtype=np.int64)
            larger[: moved.n] = sources[: moved.n]
            sources = larger
        old = (coordinates, pool.cells, pool.stamps)
        new = (moved.table, moved.keys, moved.cells, moved.stamps)
        done, moved.n = _move_blocks(
            order, done, old, T_voxels, inverse, new, sources, moved.n, moved.n + n_room, keep_all
        )
    moved.revisions[: moved.n] = moved.revision
    for name, channel in pool.channels.items():
        old_rows = channel[: pool.n].reshape(pool.n * VOLUME, *channel.shape[2:])
        target = moved.add_channel(name, channel.dtype, channel.shape[2:])
        for start in range(0, moved.n, _CHUNK):
            rows = slice(start, min(start + _CHUNK, moved.n))
            known = sources[rows] > 0
            target[rows][known] = old_rows[sources[rows][known] - 1]
    return moved


@no_type_check
@njit(cache=True)
def _move_blocks(order, done, old, T, inverse, new, sources, n, room, keep_all):
    """Write blocks from order[done] on while there is room; returns how many are done and the number of new blocks."""
    coordinates, cells, stamps = old
    while done < len(order) and n + _MAX_NEW <= room:
        row = order[done]
        n = _move_block(coordinates[row], row, cells[row], stamps[row], T[row], inverse[row], new, sources, n, keep_all)
        done += 1
    return done, n


@no_type_check
@njit(cache=True)
def _move_block(coordinate, row, values, stamp, T, inverse, new, sources, n, keep_all):
    """Write one block, turned and shifted by T (in voxels), into the arrays; returns the new number of blocks."""
    cells = new[2]
    low, high = np.empty(3, dtype=np.int64), np.empty(3, dtype=np.int64)
    for axis in range(3):
        centre, half = T[axis, 3], 0.0
        for other in range(3):
            centre += T[axis, other] * (coordinate[other] * SIDE + SIDE / 2.0)
            half += abs(T[axis, other]) * (SIDE / 2.0)
        low[axis], high[axis] = floor(centre - half - 0.5), floor(centre + half + 0.5)
    place = np.empty(3)
    found = np.full(64, -1, dtype=np.int64)  # rows of the blocks that this one meets, by the low bits of their place
    asked = np.zeros(VOLUME, dtype=np.bool_)
    for x in range(low[0], high[0] + 1):
        for y in range(low[1], high[1] + 1):
            for axis in range(3):
                place[axis] = inverse[axis, 0] * (x + 0.5) + inverse[axis, 1] * (y + 0.5)
            first, last = _inside(place, inverse, coordinate, low[2], high[2])
            for z in range(first, last + 1):
                source = _source(place, inverse, coordinate, z)
                if source < 0 or values[source] == UNKNOWN:
                    continue
                asked[source] = True
                block, n = _block_at(x, y, z, found, new, stamp, n)
                index = cell_index(x, y, z)
                if values[source] > cells[block, index]:
                    cells[block, index] = values[source]
                    if len(sources) > 0:
                        sources[block, index] = 1 + row * VOLUME + source
    if not keep_all:
        return n
    return _move_missed(coordinate, row, values, stamp, T, asked, found, new, sources, n)


@no_type_check
@njit(cache=True)
def _move_missed(coordinate, row, values, stamp, T, asked, found, new, sources, n):
    """Write the occupied voxels of a block that no centre asked for; returns the new number of blocks."""
    cells = new[2]
    for source in range(VOLUME):
        if asked[source] or values[source] <= 0:
            continue
        x, y, z = _target(T, coordinate, source)
        block, n = _block_at(x, y, z, found, new, stamp, n)
        index = cell_index(x, y, z)
        if values[source] > cells[block, index]:
            cells[block, index] = values[source]
            if len(sources) > 0:
                sources[block, index] = 1 + row * VOLUME + source
    return n


@no_type_check
@njit(cache=True, inline="always")
def _block_at(x, y, z, found, new, stamp, n):
    """(row, new number of blocks) of the new block around a voxel."""
    table, keys, cells, stamps = new
    place = (x // SIDE % 4 * 4 + y // SIDE % 4) * 4 + z // SIDE % 4
    if found[place] < 0:
        n_before = n
        found[place], n = insert(table, keys, cells, n, pack(x // SIDE, y // SIDE, z // SIDE))
        stamps[found[place]] = stamp if n > n_before else max(stamps[found[place]], stamp)
    return found[place], n


@no_type_check
@njit(cache=True, inline="always")
def _target(T, coordinate, source):
    """The voxel in which the centre of an old one ends."""
    i = coordinate[0] * SIDE + source // (SIDE * SIDE) + 0.5
    j = coordinate[1] * SIDE + source // SIDE % SIDE + 0.5
    k = coordinate[2] * SIDE + source % SIDE + 0.5
    x = floor(T[0, 0] * i + T[0, 1] * j + T[0, 2] * k + T[0, 3])
    y = floor(T[1, 0] * i + T[1, 1] * j + T[1, 2] * k + T[1, 3])
    z = floor(T[2, 0] * i + T[2, 1] * j + T[2, 2] * k + T[2, 3])
    return x, y, z


@no_type_check
@njit(cache=True)
def _inside(place, inverse, coordinate, first, last):
    """The part of [first, last] along z that may come from the block, one voxel wider for rounding."""
    for axis in range(3):
        slope = inverse[axis, 2]
        if abs(slope) < 1e-6:
            continue
        start = place[axis] + inverse[axis, 3] - coordinate[axis] * SIDE
        a, b = -start / slope, (SIDE - start) / slope
        first, last = max(first, ceil(min(a, b) - 1.5)), min(last, floor(max(a, b) + 0.5))
    return first, last


@no_type_check
@njit(cache=True, inline="always")
def _source(place, inverse, coordinate, z):
    """The place in the old block from which the new voxel at height z came, -1 outside of the block."""
    # 1e-9 so that a move by whole voxels, whose inverse is rounded, meets the same voxel for sure
    i = floor(place[0] + inverse[0, 2] * (z + 0.5) + inverse[0, 3] + 1e-9) - coordinate[0] * SIDE
    j = floor(place[1] + inverse[1, 2] * (z + 0.5) + inverse[1, 3] + 1e-9) - coordinate[1] * SIDE
    k = floor(place[2] + inverse[2, 2] * (z + 0.5) + inverse[2, 3] + 1e-9) - coordinate[2] * SIDE
    if not (0 <= i < SIDE and 0 <= j < SIDE and 0 <= k < SIDE):
        return -1
    return (i * SIDE + j) * SIDE + k
