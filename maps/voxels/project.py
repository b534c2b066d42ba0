"""Marks of a depth image: exact end voxels, free space by projecting the centres of voxels into the image.

Each voxel of the view frustum is visited once, where rays would pass the voxels near the camera again and again.
Blocks that lie outside of the frustum, or wholly behind what was measured, are skipped: that changes no mark, since
the bounds leave room for rounding.
"""

from __future__ import annotations

from math import ceil, floor, sqrt
from typing import no_type_check

import numpy as np
from numba import njit

from embmem.maps.voxels.blocks import SIDE
from embmem.maps.voxels.integrate import FREE, HIT

NEAR = 1e-3  # [m] voxel centres nearer to the camera plane are left alone
PATCH = 16  # pixels along the edge of a patch of the image whose farthest reach is known
_SLACK = 1e-6  # [m], [px]; far more than rounding moves anything


@no_type_check
@njit(error_model="numpy")
def measured(z, square, margin, max_range):
    """(mark, z, clear) of a pixel with planar depth z [m], cut at `max_range`.

    Args:
        square: squared length of the pixel's ray up to planar depth 1.
        margin: distance [m] that free space keeps from a surface; `clear` is the planar depth up to which it goes.
    """
    if not 0.0 < z < np.inf:
        return 0, 0.0, 0.0
    if z * z * square > max_range * max_range:
        cut = max_range / sqrt(square)
        return FREE, cut, cut
    return HIT, z, z - margin


@no_type_check
@njit(error_model="numpy")
def end_coordinate(z, slope, offset, inverse):
    """A coordinate of the point at planar depth z of a ray with this slope, in fractions of voxels."""
    return (z * slope + offset) * inverse


@no_type_check
@njit(error_model="numpy")
def pixel_of(x, y, z, focal, size):
    """(row, column) of the pixel nearest to a camera point's projection, at most on the border of the image."""
    # rounding may lead outside of the image
    u = min(max(focal[0] * x / z + focal[2] + 0.5, 0.0), size[1] - 1.0)
    v = min(max(focal[1] * y / z + focal[3] + 0.5, 0.0), size[0] - 1.0)
    return np.int32(v), np.int32(u)


@no_type_check
@njit(cache=True, nogil=True, error_model="numpy")
def depth_ends(depth, focal, T, limits, home, ends, reach, points, start, stop):
    """(low, high, farthest reach, n cut) of the end voxels of the rows start <= row < stop, `home` included.

    Args:
        depth: (h, w) planar z [m]; what is not finite and positive is skipped.
        focal: (fx, fy, cx, cy) [px].
        T: (4, 4) camera to map.
        limits: (resolution, max_range, margin) [m].
        home: (3,) int32 voxel of the camera.
        ends: (h * w, 4) int32, written at the pixel's flat index: x, y, z and HIT, FREE if cut or 0 if skipped.
        reach: (h, w) float32, written: planar z up to which a voxel centre is in front of the surface by `margin`.
        points: (h * w, 3) ends in fractions of voxels, NaN if skipped; written unless empty.
    """
    width = depth.shape[1]
    inverse = 1.0 / limits[0]
    columns = (np.arange(width) - focal[2]) / focal[0]
    squares = 1.0 + columns * columns
    z_row, mark_row, end_row = np.empty(width), np.empty(width, dtype=np.int32), np.empty((3, width), dtype=np.int32)
    low, high, farthest, n_cut = home.copy(), home.copy(), 0.0, 0
    for row in range(start, stop):
        v = (row - focal[3]) / focal[1]
        clear, n_far = _measure_row(depth[row], squares, v * v, limits, z_row, mark_row, reach[row])
        farthest, n_cut = max(farthest, clear), n_cut + n_far
        for axis in range(3):
            offset = T[axis, 1] * v + T[axis, 2]
            _end_row(z_row, columns, (T[axis, 0], offset, T[axis, 3], inverse), end_row[axis])
            low[axis], high[axis] = _widen(end_row[axis], mark_row, home[axis], low[axis], high[axis])
            if len(points) > 0:
                for column in range(width):
                    z = z_row[column] if mark_row[column] != 0 else np.nan
                    slope = T[axis, 0] * columns[column] + offset
                    points[row * width + column, axis] = end_coordinate(z, slope, T[axis, 3], inverse)
        for column in range(width):
            i = row * width + column
            ends[i, 0], ends[i, 1] = end_row[0, column], end_row[1, column]
            ends[i, 2], ends[i, 3] = end_row[2, column], mark_row[column]
    return low, high, farthest, n_cut


