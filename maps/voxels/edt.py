"""Kernels of the exact Euclidean distance transform, cut off at a reach, of cubes of blocks.

The squared distance splits by axis: min over x of (distance along x)^2, then over y, then over z (Saito and Toriwaki,
Pattern Recognition 1994). Within a short reach the plain minimum over all offsets, which runs 16 voxels at a time, is
faster than lower envelopes (Felzenszwalb and Huttenlocher, Theory of Computing 2012), and a row that no farther
offset can improve ends early.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

from embmem.maps.voxels.blocks import AXIS_BITS, AXIS_LIMIT, SIDE, find, pack

FAR = 16384  # squared voxels: nothing within reach; FAR + MAX_REACH^2 still is a 16-bit number
MAX_REACH = 127  # voxels
_NEVER = 255  # voxels along one axis
_AXIS_MASK = (1 << AXIS_BITS) - 1
# Eight bits of a mask as eight bytes, the lowest bit first
_BYTES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little").view(np.uint64)[:, 0].copy()


@no_type_check
@njit(cache=True)
def fill_tiles(order, starts, field_keys, values, table, keys, masks, n, reach, limit):
    """Write the signed squared distances of blocks, cube by cube.

    Args:
        order: rows of `field_keys` and `values`, those of a cube one after the other.
        starts: where each cube begins in `order`, and the end of the last.
        values: (m, 512) int16: > 0 to the nearest voxel that is set, < 0 from a set one to the nearest that is not.
        table, keys: of the blocks that `masks` (n, 8) belong to; others hold nothing that is set.
        reach: voxels; limit: its square, of which larger squared distances become FAR.
    """
    halo = (reach + SIDE - 1) // SIDE  # blocks
    side = _largest_side(order, starts, field_keys)
    width = (side + 2 * halo) * SIDE
    words = np.empty(width * width * width // SIDE, dtype=np.uint64)
    along = np.empty(side * SIDE * width * width, dtype=np.uint8)
    squares = np.empty(side * SIDE * width * width, dtype=np.int16)
    planes = np.empty(2 * side * SIDE * width, dtype=np.int16)
    result = np.empty(side * SIDE * side * SIDE * width, dtype=np.int16)
    low, shape = np.empty(3, dtype=np.int64), np.empty(3, dtype=np.int64)
    for tile in range(len(starts) - 1):
        rows = order[starts[tile] : starts[tile + 1]]
        _box(rows, field_keys, low, shape)
        nx, ny, nz = shape[0] + 2 * halo, shape[1] + 2 * halo, shape[2] + 2 * halo
        grid = words[: nx * ny * nz * SIDE * SIDE].reshape(nx * SIDE, ny * SIDE, nz)
        n_inner, n_set = _expand(grid, low - halo, halo, table, keys, masks, n)
        for row in rows:
            values[row, :] = FAR
        if n_set == 0:
            continue
        scratch = (along, squares, planes, result)
        _transform(grid, shape * SIDE, halo * SIDE, reach, limit, scratch)
        _scatter(rows, field_keys, low, shape[1], nz, halo, result, values, 1)
        if n_inner > 0:
            _invert(grid)
            _transform(grid, shape * SIDE, halo * SIDE, reach, limit, scratch)
            _scatter(rows, field_keys, low, shape[1], nz, halo, result, values, -1)


@no_type_check
@njit(cache=True, inline="always")
def coordinate(key, axis):
    """The block coordinate in a key along one axis."""
    return ((key >> ((2 - axis) * AXIS_BITS)) & _AXIS_MASK) - AXIS_LIMIT


@no_type_check
@njit(cache=True)
def _box(rows, keys, low, shape):
    """Set the corner and the shape, in blocks, of the box of the rows."""
    for axis in range(3):
        low[axis] = highest = coordinate(keys[rows[0]], axis)
        for row in rows:
            low[axis] = min(low[axis], coordinate(keys[row], axis))
            highest = max(highest, coordinate(keys[row], axis))
        shape[axis] = highest - low[axis] + 1


@no_type_check
@njit(cache=True)
def _largest_side(order, starts, keys):
    side = 0
    low, shape = np.empty(3, dtype=np.int64), np.empty(3, dtype=np.int64)
    for tile in range(len(starts) - 1):
        _box(order[starts[tile] : starts[tile + 1]], keys, low, shape)
        side = max(side, shape.max())
    return side


@no_type_check
@njit(cache=True)
def _expand(grid, low, halo, table, keys, masks, n):
    """Write the masks as bytes; returns the voxels that are set inside of the halo, and in all."""
    n_inner = n_set = 0
    grid[:] = 0
    shape = grid.shape[0] // SIDE, grid.shape[1] // SIDE, grid.shape[2]
    for x in range(shape[0]):
        for y in range(shape[1]):
            for z in range(shape[2]):
                row = find(table, keys, pack(low[0] + x, low[1] + y, low[2] + z))
                if row < 0 or row >= n:
                    continue
                is_inner = halo <= x < shape[0] - halo and halo <= y < shape[1] - halo and halo <= z < shape[2] - halo
                for i in range(SIDE):
                    mask = masks[row, i]
                    if mask == 0:
                        continue
                    n_set += 1
                    n_inner += is_inner
                    for j in range(SIDE):
                        grid[x * SIDE + i, y * SIDE + j, z] = _BYTES[(mask >> np.uint64(8 * j)) & np.uint64(255)]
    return n_inner, n_set


@no_type_check
@njit(cache=True)
def _invert(grid):
    flat = grid.ravel()
    for i in range(len(flat)):
        flat[i] ^= np.uint64(0x0101010101010101)


@no_type_check
@njit(cache=True)
def _transform(grid, shape, halo, reach, limit, scratch):
    """Write the squared distances of the inner `shape` voxels, each with its halo along z, to the last of `scratch`."""
    nx, ny, _ = shape
    wy, wz = grid.shape[1], grid.shape[2] * SIDE
    is_set = grid.view(np.uint8).ravel().reshape(grid.shape[0], wy * wz)
    along = scratch[0][: nx * wy * wz].reshape(nx, wy * wz)
    squares = scratch[1][: nx * wy * wz].reshape(nx, wy * wz)
    _along_x(is_set, along, squares, halo, reach)
    row, plane = scratch[2][: ny * wz], scratch[2][ny * wz : 2 * ny * wz]
    result = scratch[3][: nx * ny * wz].reshape(nx, ny * wz)
    for x in range(nx):
        _lower_all(squares[x], row, halo * wz, wz, reach)
        plane[:] = row
        _lower_all(row, plane[reach : ny * wz - reach], reach, 1, reach)
        for i in range(ny * wz):
            result[x, i] = plane[i] if plane[i] <= limit else np.int16(FAR)


@no_type_check
@njit(cache=True)
def _along_x(is_set, along, squares, halo, reach):
    """Squared distance of each voxel along x to the nearest that is set, of planes x with flat (y, z)."""
    n, width = squares.shape
    run = np.full(width, _NEVER, dtype=np.uint8)
    for x in range(halo - reach, halo + n):
        _step(run, is_set[x])
        if x >= halo:
            along[x - halo] = run
    run[:] = _NEVER
    for x in range(halo + n + reach - 1, halo - 1, -1):
        _step(run, is_set[x])
        if x < halo + n:
            _square(along[x - halo], run, squares[x - halo], reach)


@no_type_check
@njit(cache=True)
def _step(run, is_set):
    """One voxel farther from the last that was set."""
    for i in range(len(run)):
        farther = np.uint8(run[i] + 1) if run[i] < _NEVER else np.uint8(_NEVER)
        run[i] = np.uint8(0) if is_set[i] else farther


@no_type_check
@njit(cache=True)
def _square(one, other, squares, reach):
    for i in range(len(squares)):
        value = np.int16(one[i] if one[i] < other[i] else other[i])
        squares[i] = np.int16(value * value) if value <= reach else np.int16(FAR)


@no_type_check
@njit(cache=True)
def _lower_all(source, result, start, stride, reach):
    """result[i] = min over offsets of source[start + i + offset * stride] + offset^2, all |offset| <= reach."""
    n = len(result)
    lowest = np.int16(FAR)
    for i in range(len(source)):
        lowest = source[i] if source[i] < lowest else lowest
    result[:] = source[start : start + n]
    highest = FAR
    for offset in range(1, reach + 1):
        if lowest + offset * offset >= highest:
            break
        before, after = start - offset * stride, start + offset * stride
        highest = _lower(result, source[before : before + n], source[after : after + n], np.int16(offset * offset))


@no_type_check
@njit(cache=True)
def _lower(row, one, other, square):
    """Lower each value to that of the other rows plus `square`; returns the highest that is left."""
    highest = np.int16(0)
    for i in range(len(row)):
        value = one[i] if one[i] < other[i] else other[i]
        value = np.int16(value + square)
        value = value if value < row[i] else row[i]
        row[i] = value
        highest = value if value > highest else highest
    return highest


@no_type_check
@njit(cache=True)
def _scatter(rows, keys, low, ny, nz, halo, squares, values, sign):
    """Copy the squared distances that are not 0 to their blocks."""
    for row in rows:
        x = (coordinate(keys[row], 0) - low[0]) * SIDE
        y = (coordinate(keys[row], 1) - low[1]) * SIDE
        z = (coordinate(keys[row], 2) - low[2] + halo) * SIDE
        for i in range(SIDE):
            for j in range(SIDE):
                start = (((x + i) * ny * SIDE) + y + j) * nz * SIDE + z
                for k in range(SIDE):
                    square = squares[start + k]
                    if square != 0:
                        values[row, (i * SIDE + j) * SIDE + k] = np.int16(sign * square)
