"""Marks of range images of any sensor: exact end voxels along its rays, free space by projecting centres of voxels."""

from __future__ import annotations

from math import asin, atan2, cos, floor, hypot, pi, sin, sqrt
from typing import no_type_check

import numpy as np
from numba import njit

from embmem.maps.voxels.blocks import SIDE
from embmem.maps.voxels.integrate import FREE
from embmem.maps.voxels.project import measured
from embmem.maps.voxels.sensors import N_AZIMUTH, N_ELEVATION, pixel_of_point


@no_type_check
@njit(cache=True, nogil=True, error_model="numpy")
def range_ends(ranges, rays, T, limits, home, ends, reach, points, start, stop):
    """(low, high, farthest reach, n cut) of the end voxels of the rows start <= row < stop, `home` included.

    Args:
        ranges: (h, w) multiples [m] of the pixels' rays; what is not finite and positive is skipped.
        rays: (h, w, 3) in the sensor's frame; NaN where a pixel has none.
        T: (4, 4) sensor to map.
        limits: (resolution, max_range, margin) [m].
        home: (3,) int32 voxel of the sensor.
        ends: (h * w, 4) int32, written at the pixel's flat index: x, y, z and HIT, FREE if cut or 0 if skipped.
        reach: (h, w) float32, written: multiple up to which a voxel centre is in front of the surface by `margin`.
        points: (h * w, 3) ends in fractions of voxels, NaN if skipped; written unless empty.
    """
    resolution, max_range, margin = limits
    low, high, farthest, n_cut = home.copy(), home.copy(), 0.0, 0
    for row in range(start, stop):
        for column in range(ranges.shape[1]):
            i = row * ranges.shape[1] + column
            ray = rays[row, column]
            square = ray[0] * ray[0] + ray[1] * ray[1] + ray[2] * ray[2]
            value = np.nan if np.isnan(square) else float(ranges[row, column])
            mark, r, clear = measured(value, square, margin, max_range)
            reach[row, column] = clear
            farthest = max(farthest, clear * sqrt(square) if mark != 0 else 0.0)
            n_cut += mark == FREE
            ends[i, 3] = mark
            for axis in range(3):
                slope = T[axis, 0] * ray[0] + T[axis, 1] * ray[1] + T[axis, 2] * ray[2]
                point = (r * slope + T[axis, 3]) / resolution if mark != 0 else np.nan
                if len(points) > 0:
                    points[i, axis] = point
                if mark != 0:
                    ends[i, axis] = floor(point)
                    low[axis], high[axis] = min(low[axis], ends[i, axis]), max(high[axis], ends[i, axis])
    return low, high, farthest, n_cut


@no_type_check
@njit(cache=True, nogil=True, error_model="numpy")
def mark_seen(marks, tile, reach, cells, slack, model, M, start, stop):
    """Mark the voxels whose centre is in front of what was measured in the pixel that it projects to.

    Args:
        marks: flat uint8 grid.
        tile: (x, y, z, size x, y, z) [voxels] of the grid in the frame's box; all are multiples of 8.
        reach: (h, w) as `range_ends` left it.
        cells: as `farthest_in_cells` returned.
        slack: half the angle [rad] between pixels.
        model: of the sensor, see `sensors`.
        M: (3, 4) takes voxels of the frame's box (integers are centres) to the sensor [m].
        start, stop: of the blocks along x to mark.
    """
    kind, numbers, borders = model
    half = 0.5 * (SIDE - 1)
    radius = half * sqrt(3.0 * (M[0, 0] * M[0, 0] + M[1, 0] * M[1, 0] + M[2, 0] * M[2, 0]))
    for block_x in range(tile[0] + start * SIDE, tile[0] + stop * SIDE, SIDE):
        for block_y in range(tile[1], tile[1] + tile[4], SIDE):
            for block_z in range(tile[2], tile[2] + tile[5], SIDE):
                x, y, z = _moved(M, block_x + half, block_y + half, block_z + half)
                if not _is_hidden(x, y, z, radius, cells, slack):
                    _mark_block(marks, tile, (block_x, block_y, block_z), reach, (kind, numbers, borders), M)


@no_type_check
@njit(cache=True, error_model="numpy")
def farthest_in_cells(reach, rays, cell_of_pixel):
    """(elevation, azimuth) farthest reach [m] of the pixels in each cell of the sphere of directions, else 0."""
    farthest = np.zeros((N_ELEVATION, N_AZIMUTH))
    flat = farthest.reshape(farthest.size)
    for row in range(reach.shape[0]):
        for column in range(reach.shape[1]):
            cell = cell_of_pixel[row, column]
            if cell >= 0 and reach[row, column] > 0.0:
                ray = rays[row, column]
                length = sqrt(ray[0] * ray[0] + ray[1] * ray[1] + ray[2] * ray[2])
                flat[cell] = max(flat[cell], reach[row, column] * length)
    return farthest


@no_type_check
@njit(error_model="numpy")
def _is_hidden(x, y, z, radius, cells, slack):
    """Whether all that was measured towards a ball around (x, y, z) is nearer than the ball."""
    level = hypot(x, y)
    distance = hypot(level, z)
    nearest = (distance - radius) / (1.0 + 4.0 * slack)  # the planar depth of neighbouring pixels differs a little
    if nearest <= radius:
        return False
    spread = asin(radius / distance) + slack + 1e-6
    elevation, azimuth = atan2(z, level), atan2(y, x)
    first = max(floor((elevation - spread + 0.5 * pi) * (N_ELEVATION / pi)), 0)
    last = min(floor((elevation + spread + 0.5 * pi) * (N_ELEVATION / pi)), N_ELEVATION - 1)
    widest = abs(elevation) + spread
    left, right = 0, N_AZIMUTH - 1
    if widest < 1.4:  # [rad]; nearer to the poles every azimuth is looked at
        turn = asin(min(sin(spread) / cos(widest), 1.0)) if sin(spread) < cos(widest) else pi
        left = floor((azimuth - turn + pi) * (N_AZIMUTH / (2.0 * pi)))
        right = floor((azimuth + turn + pi) * (N_AZIMUTH / (2.0 * pi)))
    for i in range(first, last + 1):
        for j in range(left, right + 1):
            if cells[i, j % N_AZIMUTH] >= nearest:
                return False
    return True


@no_type_check
@njit(error_model="numpy")
def _moved(M, x, y, z):
    return (
        M[0, 0] * x + M[0, 1] * y + M[0, 2] * z + M[0, 3],
        M[1, 0] * x + M[1, 1] * y + M[1, 2] * z + M[1, 3],
        M[2, 0] * x + M[2, 1] * y + M[2, 2] * z + M[2, 3],
    )


@no_type_check
@njit(error_model="numpy")
def _mark_block(marks, tile, block, reach, model, M):
    kind, numbers, borders = model
    for i in range(block[0], block[0] + SIDE):
        for j in range(block[1], block[1] + SIDE):
            base = ((i - tile[0]) * tile[4] + (j - tile[1])) * tile[5] - tile[2]
            for k in range(block[2], block[2] + SIDE):
                x, y, z = _moved(M, i, j, k)
                row, column, distance = pixel_of_point(x, y, z, kind, numbers, borders)
                if row >= 0 and distance <= reach[row, column]:
                    marks[base + k] = FREE
