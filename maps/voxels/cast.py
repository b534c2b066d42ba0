"""Kernels that read the blocks: values at points, the first occupied voxel along a ray, lists of voxels."""

from __future__ import annotations

from math import floor
from typing import no_type_check

import numpy as np
from numba import njit

from embmem.maps.voxels.blocks import SIDE, UNKNOWN, find, pack


@no_type_check
@njit(cache=True, inline="always")
def cell_index(x, y, z):
    """The position of a voxel in its block."""
    return ((x % SIDE) * SIDE + y % SIDE) * SIDE + z % SIDE


@no_type_check
@njit(cache=True)
def lookup(table, keys, cells, voxels, values):
    """Write the byte of each of the (n, 3) voxels to `values`, UNKNOWN where there is no block."""
    for i in range(len(voxels)):
        x, y, z = voxels[i]
        block = find(table, keys, pack(x // SIDE, y // SIDE, z // SIDE))
        values[i] = UNKNOWN if block < 0 else cells[block, cell_index(x, y, z)]


@no_type_check
@njit(cache=True)
def cast_rays(table, keys, cells, origins, directions, reach, distances):
    """Write the distance to the first occupied voxel of each ray, all in voxels; inf if none within `reach`."""
    for i in range(len(origins)):
        distances[i] = _cast_ray(table, keys, cells, origins[i], directions[i], reach)


@no_type_check
@njit(cache=True)
def _crossings(start, direction):
    """(step, distance to the first crossing, spacing of crossings) along one axis, in voxels."""
    if direction > 0.0:
        return 1, (floor(start) + 1.0 - start) / direction, 1.0 / direction
    if direction < 0.0:
        return -1, (floor(start) - start) / direction, -1.0 / direction
    return 0, np.inf, np.inf


@no_type_check
@njit(cache=True)
def _cast_ray(table, keys, cells, origin, direction, reach):
    x, y, z = floor(origin[0]), floor(origin[1]), floor(origin[2])
    step_x, t_x, dt_x = _crossings(origin[0], direction[0])
    step_y, t_y, dt_y = _crossings(origin[1], direction[1])
    step_z, t_z, dt_z = _crossings(origin[2], direction[2])
    t, block, last = 0.0, -1, np.int64(-1)
    while t <= reach:
        key = pack(x // SIDE, y // SIDE, z // SIDE)
        if key != last:
            block, last = find(table, keys, key), key
        if block >= 0 and cells[block, cell_index(x, y, z)] > 0:
            return t
        if t_x < t_y and t_x < t_z:
            x, t, t_x = x + step_x, t_x, t_x + dt_x
        elif t_y < t_z:
            y, t, t_y = y + step_y, t_y, t_y + dt_y
        else:
            z, t, t_z = z + step_z, t_z, t_z + dt_z
    return np.inf


@no_type_check
@njit(cache=True)
def list_voxels(rows, coordinates, cells, lowest, highest):
    """((n, 3) voxels, (n,) blocks) of all voxels with lowest <= byte <= highest, in the order of `rows`."""
    n = 0
    for row in rows:
        for i in range(cells.shape[1]):
            n += lowest <= cells[row, i] <= highest
    voxels = np.empty((n, 3), dtype=np.int64)
    blocks = np.empty(n, dtype=np.int64)
    n = 0
    for row in rows:
        for i in range(cells.shape[1]):
            if lowest <= cells[row, i] <= highest:
                voxels[n, 0] = coordinates[row, 0] * SIDE + i // (SIDE * SIDE)
                voxels[n, 1] = coordinates[row, 1] * SIDE + i // SIDE % SIDE
                voxels[n, 2] = coordinates[row, 2] * SIDE + i % SIDE
                blocks[n] = row
                n += 1
    return voxels, blocks
