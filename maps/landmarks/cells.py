"""Which points are near: a hash over cells of space, for points that are added one by one."""

from __future__ import annotations

from math import floor, sqrt
from typing import no_type_check

import numpy as np
from jaxtyping import Float, Int
from numba import njit

from embmem.maps.landmarks.pools import grown

_MOST_CELLS = 4096  # that a search looks into before it looks at every point


class Cells:
    """Points of the rows 0..n-1 of a table, hashed by the cell of edge `size` [m] that they lie in.

    Teschner et al., Optimized spatial hashing for collision detection of deformable objects, VMV 2003.
    """

    def __init__(self, size: float) -> None:
        self.size = size
        self._n = 0
        self._heads, self._next = np.full(1024, -1, dtype=np.int32), np.empty(0, dtype=np.int32)
        self._box = np.array([[1, 1, 1], [0, 0, 0]], dtype=np.int64)  # of cells: lowest and highest, empty

    @property
    def nbytes(self) -> int:
        """Bytes of RAM."""
        return self._heads.nbytes + self._next.nbytes

    def add(self, positions: Float[np.ndarray, "n 3"]) -> None:
        """Take in the rows of the table that are new; `positions` are those of all rows."""
        n = len(positions)
        self._next = grown(self._next, n)
        if n > len(self._heads):
            self._heads = np.full(1 << int(n).bit_length(), -1, dtype=np.int32)
            self._n = 0
        _insert(self._heads, self._next, self._box, positions, self._n, self.size)
        self._n = n

    def within(
        self, positions: Float[np.ndarray, "n 3"], point: Float[np.ndarray, "3"], radius: float
    ) -> Int[np.ndarray, " k"]:
        """Rows within `radius` [m] of a point, ascending."""
        return np.sort(_within(self._heads, self._next, self._box, positions, point, radius, self.size))

    def nearest(
        self, positions: Float[np.ndarray, "n 3"], point: Float[np.ndarray, "3"], is_alive: np.ndarray
    ) -> tuple[int, float]:
        """(row, distance [m]) of the nearest point that is alive, the lowest row of a tie; (-1, inf) if none is."""
        row, distance = _nearest(self._heads, self._next, self._box, positions, point, is_alive, self.size)
        return int(row), float(distance)


@no_type_check
@njit(cache=True, inline="always")
def _bucket(x, y, z, n):
    mixed = (x * 0x1F1F1F1F1F1F1F + y * 0x2B5AD5B5D5B5D5 + z * 0x3C6EF372FE94F8) & 0x7FFFFFFFFFFFFFFF
    return (mixed ^ (mixed >> 29) ^ (mixed >> 47)) & (n - 1)


@no_type_check
@njit(cache=True)
def _insert(heads, following, box, positions, begin, size):
    for row in range(begin, len(positions)):
        x, y, z = floor(positions[row, 0] / size), floor(positions[row, 1] / size), floor(positions[row, 2] / size)
        bucket = _bucket(x, y, z, len(heads))
        following[row], heads[bucket] = heads[bucket], row
        for axis, cell in enumerate((x, y, z)):
            if row == 0 or cell < box[0, axis]:
                box[0, axis] = cell
            if row == 0 or cell > box[1, axis]:
                box[1, axis] = cell


@no_type_check
@njit(cache=True, inline="always")
def _apart(positions, row, point):
    x, y, z = positions[row, 0] - point[0], positions[row, 1] - point[1], positions[row, 2] - point[2]
    return sqrt(x * x + y * y + z * z)


@no_type_check
@njit(cache=True)
def _reach(box, point, radius, size):
    """Lowest and highest cells of a cube around a point, cut to the cells in use, and how many they are."""
    cells = np.empty((2, 3), np.int64)
    n = 1.0
    for axis in range(3):
        cells[0, axis] = max(float(box[0, axis]), floor((point[axis] - radius) / size))
        cells[1, axis] = min(float(box[1, axis]), floor((point[axis] + radius) / size))
        n *= max(0, cells[1, axis] - cells[0, axis] + 1)
    return cells, n


@no_type_check
@njit(cache=True)
def _within(heads, following, box, positions, point, radius, size):
    cells, n_cells = _reach(box, point, radius, size)
    found = np.empty(16, np.int64)
    n = 0
    if n_cells > max(_MOST_CELLS, len(positions)):
        for row in range(len(positions)):
            if _apart(positions, row, point) <= radius:
                if n == len(found):
                    found = np.concatenate((found, np.empty_like(found)))
                found[n] = row
                n += 1
        return found[:n]
    for x in range(cells[0, 0], cells[1, 0] + 1):
        for y in range(cells[0, 1], cells[1, 1] + 1):
            for z in range(cells[0, 2], cells[1, 2] + 1):
                row = heads[_bucket(x, y, z, len(heads))]
                while row >= 0:
                    p = positions[row]
                    is_here = floor(p[0] / size) == x and floor(p[1] / size) == y and floor(p[2] / size) == z
                    if is_here and _apart(positions, row, point) <= radius:
                        if n == len(found):
                            found = np.concatenate((found, np.empty_like(found)))
                        found[n] = row
                        n += 1
                    row = following[row]
    return found[:n]


@no_type_check
@njit(cache=True)
def _nearest(heads, following, box, positions, point, is_alive, size):
    """Cubes of growing size; what lies outside one of radius r is farther than r."""
    best, least = -1, np.inf
    radius, n_cells = 0.5 * size, 0.0
    while n_cells <= _MOST_CELLS:
        cells, n_cells = _reach(box, point, radius, size)
        for x in range(cells[0, 0], cells[1, 0] + 1):
            for y in range(cells[0, 1], cells[1, 1] + 1):
                for z in range(cells[0, 2], cells[1, 2] + 1):
                    row = heads[_bucket(x, y, z, len(heads))]
                    while row >= 0:
                        if is_alive[row]:
                            apart = _apart(positions, row, point)
                            if apart < least or (apart == least and row < best):
                                best, least = row, apart
                        row = following[row]
        if least <= radius:
            return best, least
        if radius > 64.0 * size:
            break
        radius *= 2.0
    for row in range(len(positions)):
        if is_alive[row]:
            apart = _apart(positions, row, point)
            if apart < least or (apart == least and row < best):
                best, least = row, apart
    return best, least
