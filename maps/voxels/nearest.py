"""The occupied voxels nearest to points: blocks are searched outward ring by ring, so a changed map costs nothing."""

from __future__ import annotations

from math import floor, sqrt
from typing import no_type_check

import numpy as np
from jaxtyping import Float
from numba import njit

from embmem.maps.voxels import morton
from embmem.maps.voxels.blocks import AXIS_LIMIT, SIDE, find, pack
from embmem.maps.voxels.parallel import in_parts
from embmem.maps.voxels.summary import SOLID, Voxels, unpack_one

_LOW_BITS = np.uint64(0x7F7F7F7F7F7F7F7F)
_SIGN_BITS = np.uint64(0x8080808080808080)
_SLACK = 1.0 + 1e-9  # bounds of blocks are rounded; a tie behind one must still be seen


def nearest(
    voxels: Voxels, points: Float[np.ndarray, "n 3"], k: int = 1, *, threads: int = 1
) -> tuple[Float[np.ndarray, "n k 3"], Float[np.ndarray, "n k"]]:
    """(centres, distances) [m] of the k occupied voxels nearest to each point, nearest first.

    Of voxels at the same distance the one that the map lists first comes first. NaN and inf where there are fewer.

    Raises:
        ValueError: if a point is not finite or k < 1.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    points = np.ascontiguousarray(points, dtype=np.float64)
    bad = ~np.isfinite(points).all(axis=1)
    if bad.any():
        raise ValueError(f"points must be finite, got {points[bad][0]}")
    pool, summary = voxels.blocks, voxels.summary()
    centres, distances = np.full((len(points), k, 3), np.nan), np.full((len(points), k), np.inf)
    words = pool.cells.reshape(-1).view(np.uint64).reshape(len(pool.cells), -1)
    blocks = (pool.table, pool.keys[: pool.n], words, summary.flags)

    def search(part: slice) -> None:
        _nearest(blocks, summary.box, points[part], voxels.resolution, (distances[part], centres[part]))

    in_parts(search, len(points), threads)
    return centres, distances


@no_type_check
@njit(cache=True, nogil=True, error_model="numpy")
def _nearest(blocks, box, points, resolution, found):
    distances, centres = found
    k = distances.shape[1]
    best = np.empty((k, 4), dtype=np.int64)  # voxel and row of its block
    for i in range(len(points)):
        distances[i] = np.inf
        if not _search_rings(blocks, box, points[i], resolution, distances[i], best):
            distances[i] = np.inf
            _search_all(blocks, points[i], resolution, distances[i], best)
        for j in range(k):
            if distances[i, j] < np.inf:
                for axis in range(3):
                    centres[i, j, axis] = (best[j, axis] + 0.5) * resolution


@no_type_check
@njit(cache=True, error_model="numpy")
def _search_rings(blocks, box, point, resolution, distances, best):
    """Search the cubes of blocks around the point until none can hold a nearer voxel; False if that takes too long."""
    table, keys, words, flags = blocks
    edge = SIDE * resolution
    low, high, start, inner = np.empty(3, np.int64), np.empty(3, np.int64), np.empty(3, np.int64), np.inf
    for axis in range(3):
        at = floor(point[axis] / edge)
        if not box[0, axis] - 8.0 <= at <= box[1, axis] + 8.0:
            return False
        start[axis] = np.int64(at)
        inner = min(inner, point[axis] / edge - at, at + 1.0 - point[axis] / edge)
    ring = 0
    while (2 * ring + 1) ** 3 <= 64 + len(keys) // 2:
        if ((ring - 1 + inner) * SIDE + 0.5) * resolution > distances[-1] * _SLACK:
            return True
        for axis in range(3):
            low[axis] = max(start[axis] - ring, box[0, axis])
            high[axis] = min(start[axis] + ring, box[1, axis])
        for x in range(low[0], high[0] + 1):
            for y in range(low[1], high[1] + 1):
                on_side = abs(x - start[0]) == ring or abs(y - start[1]) == ring
                step = 1 if on_side or ring == 0 else 2 * ring
                for z in range(low[2] if on_side else start[2] - ring, high[2] + 1, step):
                    if z < low[2] or _gap(x, y, z, point, resolution) > distances[-1] * _SLACK:
                        continue
                    row = find(table, keys, pack(x, y, z))
                    if row >= 0 and flags[row] & SOLID:
                        _search_block(keys, words, row, point, resolution, distances, best)
        ring += 1
    return False


@no_type_check
@njit(cache=True, error_model="numpy")
def _search_all(blocks, point, resolution, distances, best):
    """Search the blocks that lie nearest until there is a bound, then all those within it."""
    _, keys, words, flags = blocks
    if len(keys) == 0:
        return
    gaps = np.empty(len(keys))
    for row in range(len(keys)):
        x, y, z = unpack_one(keys[row])
        gaps[row] = _gap(x, y, z, point, resolution) if flags[row] & SOLID else np.inf
    while distances[-1] == np.inf:
        row = np.argmin(gaps)
        if gaps[row] == np.inf:
            return
        _search_block(keys, words, row, point, resolution, distances, best)
        gaps[row] = np.inf
    for row in range(len(keys)):
        if gaps[row] <= distances[-1] * _SLACK:
            _search_block(keys, words, row, point, resolution, distances, best)


@no_type_check
@njit(cache=True, error_model="numpy")
def _gap(x, y, z, point, resolution):
    """Distance [m] from the point to the box of the centres of a block's voxels."""
    square = 0.0
    for axis, block in enumerate((x, y, z)):
        low = (block * SIDE + 0.5) * resolution
        gap = max(low - point[axis], point[axis] - (low + (SIDE - 1) * resolution), 0.0)
        square += gap * gap
    return sqrt(square)


