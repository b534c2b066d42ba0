"""Kernels that read the blocks: values at points, what stops a ray, lists of voxels."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, log2, sqrt
from typing import Literal, no_type_check

import numpy as np
from jaxtyping import Float, Int
from numba import njit

from embmem.maps.voxels.blocks import AXIS_LIMIT, SCALE, SIDE, UNKNOWN, find, pack
from embmem.maps.voxels.parallel import in_parts
from embmem.maps.voxels.summary import CODE_BITS, GAPS, OUTSIDE, SOLID, Voxels, unpack_one

NOTHING, OCCUPIED_VOXEL, UNKNOWN_VOXEL = 0, 1, 2  # what stopped a ray
Policy = Literal["free", "occupied"]  # what unknown space is to a ray
_START = 3  # before every crossing of a ray
_FAR = 2.0**58  # units; farther than any ray reaches
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
    return _cast((voxels, unknown, threads), origins, directions, max_range, with_voxels=False)[0]


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
    distances, found, states = _cast((voxels, unknown, threads), origins, directions, max_range, with_voxels=True)
    centres = (found + 0.5) * voxels.resolution
    centres[states == NOTHING] = np.nan
    return RayHits(distances, centres, states)


def _cast(
    how: tuple[Voxels, Policy, int],
    origins: np.ndarray,
    directions: np.ndarray,
    max_range: float,
    *,
    with_voxels: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(distances [m], voxels, states); `how` is the map, the policy and the number of threads."""
    voxels, unknown, threads = how
    if unknown not in ("free", "occupied"):
        raise ValueError(f"unknown must be 'free' or 'occupied', got {unknown!r}")
    origins, directions = (np.ascontiguousarray(a, dtype=np.float64) for a in (origins, directions))
    resolution, n, pool = voxels.resolution, len(origins), voxels.blocks
    _check_rays(origins, directions, max_range, AXIS_LIMIT * resolution)
    distances, states = np.empty(n), np.empty(n, dtype=np.int64)
    found = np.empty((n if with_voxels else 0, 3), dtype=np.int64)
    summary = voxels.summary()
    words, stops = (summary.solid, SOLID | OUTSIDE) if unknown == "free" else (summary.stops, SOLID | GAPS)
    grid = (summary.grid.reshape(-1), summary.grid.shape[1] * summary.grid.shape[2], summary.grid.shape[2])
    cubes = (summary.solid.reshape(-1), words.reshape(-1))
    view = (grid, cubes, stops, summary.box, (pool.table, pool.keys, summary.flags))

    def cast(part: slice) -> None:
        answers = (distances[part], found[part], states[part])
        _cast_rays(view, origins[part], directions[part], max_range / resolution, resolution, answers)

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
def _cast_rays(view, origins, directions, reach, resolution, found):
    """Cast every ray; reach is in voxels.

    Crossings of the faces of voxels are kept in units of 1 / `scale` voxels along the ray, as integers, so that a sum
    does not depend on the steps that were taken: 4 * (1 + units) + axis code, by which no two of a ray are equal.
    """
    distances, voxels, states = found
    scale = 2.0 ** (57 - ceil(log2(reach + 2.0)))
    last = 4 * (np.int64(reach * scale) + 1) + 3
    for i in range(len(origins)):
        length = _length(directions[i])
        start = (origins[i, 0] / resolution, origins[i, 1] / resolution, origins[i, 2] / resolution)
        pace = (length / directions[i, 0], length / directions[i, 1], length / directions[i, 2])
        axes = (
            _axis(start[0], pace[0], scale, 2),
            _axis(start[1], pace[1], scale, 1),
            _axis(start[2], pace[2], scale, 0),
        )
        t, x, y, z, states[i] = _cast_ray(view, axes, last)
        t &= 3
        if states[i] == NOTHING:
            distances[i] = np.inf
        elif t == 3:
            distances[i] = 0.0
        else:
            distance = ((x + (pace[0] < 0.0)) - start[0]) * pace[0]
            if t == 1:
                distance = ((y + (pace[1] < 0.0)) - start[1]) * pace[1]
            if t == 0:
                distance = ((z + (pace[2] < 0.0)) - start[2]) * pace[2]
            distances[i] = min(distance, reach) * resolution
        if len(voxels) > 0:
            voxels[i, 0], voxels[i, 1], voxels[i, 2] = x, y, z


@no_type_check
@njit(cache=True, error_model="numpy", inline="always")
def _axis(start, pace, scale, code):
    """(voxel, step, first crossing, spacing) along one axis; what is farther than `_FAR` is out of every reach."""
    voxel = floor(start)
    part = voxel + 1.0 - start if pace > 0.0 else start - voxel
    exact = min(abs(pace), 1e200) * scale
    spacing = np.int64(min(exact, _FAR))
    first = min(np.int64(min(part * exact, _FAR)), spacing - 1) if abs(pace) < 1e200 else spacing - 1
    return np.int64(voxel), np.int64(1) if pace > 0.0 else np.int64(-1), 4 * (first + 1) + code, 4 * spacing


