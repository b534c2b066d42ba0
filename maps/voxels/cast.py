"""Kernels that read the blocks: values at points, what stops a ray, lists of voxels."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, sqrt
from typing import Literal, no_type_check

import numpy as np
from jaxtyping import Float, Int
from numba import njit

from embmem.maps.voxels.blocks import AXIS_LIMIT, SCALE, SIDE, UNKNOWN, find, pack
from embmem.maps.voxels.parallel import in_parts
from embmem.maps.voxels.summary import GAPS, SOLID, Voxels, unpack_one

NOTHING, OCCUPIED_VOXEL, UNKNOWN_VOXEL = 0, 1, 2  # what stopped a ray
Policy = Literal["free", "occupied"]  # what unknown space is to a ray
_BATCH = 128  # points whose memory accesses may overlap


@dataclass(frozen=True, eq=False)
class RayHits:
    """What stopped each of n rays."""

    distances: Float[np.ndarray, " n"]  # [m], inf if nothing did
    centres: Float[np.ndarray, "n 3"]  # of the voxel that did [m], NaN if none
    states: Int[np.ndarray, " n"]  # NOTHING, OCCUPIED_VOXEL or UNKNOWN_VOXEL


def read_points(voxels: Voxels, points: Float[np.ndarray, "n 3"], *, threads: int = 1) -> Float[np.ndarray, " n"]:
    """Log-odds at the points [m]; NaN where nothing is known, out of range, or where a number is not finite."""
    points, pool = np.ascontiguousarray(points, dtype=np.float64), voxels.blocks
    values = np.empty(len(points))

    def read(part: slice) -> None:
        _read_points(pool.table, pool.keys, pool.cells, points[part], voxels.resolution, values[part])

    in_parts(read, len(points), threads)
    return values


def cast_distances(
    voxels: Voxels,
    origins: Float[np.ndarray, "n 3"],
    directions: Float[np.ndarray, "n 3"],
    max_range: float,
    *,
    unknown: Policy = "free",
    threads: int = 1,
) -> Float[np.ndarray, " n"]:
    """The distances of `cast_hits` alone."""
    return _cast((voxels, unknown, threads), origins, directions, max_range)[0]


def cast_hits(
    voxels: Voxels,
    origins: Float[np.ndarray, "n 3"],
    directions: Float[np.ndarray, "n 3"],
    max_range: float,
    *,
    unknown: Policy = "free",
    threads: int = 1,
) -> RayHits:
    """What stops each ray: an occupied voxel or, with unknown="occupied", one that was never seen.

    Args:
        origins: [m].
        directions: of any length.
        max_range: [m].

    Raises:
        ValueError: if a direction has no length, a number is not finite or an origin is out of range.
    """
    distances, found, states = _cast((voxels, unknown, threads), origins, directions, max_range)
    centres = (found + 0.5) * voxels.resolution
    centres[states == NOTHING] = np.nan
    return RayHits(distances, centres, states)


def _cast(
    how: tuple[Voxels, Policy, int], origins: np.ndarray, directions: np.ndarray, max_range: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(distances [m], voxels, states); `how` is the map, the policy and the number of threads."""
    voxels, unknown, threads = how
    if unknown not in ("free", "occupied"):
        raise ValueError(f"unknown must be 'free' or 'occupied', got {unknown!r}")
    origins, directions = (np.ascontiguousarray(a, dtype=np.float64) for a in (origins, directions))
    resolution, n, pool = voxels.resolution, len(origins), voxels.blocks
    _check_rays(origins, directions, max_range, AXIS_LIMIT * resolution)
    distances, found, states = np.empty(n), np.empty((n, 3), dtype=np.int64), np.empty(n, dtype=np.int64)
    stops = SOLID if unknown == "free" else SOLID | GAPS
    blocks = (pool.table, pool.keys, pool.cells, voxels.summary().flags)

    def cast(part: slice) -> None:
        answers = (distances[part], found[part], states[part])
        _cast_rays(blocks, origins[part], directions[part], max_range / resolution, resolution, stops, answers)

    in_parts(cast, n, threads)
    return distances, found, states


def _check_rays(origins: np.ndarray, directions: np.ndarray, max_range: float, limit: float) -> None:
    if len(origins) != len(directions):
        raise ValueError(f"each origin needs a direction, got {len(origins)} origins and {len(directions)} directions")
    if not 0 <= max_range < limit:
        raise ValueError(f"max_range must be at least 0 and less than {limit} m, got {max_range}")
    bad = _first_bad_ray(origins, directions, limit)
    if bad >= 0:
        raise ValueError(
            f"rays need origins within {limit} m and finite directions of some length, "
            f"got ray {bad} from {origins[bad]} along {directions[bad]}"
        )