@no_type_check
@njit(cache=True, error_model="numpy")
def _search_block(keys, words, row, point, resolution, distances, best):
    """Take the occupied voxels of one block into the sorted list of the best."""
    bx, by, bz = unpack_one(keys[row])
    for i in range(SIDE * SIDE):
        word = words[row, i]
        if ((word & _LOW_BITS) + _LOW_BITS) & ~word & _SIGN_BITS == 0:
            continue  # none of the 8 bytes is > 0
        x, y = bx * SIDE + i // SIDE, by * SIDE + i % SIDE
        dx, dy = (x + 0.5) * resolution - point[0], (y + 0.5) * resolution - point[1]
        for j in range(SIDE):
            if np.int8(word >> np.uint64(8 * j)) <= 0:
                continue
            z = bz * SIDE + j
            dz = (z + 0.5) * resolution - point[2]
            distance = sqrt(dx * dx + dy * dy + dz * dz)
            if distance <= distances[-1]:
                _insert((x, y, z, np.int64(row)), distance, keys, distances, best)


@no_type_check
@njit(cache=True)
def _insert(voxel, distance, keys, distances, best):
    """Put a voxel where it belongs, if it does."""
    place = len(distances)
    while place > 0 and (
        distance < distances[place - 1]
        or (distance == distances[place - 1] and distance < np.inf and _is_listed_before(voxel, best[place - 1], keys))
    ):
        if place < len(distances):
            distances[place] = distances[place - 1]
            best[place] = best[place - 1]
        place -= 1
    if place < len(distances):
        distances[place] = distance
        for i in range(4):
            best[place, i] = voxel[i]


@no_type_check
@njit(cache=True)
def _is_listed_before(a, b, keys):
    """Whether voxel a comes before b in the order of the map: Morton order of blocks, then x, y, z."""
    if a[3] == b[3]:
        return (a[0], a[1], a[2]) < (b[0], b[1], b[2])
    return _code(keys[a[3]]) < _code(keys[b[3]])


@no_type_check
@njit(cache=True)
def _code(key):
    x, y, z = unpack_one(key)
    return morton.code(x + AXIS_LIMIT, y + AXIS_LIMIT, z + AXIS_LIMIT)
