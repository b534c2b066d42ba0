"""Marks of a depth image: exact end voxels, free space by projecting the centres of voxels into the image.

Each voxel of the view frustum is visited once, where rays would pass the voxels near the camera again and again.
"""

from __future__ import annotations

from math import ceil, floor, sqrt
from typing import no_type_check

import numpy as np
from numba import njit

from embmem.maps.voxels.integrate import FREE, HIT

NEAR = 1e-3  # [m] voxel centres nearer to the camera plane are left alone


@no_type_check
@njit(cache=True, error_model="numpy")
def depth_ends(depth, focal, T, limits, ends, reach):
    """(n, farthest reach): how many rows of `ends` were written, each (x, y, z, HIT, or FREE if cut).

    Args:
        depth: (h, w) planar z [m]; NaN and what is not positive are skipped.
        focal: (fx, fy, cx, cy) [px].
        T: (4, 4) camera to map.
        limits: (resolution, max_range, margin) [m].
        ends: (h * w, 4) int32, written.
        reach: (h, w) float32, written: planar z up to which a voxel centre is in front of the surface by `margin`.
    """
    fx, fy, cx, cy = focal
    resolution, max_range, margin = limits
    n, farthest = 0, 0.0
    inverse = 1.0 / resolution
    for row in range(depth.shape[0]):
        v = (row - cy) / fy
        ax, ay, az = T[0, 1] * v + T[0, 2], T[1, 1] * v + T[1, 2], T[2, 1] * v + T[2, 2]
        for column in range(depth.shape[1]):
            z = float(depth[row, column])
            if not 0.0 < z < np.inf:
                reach[row, column] = 0.0
                continue
            u = (column - cx) / fx
            square = 1.0 + u * u + v * v
            mark, clear = HIT, z - margin
            if z * z * square > max_range * max_range:
                z = max_range / sqrt(square)
                mark, clear = FREE, z
            reach[row, column] = clear
            farthest = max(farthest, clear)
            ends[n, 0] = floor((z * (T[0, 0] * u + ax) + T[0, 3]) * inverse)
            ends[n, 1] = floor((z * (T[1, 0] * u + ay) + T[1, 3]) * inverse)
            ends[n, 2] = floor((z * (T[2, 0] * u + az) + T[2, 3]) * inverse)
            ends[n, 3] = mark
            n += 1
    return n, farthest


@no_type_check
@njit(cache=True, error_model="numpy")
def mark_ends(marks, shape, corner, ends, n):
    """Mark the first n end voxels in the flat grid whose first voxel is `corner`."""
    for i in range(n):
        x, y, z = ends[i, 0] - corner[0], ends[i, 1] - corner[1], ends[i, 2] - corner[2]
        marks[(x * shape[1] + y) * shape[2] + z] |= ends[i, 3]


@no_type_check
@njit(cache=True, error_model="numpy")
def mark_free(marks, shape, reach, farthest, focal, T_camera_voxel):
    """Mark the voxels whose centre is in front of what was measured in the pixel that it projects to.

    Args:
        marks: flat uint8 grid.
        shape: (x, y, z) size of the grid in voxels.
        reach: (h, w) as `depth_ends` left it, `farthest` its maximum.
        focal: (fx, fy, cx, cy) [px].
        T_camera_voxel: (3, 4) takes voxels of the grid (integers are centres) to the camera [m].
    """
    fx, fy, cx, cy = focal
    height, width = reach.shape
    M = T_camera_voxel
    # Along a column of voxels everything is linear in its index k, so the frustum cuts out one interval of k.
    planes = np.empty((6, 4))
    planes[0] = fx * M[0] + (cx + 0.5) * M[2]
    planes[1] = (width - 0.5 - cx) * M[2] - fx * M[0]
    planes[2] = fy * M[1] + (cy + 0.5) * M[2]
    planes[3] = (height - 0.5 - cy) * M[2] - fy * M[1]
    planes[4] = M[2]
    planes[4, 3] -= NEAR
    planes[5] = -M[2]
    planes[5, 3] += farthest
    for x in range(shape[0]):
        for y in range(shape[1]):
            first, last = _interval(planes, x, y, shape[2])
            base = (x * shape[1] + y) * shape[2]
            px = M[0, 0] * x + M[0, 1] * y + M[0, 3]
            py = M[1, 0] * x + M[1, 1] * y + M[1, 3]
            pz = M[2, 0] * x + M[2, 1] * y + M[2, 3]
            _mark_column(marks[base + first : base + last + 1], first, (px, py, pz), M, focal, reach)


@no_type_check
@njit(cache=True, error_model="numpy")
def _mark_column(column, first, corner, M, focal, reach):
    """Mark the voxels of one column, which starts at index `first` above the camera point `corner`."""
    fx, fy, cx, cy = focal
    height, width = reach.shape
    for i in range(len(column)):
        k = first + i
        z = corner[2] + k * M[2, 2]
        # rounding may lead outside of the image
        u = min(max(fx * (corner[0] + k * M[0, 2]) / z + cx + 0.5, 0.0), width - 1.0)
        v = min(max(fy * (corner[1] + k * M[1, 2]) / z + cy + 0.5, 0.0), height - 1.0)
        column[i] |= FREE * np.uint8(z <= reach[np.uint32(v), np.uint32(u)])


@no_type_check
@njit(cache=True, error_model="numpy")
def _interval(planes, x, y, n):
    """(first, last) k in [0, n) on the positive side of every plane; first > last if there is none."""
    low, high = 0.0, n - 1.0
    for i in range(6):
        offset = planes[i, 0] * x + planes[i, 1] * y + planes[i, 3]
        slope = planes[i, 2]
        if abs(slope) < 1e-12:
            if offset < 0.0:
                return 0, -1
        elif slope > 0.0:
            low = max(low, -offset / slope)
        else:
            high = min(high, -offset / slope)
    if low > high:
        return 0, -1
    return ceil(low), floor(high)