@no_type_check
@njit(error_model="numpy")
def _measure_row(depth, squares, v_square, limits, z_row, mark_row, reach):
    """`measured` of one row of pixels: (farthest reach, n cut). Most rows end before max_range: no branches then."""
    _, max_range, margin = limits
    n_far = 0
    for column in range(len(depth)):
        z = np.float64(depth[column])
        is_valid = (z > 0.0) & (z < np.inf)
        z = z if is_valid else 0.0
        n_far += z * z * (squares[column] + v_square) > max_range * max_range
        z_row[column] = z
        mark_row[column] = np.int32(HIT) if is_valid else np.int32(0)
        reach[column] = z - margin if is_valid else 0.0
    if n_far == 0:
        most = np.int64(0)
        bits = z_row.view(np.int64)  # numbers that are not negative are ordered like their bits
        for column in range(len(bits)):
            most = max(most, bits[column])
        return np.array([most]).view(np.float64)[0] - margin, 0
    farthest = 0.0
    for column in range(len(depth)):
        square = squares[column] + v_square
        mark_row[column], z_row[column], clear = measured(np.float64(depth[column]), square, margin, max_range)
        reach[column] = clear
        farthest = max(farthest, clear)
    return farthest, n_far


@no_type_check
@njit(error_model="numpy")
def _end_row(z_row, columns, line, end_row):
    """End coordinates of one row of pixels along one axis, rounded down."""
    slope, offset, start, inverse = line
    for column in range(len(z_row)):
        end = end_coordinate(z_row[column], slope * columns[column] + offset, start, inverse)
        end_row[column] = np.int32(np.floor(end))


@no_type_check
@njit
def _widen(end_row, mark_row, home, low, high):
    """(low, high) widened by the ends with a mark; the others stand for `home`."""
    for column in range(len(end_row)):
        end = end_row[column] if mark_row[column] != 0 else home
        low, high = min(low, end), max(high, end)
    return low, high


@no_type_check
@njit(cache=True, nogil=True)
def farthest_in_patches(reach, patches, start, stop):
    """Write the maximum of `reach` in every patch of PATCH x PATCH pixels, for the patch rows start <= i < stop."""
    height, width = reach.shape
    columns = np.empty(width, dtype=np.float32)
    for i in range(start, stop):
        columns[:] = 0.0
        for row in range(i * PATCH, min((i + 1) * PATCH, height)):
            for column in range(width):
                columns[column] = reach[row, column] if reach[row, column] > columns[column] else columns[column]
        for j in range(patches.shape[1]):
            patches[i, j] = columns[j * PATCH : (j + 1) * PATCH].max()


@no_type_check
@njit(cache=True, error_model="numpy")
def view_planes(M, focal, size, farthest):
    """(6, 4) planes around the view, >= 0 inside: along a column of voxels each cuts out one half line."""
    fx, fy, cx, cy = focal
    planes = np.empty((6, 4))
    planes[0] = fx * M[0] + (cx + 0.5) * M[2]
    planes[1] = (size[1] - 0.5 - cx) * M[2] - fx * M[0]
    planes[2] = fy * M[1] + (cy + 0.5) * M[2]
    planes[3] = (size[0] - 0.5 - cy) * M[2] - fy * M[1]
    planes[4] = M[2]
    planes[4, 3] -= NEAR
    planes[5] = -M[2]
    planes[5, 3] += farthest
    return planes


@no_type_check
@njit(cache=True, nogil=True, error_model="numpy")
def mark_free(marks, tile, reach, patches, planes, focal, M, start, stop):
    """Mark the voxels whose centre is in front of what was measured in the pixel that it projects to.

    Args:
        marks: flat uint8 grid.
        tile: (x, y, z, size x, y, z) [voxels] of the grid in the frame's box; all are multiples of 8.
        reach: (h, w) as `depth_ends` left it; `patches` as `farthest_in_patches` did.
        planes: as of `view_planes`.
        focal: (fx, fy, cx, cy) [px].
        M: (3, 4) takes voxels of the frame's box (integers are centres) to the camera [m].
        start, stop: of the blocks along x to mark.
    """
    crossed = np.empty(6, dtype=np.int64)
    scratch = (np.empty((3, SIDE * SIDE)), np.empty((SIDE, SIDE * SIDE)), np.empty((SIDE, SIDE * SIDE), dtype=np.int32))
    for block_x in range(tile[0] + start * SIDE, tile[0] + stop * SIDE, SIDE):
        for block_y in range(tile[1], tile[1] + tile[4], SIDE):
            for block_z in range(tile[2], tile[2] + tile[5], SIDE):
                block = (block_x, block_y, block_z)
                n_crossed = _planes_through(block, planes, crossed)
                if n_crossed < 0 or _is_hidden(block, patches, focal, reach.shape, M):
                    continue
                _mark_block(marks, tile, block, reach, planes[crossed[:n_crossed]], focal, M, scratch)


