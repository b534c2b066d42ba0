"""A frame's box cut into tiles that fit into memory, and rays that go from tile to tile.

Every tile is visited once. Along each axis a ray only moves away from where it started, so in order of their distance
from the tile of the origins, counted in tiles, no ray enters a tile that was visited before.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import floor
from typing import no_type_check

import numpy as np
from numba import njit

from embmem.maps.voxels.blocks import SIDE
from embmem.maps.voxels.integrate import FREE
from embmem.maps.voxels.rays import crossings, flat_index, next_axis

Tile = tuple[int, int, int, int, int, int]  # x, y, z of the first voxel, size along x, y, z


class Tiling:
    """Tiles of one size that cover a box of blocks; one of them holds all origins.

    Args:
        low, high: (3,) first and last block of the box.
        home: (2, 3) first and last block that holds an origin.
        n_bytes: largest size of a tile, one byte a voxel.

    Raises:
        ValueError: if the origins are too far from each other for one tile.
    """

    def __init__(self, low: np.ndarray, high: np.ndarray, home: np.ndarray, n_bytes: int) -> None:
        side = (high - low + 1).astype(np.int64)
        while side.prod() * SIDE**3 > n_bytes and side.max() > 1:
            longest = int(side.argmax())
            side[longest] = -(-side[longest] // 2)
        spare = side - (home[1] - home[0] + 1)
        if (spare < 0).any():
            raise ValueError(
                f"origins {SIDE * (home[1] - home[0])} voxels apart do not fit into one frame of {n_bytes} B"
            )
        whole = side == high - low + 1
        home_start = np.where(whole, low, home[0] - spare // 2)
        n_before = -((low - home_start) // side)
        self.start = (home_start - n_before * side) * SIDE  # (3,) first voxel
        self.size = side * SIDE  # (3,) of a tile in voxels
        self.home = n_before  # (3,) the tile of the origins
        self.counts = (high * SIDE - self.start) // self.size + 1  # (3,) tiles

    def __len__(self) -> int:
        return int(self.counts.prod())

    def __iter__(self) -> Iterator[tuple[int, Tile]]:
        """(number, tile), those nearer to the origins first."""
        each = np.stack(np.unravel_index(np.arange(len(self)), tuple(self.counts.tolist())), axis=1)
        for i in np.argsort(np.abs(each - self.home).sum(axis=1), kind="stable").tolist():
            x, y, z = (self.start + each[i] * self.size).tolist()
            a, b, c = self.size.tolist()
            yield i, (x, y, z, a, b, c)


class TiledRays:
    """Rays on their way through a tiling.

    Args:
        starts, targets: as `mark_rays` takes them.
        n: how many rays there are.
        n_parts: the rays are dealt out to this many parts that threads can walk at once.
    """

    def __init__(self, tiling: Tiling, starts: np.ndarray, targets: np.ndarray, n: int, n_parts: int) -> None:
        self._rays = (starts, targets)
        self._state = (np.empty((n, 3)), np.empty((n, 3), dtype=np.int32), np.empty(n, dtype=np.int32))
        self._heads = np.full((n_parts, len(tiling)), -1, dtype=np.int32)
        strides = np.array([tiling.counts[1] * tiling.counts[2], tiling.counts[2], 1])
        self._strides = strides
        _enter(self._state, self._heads, int(tiling.home @ strides), starts, targets)

    def arguments(self, number: int) -> tuple[object, ...]:
        """What `mark_tiled_rays` takes after marks and tile for the tile `number`."""
        return (number, self._strides, self._state, self._heads, *self._rays)


@no_type_check
@njit(cache=True, error_model="numpy")
def _enter(state, heads, home, starts, targets):
    """Put all rays at their beginning, into the lists of the tile `home`."""
    crossing, at, following = state
    n, n_parts = len(at), len(heads)
    for i in range(n):
        start = starts[i if len(starts) > 1 else 0]
        if targets[i, 0] != targets[i, 0]:
            continue
        for axis in range(3):
            at[i, axis] = floor(start[axis])
            crossing[i, axis] = crossings(start[axis], targets[i, axis])[1]
        part = i * n_parts // n
        following[i], heads[part, home] = heads[part, home], i


@no_type_check
@njit(cache=True, nogil=True, error_model="numpy")
def mark_tiled_rays(marks, tile, number, strides, state, heads, starts, targets, start, stop):
    """Walk the rays of the parts start <= part < stop through the tile `number` and hand them to the next tile.

    Args:
        marks: flat uint8 grid.
        tile: (x, y, z, size x, y, z) [voxels].
        strides: (3,) difference of the numbers of two tiles that are neighbours along an axis.
        state: (next crossing (n, 3), voxel (n, 3), next ray of the list (n,)).
        heads: (parts, tiles) first ray of the list, -1 if it is empty.
        starts, targets: as `mark_rays` takes them.
    """
    crossing, at, following = state
    for part in range(start, stop):
        i, heads[part, number] = heads[part, number], -1
        while i >= 0:
            then = following[i]
            origin = starts[i if len(starts) > 1 else 0]
            axis, direction = _walk(marks, tile, origin, targets[i], crossing[i], at[i])
            if axis >= 0:
                neighbour = number + direction * strides[axis]
                following[i], heads[part, neighbour] = heads[part, neighbour], i
            i = then


@no_type_check
@njit(error_model="numpy")
def _walk(marks, tile, start, end, crossing, at):
    """(axis, direction) in which a ray leaves the tile, axis -1 if it ends there; `crossing` and `at` move along."""
    step_x, _, dt_x = crossings(start[0], end[0])
    step_y, _, dt_y = crossings(start[1], end[1])
    step_z, _, dt_z = crossings(start[2], end[2])
    x, y, z = int(at[0]), int(at[1]), int(at[2])
    t_x, t_y, t_z = crossing[0], crossing[1], crossing[2]
    left = (floor(end[0]) - x) * step_x + (floor(end[1]) - y) * step_y + (floor(end[2]) - z) * step_z
    axis, direction = -1, 0
    while left > 0:
        marks[flat_index(x, y, z, tile)] = FREE
        left -= 1
        nearest = next_axis(t_x, t_y, t_z)
        if nearest == 0:
            x += step_x
            t_x += dt_x
            is_out, direction = not tile[0] <= x < tile[0] + tile[3], step_x
        elif nearest == 1:
            y += step_y
            t_y += dt_y
            is_out, direction = not tile[1] <= y < tile[1] + tile[4], step_y
        else:
            z += step_z
            t_z += dt_z
            is_out, direction = not tile[2] <= z < tile[2] + tile[5], step_z
        if is_out and left > 0:
            axis = nearest
            break
    at[0], at[1], at[2] = x, y, z
    crossing[0], crossing[1], crossing[2] = t_x, t_y, t_z
    return axis, direction