@no_type_check
@njit(cache=True, inline="always")
def cell_index(x, y, z):
    """The position of a voxel in its block."""
    return ((x % SIDE) * SIDE + y % SIDE) * SIDE + z % SIDE


@no_type_check
@njit(cache=True, nogil=True, error_model="numpy")
def _read_points(table, keys, cells, points, resolution, values):
    """Short loops over a batch, so that a processor waits for the memory of many points at once."""
    wanted, rows, offsets = np.empty((3, _BATCH), dtype=np.int64)
    for first in range(0, len(points), _BATCH):
        batch = points[first : first + _BATCH]
        for i in range(len(batch)):
            wanted[i], offsets[i] = address(batch[i], resolution)
        for i in range(len(batch)):
            rows[i] = find(table, keys, wanted[i]) if wanted[i] >= 0 else -1
        for i in range(len(batch)):
            cell = cells[rows[i], offsets[i]] if rows[i] >= 0 else UNKNOWN
            values[first + i] = cell / SCALE if cell != UNKNOWN else np.nan


@no_type_check
@njit(cache=True, error_model="numpy", inline="always")
def address(point, resolution):
    """(key of the block, position in it) of a point; the key is -1 where no block can be."""
    x, y, z = floor(point[0] / resolution), floor(point[1] / resolution), floor(point[2] / resolution)
    limit = AXIS_LIMIT * SIDE
    if not (-limit < x < limit and -limit < y < limit and -limit < z < limit):  # NaN is not
        return np.int64(-1), np.int64(0)
    x, y, z = np.int64(x), np.int64(y), np.int64(z)
    return pack(x >> 3, y >> 3, z >> 3), cell_index(x, y, z)


@no_type_check
@njit(cache=True, error_model="numpy")
def _first_bad_ray(origins, directions, limit):
    """The first ray whose origin is not within the limit or whose direction has no finite length; -1 if none."""
    for i in range(len(origins)):
        length = _length(directions[i])
        good = 0.0 < length < np.inf
        for axis in range(3):
            good &= -limit < origins[i, axis] < limit
        if not good:
            return i
    return -1


@no_type_check
@njit(cache=True, error_model="numpy", inline="always")
def _length(v):
    return sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2])


@no_type_check
@njit(cache=True, nogil=True, error_model="numpy")
def _cast_rays(blocks, origins, directions, reach, resolution, stops, found):
    """Cast every ray; reach is in voxels, `stops` the flags of blocks that may stop it."""
    distances, voxels, states = found
    for i in range(len(origins)):
        length = _length(directions[i])
        start = (origins[i, 0] / resolution, origins[i, 1] / resolution, origins[i, 2] / resolution)
        unit = (directions[i, 0] / length, directions[i, 1] / length, directions[i, 2] / length)
        t, x, y, z, states[i] = _cast_ray(blocks, start, unit, reach, stops)
        distances[i] = t * resolution
        voxels[i, 0], voxels[i, 1], voxels[i, 2] = x, y, z


@no_type_check
@njit(cache=True, error_model="numpy")
def _crossings(start, direction):
    """(step, distance to the first crossing, spacing of crossings) along one axis, in voxels."""
    if direction > 0.0:
        return 1, (floor(start) + 1.0 - start) / direction, 1.0 / direction
    if direction < 0.0:
        return -1, (floor(start) - start) / direction, -1.0 / direction
    return 0, np.inf, np.inf


@no_type_check
@njit(cache=True, error_model="numpy", inline="always")
def _after(t, dt, n):
    """t + n * dt by n < 8 additions: a walk from voxel to voxel rounds just so."""
    for _ in range(n):
        t += dt
    return t


@no_type_check
@njit(cache=True, error_model="numpy", inline="always")
def _n_before(t, dt, now, also_equal):
    """How many of the crossings t, t + dt, ... of a block come before `now`, and the next one."""
    n = 0
    while t < now or (also_equal and t == now):
        t += dt
        n += 1
    return n, t


