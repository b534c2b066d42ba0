"""Marks of rays, exact in what they pass: to the centre of each distinct end voxel, or every ray to its exact point."""

from __future__ import annotations

from math import floor, sqrt
from typing import no_type_check

import numpy as np
from numba import njit

from embmem.maps.voxels.integrate import FREE, HIT

LANES = 32  # rays that walk in step: enough of them for vector instructions
_CHUNK = 1024  # ends that are indexed at once
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
    """Store `mark` where the ends start <= i < stop with this mark lie in the grid; `marks` as for `mark_rays`."""
    spare = tile[3] * tile[4] * tile[5]
    indices = np.empty(_CHUNK, dtype=np.int32)
    for first in range(start, stop, _CHUNK):
        n = min(_CHUNK, stop - first)
        _index_ends(ends[first : first + n], tile, mark, indices)
        for i in range(n):
            marks[indices[i]] = mark
    marks[spare] = 0


@no_type_check
@njit(error_model="numpy")
def _index_ends(ends, tile, mark, indices):
    """Index in the grid of each end with the given mark, with any if that is 0; for the others one past the grid.

    No branches: compiles to vector instructions, which the stores of the caller would prevent.
    """
    x0, y0, z0 = np.int32(tile[0]), np.int32(tile[1]), np.int32(tile[2])
    n_x, n_y, n_z = np.int32(tile[3]), np.int32(tile[4]), np.int32(tile[5])
    spare = np.int32(tile[3] * tile[4] * tile[5])
    for i in range(len(ends)):
        x, y, z = np.int32(ends[i, 0] - x0), np.int32(ends[i, 1] - y0), np.int32(ends[i, 2] - z0)
        found = ends[i, 3]
        is_inside = (x >= 0) & (x < n_x) & (y >= 0) & (y < n_y) & (z >= 0) & (z < n_z)
        is_meant = (found != 0) & ((found == mark) | (mark == 0))
        index = np.int32(np.int32(np.int32(x * n_y) + y) * n_z) + z
        indices[i] = index if is_inside & is_meant else spare


@no_type_check
@njit(cache=True, nogil=True, error_model="numpy")
def distinct_rays(marks, tile, ends, starts, n, distinct, targets, chosen):
    """Append the distinct ends in the grid, and a ray to the centre of each, to the first n; the new n.

    Args:
        marks: as for `mark_rays`, all zero before and after.
        starts: (1, 3) for all, or (len(ends), 3) of which `chosen` gets the row of each ray.
        distinct: (len(ends), 4), written: like `ends`, HIT where any end is one.
        targets: (len(ends), 3), written: centres in fractions of voxels.
    """
    found, indices = np.empty(len(ends), dtype=np.int32), np.empty(_CHUNK, dtype=np.int32)
    spare, n_found = tile[3] * tile[4] * tile[5], 0
    marks[spare] = _SEEN
    for first in range(0, len(ends), _CHUNK):
        m = min(_CHUNK, len(ends) - first)
        _index_ends(ends[first : first + m], tile, 0, indices)
        for i in range(m):  # whether hit or cut, one ray a voxel; no branch, as noise would mislead it
            found[n_found] = first + i
            before = marks[indices[i]]
            n_found += before == 0
            marks[indices[i]] = before | ends[first + i, 3] | _SEEN
    marks[spare] = 0
    for i in found[:n_found]:
        index = flat_index(ends[i, 0], ends[i, 1], ends[i, 2], tile)
        distinct[n, 3] = HIT if marks[index] & HIT else FREE
        marks[index] = 0
        for axis in range(3):
            distinct[n, axis] = ends[i, axis]
            targets[n, axis] = ends[i, axis] + 0.5
        if len(starts) > 1:
            chosen[n] = starts[i]
        n += 1
    return n


@no_type_check
@njit(cache=True, nogil=True, error_model="numpy")
def mark_rays(marks, tile, starts, targets, start, stop):
    """Mark what the rays start <= i < stop pass before their end voxel; the grid holds all of them.

    Args:
        marks: flat uint8 grid and one more, which is zero afterwards.
        starts: (n, 3) in fractions of voxels, or (1, 3) for all.
        targets: (n, 3) likewise; rays to NaN are skipped.
    """
    spare = tile[3] * tile[4] * tile[5]
    times, whole = np.ones((6, LANES)), np.empty((5, LANES), dtype=np.int64)
    for first in range(start, stop, LANES):
        whole[:], whole[0] = 0, spare
        n_steps = 0
        for lane in range(min(LANES, stop - first)):
            origin = starts[first + lane if len(starts) > 1 else 0]
            n_steps = max(n_steps, _start_lane(tile, origin, targets[first + lane], times[:, lane], whole[:, lane]))
        _walk_lanes(marks, n_steps, spare, times, whole)
    marks[spare] = 0


@no_type_check
@njit(error_model="numpy")
def _start_lane(tile, start, end, times, whole):
    """Put a ray into a lane; returns its number of steps.

    Args:
        times: (6,) next crossing along x, y, z and spacing of crossings along x, y, z, written.
        whole: (5,) index in the grid, its change by a step along x, y, z, number of steps, written unless it is 0.
    """
    if np.isnan(end[0]):
        return 0
    n_steps = 0
    for axis in range(3):
        step, times[axis], times[3 + axis] = crossings(start[axis], end[axis])
        whole[1 + axis] = step
        n_steps += abs(floor(end[axis]) - floor(start[axis]))
    whole[1] *= tile[4] * tile[5]
    whole[2] *= tile[5]
    whole[4] = n_steps
    if n_steps > 0:
        whole[0] = flat_index(floor(start[0]), floor(start[1]), floor(start[2]), tile)
    return n_steps


@no_type_check
@njit(error_model="numpy")
def _walk_lanes(marks, n_steps, spare, times, whole):
    """Walk from voxel to voxel in the order of crossings, all lanes in step; those that have arrived mark `spare`.

    The number of steps is known. A ray that ends on a face may, by rounding, walk one voxel past it: the grid must
    hold one voxel more than the ends. Choices are those of `next_axis`, put so that they compile to vector
    instructions.
    """
    for step in range(1, n_steps + 1):
        for lane in range(LANES):
            marks[whole[0, lane]] = FREE
        for lane in range(LANES):
            t_x, t_y, t_z = times[0, lane], times[1, lane], times[2, lane]
            dt_x, dt_y, dt_z = times[3, lane], times[4, lane], times[5, lane]
            index, jump_x, jump_y, jump_z = whole[0, lane], whole[1, lane], whole[2, lane], whole[3, lane]
            n = whole[4, lane]
            is_z = np.int64(t_z <= t_x) & np.int64(t_z <= t_y)
            is_y = np.int64(t_y <= t_x) & (1 - is_z)
            times[0, lane] = t_x + (0.0 if (is_z | is_y) != 0 else dt_x)
            times[1, lane] = t_y + (dt_y if is_y != 0 else 0.0)
            times[2, lane] = t_z + (dt_z if is_z != 0 else 0.0)
            jump = jump_z if is_z != 0 else (jump_y if is_y != 0 else jump_x)
            whole[0, lane] = index + jump if step < n else spare
