"""Marks of rays, exact in what they pass: to the centre of each distinct end voxel, or every ray to its exact point."""

from __future__ import annotations

from math import floor, sqrt
from typing import no_type_check

import numpy as np
from numba import njit

from embmem.maps.voxels.integrate import FREE, HIT

_SEEN = 4  # an end voxel that already has its ray


@no_type_check
@njit(error_model="numpy")
def cut_point(point, origin, max_range):
    """(mark, x, y, z) of a point [m], moved up to `max_range` from the origin; mark 0 if there is no ray to it."""
    dx, dy, dz = point[0] - origin[0], point[1] - origin[1], point[2] - origin[2]
    distance = sqrt(dx * dx + dy * dy + dz * dz)
    if not 0.0 < distance < np.inf:
        return 0, 0.0, 0.0, 0.0
    if distance > max_range:
        cut = max_range / distance
        return FREE, origin[0] + cut * dx, origin[1] + cut * dy, origin[2] + cut * dz
    return HIT, point[0], point[1], point[2]


@no_type_check
@njit(error_model="numpy")
def crossings(start, end):
    """(direction, first crossing, spacing of crossings) along one axis, in units of the whole ray."""
    delta = end - start
    # no branches: compiles to vector instructions
    ahead = floor(start) + (1.0 if delta > 0.0 else 0.0) - start
    first = ahead / delta if delta != 0.0 else np.inf
    return (1 if delta > 0.0 else 0) - (1 if delta < 0.0 else 0), first, abs(1.0 / delta)


@no_type_check
@njit(error_model="numpy")
def next_axis(t_x, t_y, t_z):
    """The axis of the nearest of three crossings (Amanatides and Woo, Eurographics 1987)."""
    if t_x < t_y and t_x < t_z:
        return 0
    return 1 if t_y < t_z else 2


@no_type_check
@njit(error_model="numpy")
def flat_index(x, y, z, tile):
    """Where a voxel is in the flat grid `tile` (x, y, z, size x, y, z), -1 if it is outside."""
    x, y, z = x - tile[0], y - tile[1], z - tile[2]
    if not (0 <= x < tile[3] and 0 <= y < tile[4] and 0 <= z < tile[5]):
        return -1
    return (x * tile[4] + y) * tile[5] + z


@no_type_check
@njit(cache=True, nogil=True, error_model="numpy")
def point_ends(points, origins, limits, home, ends, targets, start, stop):
    """(low, high, n skipped) of the end voxels of the points start <= i < stop and of their origins.

    Args:
        points: (n, 3) [m]; what is not finite, has no distance or starts out of range is skipped.
        origins: (n, 3) [m], or (1, 3) for all.
        limits: (resolution, max_range, farthest allowed origin) [m].
        home: (3,) int32 voxel where the bounds start.
        ends: (n, 4) int32, written: x, y, z and HIT, FREE if cut or 0 if skipped.
        targets: (n, 3), written: the ends in fractions of voxels; a skipped ray ends where it starts.
    """
    resolution, max_range, farthest = limits
    low, high, n_skipped = home.copy(), home.copy(), 0
    for i in range(start, stop):
        origin = origins[i if len(origins) > 1 else 0]
        mark, x, y, z = cut_point(points[i], origin, max_range)
        if not (abs(origin[0]) < farthest and abs(origin[1]) < farthest and abs(origin[2]) < farthest):
            mark = 0
        if mark == 0:
            n_skipped += 1
            ends[i] = 0
            targets[i] = np.nan
            continue
        targets[i, 0], targets[i, 1], targets[i, 2] = x / resolution, y / resolution, z / resolution
        ends[i, 3] = mark
        for axis in range(3):
            ends[i, axis] = floor(targets[i, axis])
            begin = np.int32(floor(origin[axis] / resolution))
            low[axis] = min(low[axis], ends[i, axis], begin)
            high[axis] = max(high[axis], ends[i, axis], begin)
    return low, high, n_skipped


@no_type_check
@njit(cache=True, nogil=True, error_model="numpy")
def mark_ends(marks, tile, ends, mark, start, stop):
    """Store `mark` where the ends start <= i < stop with this mark lie in the grid."""
    for i in range(start, stop):
        if ends[i, 3] == mark:
            index = flat_index(ends[i, 0], ends[i, 1], ends[i, 2], tile)
            if index >= 0:
                marks[index] = mark


@no_type_check
@njit(cache=True, nogil=True, error_model="numpy")
def distinct_rays(marks, tile, ends, starts, n, targets, chosen):
    """Append one ray to the centre of each end voxel in the grid to the first n `targets`; the new n.

    Args:
        marks: flat uint8 grid, all zero before and after.
        starts: (1, 3) for all, or (len(ends), 3) of which `chosen` gets the row of each ray.
        targets: (len(ends), 3), written: centres in fractions of voxels.
    """
    first = n
    for i in range(len(ends)):
        if ends[i, 3] == 0:
            continue
        index = flat_index(ends[i, 0], ends[i, 1], ends[i, 2], tile)
        if index < 0 or marks[index] != 0:
            continue
        marks[index] = _SEEN  # whether hit or cut, one ray a voxel
        for axis in range(3):
            targets[n, axis] = ends[i, axis] + 0.5
        if len(starts) > 1:
            chosen[n] = starts[i]
        n += 1
    for i in range(first, n):
        target = targets[i]
        marks[flat_index(floor(target[0]), floor(target[1]), floor(target[2]), tile)] = 0
    return n


@no_type_check
@njit(cache=True, nogil=True, error_model="numpy")
def mark_rays(marks, tile, starts, targets, start, stop):
    """Mark what the rays start <= i < stop pass before their end voxel; the grid holds all of them.

    Args:
        marks: flat uint8 grid.
        starts: (n, 3) in fractions of voxels, or (1, 3) for all.
        targets: (n, 3) likewise; rays to NaN are skipped.
    """
    for i in range(start, stop):
        if targets[i, 0] == targets[i, 0]:
            _mark_ray(marks, tile, starts[i if len(starts) > 1 else 0], targets[i])


@no_type_check
@njit(error_model="numpy")
def _mark_ray(marks, tile, start, end):
    """Walk from voxel to voxel in the order of crossings.

    The number of steps is known. A ray that ends on a face may, by rounding, walk one voxel past it: the grid must
    hold one voxel more than the ends.
    """
    x, y, z = floor(start[0]), floor(start[1]), floor(start[2])
    step_x, t_x, dt_x = crossings(start[0], end[0])
    step_y, t_y, dt_y = crossings(start[1], end[1])
    step_z, t_z, dt_z = crossings(start[2], end[2])
    jump_x, jump_y = step_x * tile[4] * tile[5], step_y * tile[5]
    index = flat_index(x, y, z, tile)
    n_steps = abs(floor(end[0]) - x) + abs(floor(end[1]) - y) + abs(floor(end[2]) - z)
    for _ in range(n_steps):
        marks[index] = FREE
        axis = next_axis(t_x, t_y, t_z)
        if axis == 0:
            index += jump_x
            t_x += dt_x
        elif axis == 1:
            index += jump_y
            t_y += dt_y
        else:
            index += step_z
            t_z += dt_z