@no_type_check
@njit(cache=True, error_model="numpy")
def _cast_ray(blocks, start, unit, reach, stops):
    """(distance, voxel x, y, z, what stopped it): from block to block, voxel by voxel only where one may stop the ray.

    Amanatides and Woo, Eurographics 1987, on both levels. t_a is the first crossing along an axis since its block was
    entered, exit_a the one that leaves the block: the sums are the same as those of a walk through all voxels.
    Of crossings at the same distance z comes first, then y.
    """
    table, keys, _, flags = blocks
    x, y, z = np.int64(floor(start[0])), np.int64(floor(start[1])), np.int64(floor(start[2]))
    step_x, t_x, dt_x = _crossings(start[0], unit[0])
    step_y, t_y, dt_y = _crossings(start[1], unit[1])
    step_z, t_z, dt_z = _crossings(start[2], unit[2])
    exit_x = _after(t_x, dt_x, (x & 7) if step_x < 0 else 7 - (x & 7))
    exit_y = _after(t_y, dt_y, (y & 7) if step_y < 0 else 7 - (y & 7))
    exit_z = _after(t_z, dt_z, (z & 7) if step_z < 0 else 7 - (z & 7))
    t, axis = 0.0, -1  # where and through which face the block was entered
    while t <= reach:
        block = find(table, keys, pack(x >> 3, y >> 3, z >> 3))
        if (GAPS if block < 0 else flags[block]) & stops:
            walk = ((x, step_x, t_x, dt_x), (y, step_y, t_y, dt_y), (z, step_z, t_z, dt_z))
            found = _walk_block(blocks, block, walk, (t, axis), reach, stops)
            if found[4] != NOTHING:
                return found
        if exit_x < exit_y and exit_x < exit_z:
            t, axis, t_x = exit_x, 0, exit_x + dt_x
            exit_x = _after(t_x, dt_x, 7)
            x = (x + 8 * step_x) & -8 if step_x > 0 else (x & -8) - 1
        elif exit_y < exit_z:
            t, axis, t_y = exit_y, 1, exit_y + dt_y
            exit_y = _after(t_y, dt_y, 7)
            y = (y + 8) & -8 if step_y > 0 else (y & -8) - 1
        else:
            t, axis, t_z = exit_z, 2, exit_z + dt_z
            exit_z = _after(t_z, dt_z, 7)
            z = (z + 8) & -8 if step_z > 0 else (z & -8) - 1
    return np.inf, x, y, z, NOTHING


@no_type_check
@njit(cache=True, error_model="numpy")
def _walk_block(blocks, block, walk, entry, reach, stops):
    """The first voxel of one block that stops the ray, as `_cast_ray` returns it.

    `walk` has (first voxel, step, first crossing, spacing) by axis since the slab of the block was entered.
    """
    cells = blocks[2]
    t, axis = entry
    (x, step_x, t_x, dt_x), (y, step_y, t_y, dt_y), (z, step_z, t_z, dt_z) = walk
    if axis >= 0:
        if axis != 0:
            n, t_x = _n_before(t_x, dt_x, t, False)
            x += n * step_x
        if axis != 1:
            n, t_y = _n_before(t_y, dt_y, t, axis == 0)
            y += n * step_y
        if axis != 2:
            n, t_z = _n_before(t_z, dt_z, t, True)
            z += n * step_z
    if block < 0:
        return t, x, y, z, UNKNOWN_VOXEL
    x0, y0, z0 = x, y, z
    while t <= reach and ((x ^ x0) | (y ^ y0) | (z ^ z0)) & -8 == 0:
        cell = cells[block, ((x & 7) << 6) | ((y & 7) << 3) | (z & 7)]
        if cell > 0:
            return t, x, y, z, OCCUPIED_VOXEL
        if cell == UNKNOWN and stops & GAPS:
            return t, x, y, z, UNKNOWN_VOXEL
        if t_x < t_y and t_x < t_z:
            x, t, t_x = x + step_x, t_x, t_x + dt_x
        elif t_y < t_z:
            y, t, t_y = y + step_y, t_y, t_y + dt_y
        else:
            z, t, t_z = z + step_z, t_z, t_z + dt_z
    return np.inf, x, y, z, NOTHING


@no_type_check
@njit(cache=True)
def list_voxels(rows, keys, cells, lowest, highest):
    """((n, 3) voxels, (n,) blocks) of all voxels with lowest <= byte <= highest, in the order of `rows`."""
    n = 0
    for row in rows:
        for i in range(cells.shape[1]):
            n += lowest <= cells[row, i] <= highest
    voxels = np.empty((n, 3), dtype=np.int64)
    blocks = np.empty(n, dtype=np.int64)
    n = 0
    for row in rows:
        x, y, z = unpack_one(keys[row])
        for i in range(cells.shape[1]):
            if lowest <= cells[row, i] <= highest:
                voxels[n, 0] = x * SIDE + i // (SIDE * SIDE)
                voxels[n, 1] = y * SIDE + i // SIDE % SIDE
                voxels[n, 2] = z * SIDE + i % SIDE
                blocks[n] = row
                n += 1
    return voxels, blocks
