"""Marks of a point cloud: one straight ray to the centre of each distinct end voxel, exact in what it passes."""

from __future__ import annotations

from math import floor, sqrt
from typing import no_type_check

import numpy as np
from numba import njit

from embmem.maps.voxels.integrate import FREE, HIT


@no_type_check
@njit(cache=True)
def point_ends(points, origin, resolution, max_range, ends):
    """End voxels of points (n, 3) [m]; returns how many, rows of `ends` are (x, y, z, HIT, or FREE if cut)."""
    n = 0
    for i in range(len(points)):
        dx, dy, dz = points[i, 0] - origin[0], points[i, 1] - origin[1], points[i, 2] - origin[2]
        distance = sqrt(dx * dx + dy * dy + dz * dz)
        if not distance < np.inf:
            continue
        mark, x, y, z = HIT, points[i, 0], points[i, 1], points[i, 2]
        if distance > max_range:
            cut = max_range / distance
            mark, x, y, z = FREE, origin[0] + cut * dx, origin[1] + cut * dy, origin[2] + cut * dz
        ends[n, 0], ends[n, 1], ends[n, 2] = floor(x / resolution), floor(y / resolution), floor(z / resolution)
        ends[n, 3] = mark
        n += 1
    return n


@no_type_check
@njit(cache=True)
def mark_rays(marks, shape, corner, ends, n, origin):
    """Mark the end voxels and what lies between them and the origin.

    Args:
        marks: flat uint8 grid, all zero.
        shape: (x, y, z) size of the grid in voxels.
        corner: (3,) the first voxel of the grid.
        ends: (n, 4) end voxels; reordered.
        origin: (3,) where the rays start, in fractions of voxels.
    """
    n_distinct = 0
    for i in range(n):
        index = _index(ends[i], corner, shape)
        if marks[index] == 0:  # whether hit or cut, one ray a voxel
            ends[n_distinct, :3] = ends[i, :3]
            n_distinct += 1
        marks[index] |= ends[i, 3]
    for i in range(n_distinct):
        _mark_ray(marks, shape, corner, ends[i], origin)


@no_type_check
@njit(cache=True)
def _index(voxel, corner, shape):
    """Where a voxel is in the flat grid."""
    x, y, z = voxel[0] - corner[0], voxel[1] - corner[1], voxel[2] - corner[2]
    return (x * shape[1] + y) * shape[2] + z


@no_type_check
@njit(cache=True)
def _axis(start, end):
    """(direction, first crossing, spacing of crossings) along one axis, in units of the whole ray."""
    delta = end + 0.5 - start
    if delta > 0.0:
        return 1, (floor(start) + 1.0 - start) / delta, 1.0 / delta
    if delta < 0.0:
        return -1, (floor(start) - start) / delta, -1.0 / delta
    return 0, np.inf, np.inf


@no_type_check
@njit(cache=True)
def _mark_ray(marks, shape, corner, end, origin):
    """Walk from voxel to voxel in the order of crossings (Amanatides and Woo, Eurographics 1987).

    The number of steps is known and the ray ends in the middle of a voxel, so rounding cannot lead past the end.
    """
    x, y, z = floor(origin[0]), floor(origin[1]), floor(origin[2])
    step_x, t_x, dt_x = _axis(origin[0], end[0])
    step_y, t_y, dt_y = _axis(origin[1], end[1])
    step_z, t_z, dt_z = _axis(origin[2], end[2])
    jump_x, jump_y = step_x * shape[1] * shape[2], step_y * shape[2]
    index = _index((x, y, z), corner, shape)
    n_steps = abs(end[0] - x) + abs(end[1] - y) + abs(end[2] - z)
    for _ in range(n_steps):
        marks[index] |= FREE
        if t_x < t_y and t_x < t_z:
            index += jump_x
            t_x += dt_x
        elif t_y < t_z:
            index += jump_y
            t_y += dt_y
        else:
            index += step_z
            t_z += dt_z