@no_type_check
@njit(cache=True, error_model="numpy", inline="always")
def _cast_ray(view, axes, last):
    """(crossing, voxel x, y, z, what stopped it): from cube to cube of 4^3 voxels, then voxel by voxel in some."""
    (grid, pitch_x, pitch_y), (solid, words), stops, box, pool = view
    (x, step_x, t_x, dt_x), (y, step_y, t_y, dt_y), (z, step_z, t_z, dt_z) = axes
    now = np.int64(_START)
    if _is_outside(box, x >> 3, y >> 3, z >> 3):
        if stops & GAPS:
            return now, x, y, z, UNKNOWN_VOXEL
        now, x, y, z, t_x, t_y, t_z = _enter(box, axes, last)
        if now < 0:
            return now, x, y, z, NOTHING
    mirror = (0 if step_x > 0 else 48) | (0 if step_y > 0 else 12) | (0 if step_z > 0 else 3)
    t_x += (3 - (x & 3) if step_x > 0 else x & 3) * dt_x
    t_y += (3 - (y & 3) if step_y > 0 else y & 3) * dt_y
    t_z += (3 - (z & 3) if step_z > 0 else z & 3) * dt_z
    far_x, far_y, far_z = 4 * dt_x, 4 * dt_y, 4 * dt_z
    x, y, z = (x >> 2) - 2 * box[0, 0] + 2, (y >> 2) - 2 * box[0, 1] + 2, (z >> 2) - 2 * box[0, 2] + 2
    while now <= last:
        if grid.size > 0:
            code = np.int64(grid[np.uint64((x >> 1) * pitch_x + (y >> 1) * pitch_y + (z >> 1))])
        else:
            code = _look_up(box, pool, x >> 1, y >> 1, z >> 1)
        if code & stops & OUTSIDE:
            break
        cube = np.uint64((code >> CODE_BITS << 3) | ((x & 1) << 2) | ((y & 1) << 1) | (z & 1))
        if words[cube] != 0:
            at, bit = _walk(words[cube], mirror, now, last, t_x, t_y, t_z, dt_x, dt_y, dt_z)
            if bit >= 0:
                x, y, z = x + 2 * box[0, 0] - 2, y + 2 * box[0, 1] - 2, z + 2 * box[0, 2] - 2
                state = OCCUPIED_VOXEL if (solid[cube] >> np.uint64(bit)) & np.uint64(1) else UNKNOWN_VOXEL
                return at, (x << 2) | (bit >> 4), (y << 2) | ((bit >> 2) & 3), (z << 2) | (bit & 3), state
        now = min(t_x, t_y, t_z)
        is_x, is_y, is_z = now == t_x, now == t_y, now == t_z
        x += step_x if is_x else 0
        y += step_y if is_y else 0
        z += step_z if is_z else 0
        t_x += far_x if is_x else 0
        t_y += far_y if is_y else 0
        t_z += far_z if is_z else 0
    return now, x, y, z, NOTHING


@no_type_check
@njit(cache=True, error_model="numpy", inline="always")
def _walk(word, mirror, now, last, t_x, t_y, t_z, dt_x, dt_y, dt_z):
    """(crossing, bit) of the first voxel of a cube that stops the ray, or bit -1; t_a are where it leaves the cube."""
    leaves = min(t_x, t_y, t_z)
    n_x = (t_x - 3 * dt_x < now) + (t_x - 2 * dt_x < now) + (t_x - dt_x < now)
    n_y = (t_y - 3 * dt_y < now) + (t_y - 2 * dt_y < now) + (t_y - dt_y < now)
    n_z = (t_z - 3 * dt_z < now) + (t_z - 2 * dt_z < now) + (t_z - dt_z < now)
    t_x, t_y, t_z = t_x - (3 - n_x) * dt_x, t_y - (3 - n_y) * dt_y, t_z - (3 - n_z) * dt_z
    place = (n_x << 4) | (n_y << 2) | n_z
    while now <= last:
        bit = place ^ mirror
        if (word >> np.uint64(bit)) & np.uint64(1):
            return now, bit
        now = min(t_x, t_y, t_z)
        if now == leaves:
            break
        is_x, is_y, is_z = now == t_x, now == t_y, now == t_z
        place += 16 if is_x else (4 if is_y else 1)
        t_x += dt_x if is_x else 0
        t_y += dt_y if is_y else 0
        t_z += dt_z if is_z else 0
    return now, -1


@no_type_check
@njit(cache=True, inline="always")
def _is_outside(box, x, y, z):
    """Whether a block is not in the box."""
    return not (box[0, 0] <= x <= box[1, 0] and box[0, 1] <= y <= box[1, 1] and box[0, 2] <= z <= box[1, 2])


@no_type_check
@njit(cache=True)
def _look_up(box, pool, x, y, z):
    """What the grid would have at a place, for maps that are too wide for a grid."""
    table, keys, flags = pool
    x, y, z = x + box[0, 0] - 1, y + box[0, 1] - 1, z + box[0, 2] - 1
    if _is_outside(box, x, y, z):
        return np.int64(GAPS | OUTSIDE)
    row = find(table, keys, pack(x, y, z))
    return np.int64(((row + 1) << CODE_BITS) | flags[row]) if row >= 0 else np.int64(GAPS)


@no_type_check
@njit(cache=True)
def _enter(box, axes, last):
    """(crossing, voxel, crossings after) where a ray from outside first meets the box, crossing -1 if it does not."""
    now, miss = np.int64(_START), (np.int64(-1), 0, 0, 0, 0, 0, 0)
    for axis, (voxel, step, t, dt) in enumerate(axes):
        gap = 8 * box[0, axis] - voxel if step > 0 else voxel - 8 * box[1, axis] - 7  # faces up to the box
        if gap > 0:
            if t > last or gap - 1 > (last - t) // dt:
                return miss
            now = max(now, t + (gap - 1) * dt)
    at, after = np.empty(3, np.int64), np.empty(3, np.int64)
    for axis, (voxel, step, t, dt) in enumerate(axes):
        n = (now - t) // dt + 1 if t <= now else 0
        at[axis], after[axis] = voxel + n * step, t + n * dt
    if _is_outside(box, at[0] >> 3, at[1] >> 3, at[2] >> 3):
        return miss
    return now, at[0], at[1], at[2], after[0], after[1], after[2]


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