@no_type_check
@njit(error_model="numpy")
def _planes_through(block, planes, crossed):
    """How many planes pass through the block, their numbers in `crossed`; -1 if it lies outside of one."""
    half = 0.5 * (SIDE - 1)
    n = 0
    for i in range(6):
        a, b, c = planes[i, 0], planes[i, 1], planes[i, 2]
        middle = a * (block[0] + half) + b * (block[1] + half) + c * (block[2] + half) + planes[i, 3]
        reach = half * (abs(a) + abs(b) + abs(c))
        slack = _SLACK * (abs(middle) + reach + abs(planes[i, 3]) + 1e-3)
        if middle < -reach - slack:
            return -1
        if middle < reach + slack:
            crossed[n] = i
            n += 1
    return n


@no_type_check
@njit(error_model="numpy")
def _is_hidden(block, patches, focal, size, M):
    """Whether all that was measured where the block projects to is nearer than the block."""
    half = 0.5 * (SIDE - 1)
    x, y, z = block[0] + half, block[1] + half, block[2] + half
    centre = (
        M[0, 0] * x + M[0, 1] * y + M[0, 2] * z + M[0, 3],
        M[1, 0] * x + M[1, 1] * y + M[1, 2] * z + M[1, 3],
        M[2, 0] * x + M[2, 1] * y + M[2, 2] * z + M[2, 3],
    )
    spread_x = half * (abs(M[0, 0]) + abs(M[0, 1]) + abs(M[0, 2]))
    spread_y = half * (abs(M[1, 0]) + abs(M[1, 1]) + abs(M[1, 2]))
    nearest = centre[2] - half * (abs(M[2, 0]) + abs(M[2, 1]) + abs(M[2, 2])) - _SLACK
    if nearest < NEAR:
        return False
    first_u, last_u = _image_interval(centre[0], spread_x, nearest, 2.0 * centre[2] - nearest, focal[0], focal[2])
    first_v, last_v = _image_interval(centre[1], spread_y, nearest, 2.0 * centre[2] - nearest, focal[1], focal[3])
    first_u, last_u = max(first_u, 0.0), min(last_u, size[1] - 1.0)
    first_v, last_v = max(first_v, 0.0), min(last_v, size[0] - 1.0)
    for i in range(int(first_v) // PATCH, int(max(last_v, 0.0)) // PATCH + 1):
        for j in range(int(first_u) // PATCH, int(max(last_u, 0.0)) // PATCH + 1):
            if patches[min(i, patches.shape[0] - 1), min(j, patches.shape[1] - 1)] >= nearest:
                return False
    return True


@no_type_check
@njit(error_model="numpy")
def _image_interval(middle, spread, near, far, focal, centre):
    """(first, last) pixel coordinate of what lies within `spread` of `middle` at planar depths near to far."""
    low, high = middle - spread, middle + spread
    first = focal * low / (near if low < 0.0 else far) + centre + 0.5
    last = focal * high / (far if high < 0.0 else near) + centre + 0.5
    return first - 1.0, last + 1.0


@no_type_check
@njit(error_model="numpy")
def _mark_block(marks, tile, block, reach, planes, focal, M, scratch):
    """Mark the voxels of one block that lie between the planes through it and in front of what was measured."""
    columns, depths, pixels = scratch
    for i in range(SIDE * SIDE):
        x, y = block[0] + i // SIDE, block[1] + i % SIDE
        columns[0, i] = M[0, 0] * x + M[0, 1] * y + M[0, 3]
        columns[1, i] = M[1, 0] * x + M[1, 1] * y + M[1, 3]
        columns[2, i] = M[2, 0] * x + M[2, 1] * y + M[2, 3]
    for i in range(SIDE):
        z = block[2] + i
        _project_layer(columns, (z * M[0, 2], z * M[1, 2], z * M[2, 2]), focal, reach.shape, depths[i], pixels[i])
    flat = reach.reshape(reach.size)
    for i in range(SIDE * SIDE):
        x, y = block[0] + i // SIDE, block[1] + i % SIDE
        first, last = block[2], block[2] + SIDE - 1
        if len(planes) > 0:
            first, last = interval(planes, x, y, first, last)
        base = ((x - tile[0]) * tile[4] + (y - tile[1])) * tile[5] - tile[2]
        for z in range(first, last + 1):
            k = z - block[2]
            marks[base + z] |= FREE * np.uint8(depths[k, i] <= flat[np.uint32(pixels[k, i])])


@no_type_check
@njit(error_model="numpy")
def _project_layer(columns, offset, focal, size, depths, pixels):
    """Planar depth and flat pixel index of 64 voxels of one height."""
    for i in range(SIDE * SIDE):
        depths[i] = columns[2, i] + offset[2]
        row, column = pixel_of(columns[0, i] + offset[0], columns[1, i] + offset[1], depths[i], focal, size)
        pixels[i] = row * np.int32(size[1]) + column


@no_type_check
@njit(error_model="numpy")
def interval(planes, x, y, first, last):
    """(first, last) z on the positive side of every plane; first > last if there is none."""
    low, high = float(first), float(last)
    for i in range(len(planes)):
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
