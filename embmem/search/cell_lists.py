"""Which rows lie in a part of space and time: a hash grid of append lists that remember their spans of time.

A list is a chain of chunks of 4, 8, 16 and then 32 slots, in order of arrival. A slot holds a row and its place, so
that a walk reads memory in order. Slots lie in slabs that never move, reached by their addresses.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit
from numba.np.numpy_support import carray

from embmem.search.addresses import pointer

EDGE = 1.0  # [m] of a cell
_BITS = 21  # of a cell's coordinate
_REACH = float(1 << (_BITS - 1))  # cells either side of the origin; what lies beyond is filed at the border
_SLOTS_OF_SLAB = 16384
_FIRST, _LONGEST = 4, 32  # rows of the first and of the longest chunk of a list
_START, _COUNT, _ROOM, _NEXT = range(4)  # columns of `chunks`
_KEY, _HEAD, _TAIL, _TOTAL = range(4)  # columns of `cells`
_CELLS, _CHUNKS, _SLOTS = range(3)  # entries of `used`


@no_type_check
@njit(cache=True, nogil=True)
def _slot(hashed, cells, key):
    """Where the cell with this key is, or would be, in the hash table."""
    mask = len(hashed) - 1
    i = (np.uint64(key) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(20)) & np.uint64(mask)
    while hashed[i] >= 0 and cells[hashed[i], _KEY] != key:
        i = (i + np.uint64(1)) & np.uint64(mask)
    return i


@no_type_check
@njit(cache=True, nogil=True)
def _append(row, keys, places, used, hashed, cells, chunks, spans, table):
    """File the rows row, row + 1, ...; there must be room in all of the arrays. A key below 0 is filed nowhere."""
    for a in range(len(keys)):
        if keys[a] < 0:
            continue
        i = _slot(hashed, cells, keys[a])
        cell = hashed[i]
        if cell < 0:
            cell = used[_CELLS]
            used[_CELLS] += 1
            hashed[i] = cell
            cells[cell] = (keys[a], -1, -1, 0)
        chunk = cells[cell, _TAIL]
        if chunk < 0 or chunks[chunk, _COUNT] == chunks[chunk, _ROOM]:
            room = _FIRST if chunk < 0 else min(2 * chunks[chunk, _ROOM], _LONGEST)
            fresh = used[_CHUNKS]
            used[_CHUNKS] += 1
            if used[_SLOTS] % _SLOTS_OF_SLAB + room > _SLOTS_OF_SLAB:  # a chunk lies in one slab
                used[_SLOTS] = (used[_SLOTS] // _SLOTS_OF_SLAB + 1) * _SLOTS_OF_SLAB
            chunks[fresh] = (used[_SLOTS], 0, room, -1)
            spans[fresh] = (np.inf, -np.inf)
            used[_SLOTS] += room
            if chunk < 0:
                cells[cell, _HEAD] = fresh
            else:
                chunks[chunk, _NEXT] = fresh
            cells[cell, _TAIL] = fresh
            chunk = fresh
        slot = chunks[chunk, _START] + chunks[chunk, _COUNT]
        slab, i = slot // _SLOTS_OF_SLAB, slot % _SLOTS_OF_SLAB
        carray(pointer(table[slab, 0]), (_SLOTS_OF_SLAB,), dtype=np.int64)[i] = row + a
        kept = carray(pointer(table[slab, 1]), (_SLOTS_OF_SLAB, 4), dtype=np.float64)
        for axis in range(4):
            kept[i, axis] = places[a, axis]
        chunks[chunk, _COUNT] += 1
        spans[chunk, 0] = min(spans[chunk, 0], places[a, 3])
        spans[chunk, 1] = max(spans[chunk, 1], places[a, 3])
        cells[cell, _TOTAL] += 1


@no_type_check
@njit(cache=True, nogil=True)
def _is_apart(x, y, z, ball):
    """Whether a cell lies wholly outside a ball (x, y, z, radius^2) in units of cells; border cells never do."""
    square = 0.0
    for coordinate, centre in ((x, ball[0]), (y, ball[1]), (z, ball[2])):
        if coordinate in (-_REACH, _REACH - 1.0):
            return False
        beyond = max(coordinate - centre, centre - coordinate - 1.0, 0.0)
        square += beyond * beyond
    return square > ball[3]


@no_type_check
@njit(cache=True, nogil=True)
def _cells_in(window, used, hashed, cells):
    """The cells that a packed window may touch, and how many rows they hold; the shorter of two ways."""
    low, high, ball = np.empty(3), np.empty(3), np.empty(4)
    for axis in range(3):
        low[axis] = min(max(np.floor(window[axis] / EDGE), -_REACH), _REACH - 1.0)
        high[axis] = min(max(np.floor(window[3 + axis] / EDGE), -_REACH), _REACH - 1.0)
        ball[axis] = window[6 + axis] / EDGE
    ball[3] = window[9] / EDGE**2 * (1.0 + 1e-9) + 1e-9
    wanted = (high[0] - low[0] + 1.0) * (high[1] - low[1] + 1.0) * (high[2] - low[2] + 1.0)
    if high[0] < low[0] or high[1] < low[1] or high[2] < low[2]:
        wanted = 0.0
    found, n, total = np.empty(int(min(wanted, np.float64(used[_CELLS]))), np.int64), 0, 0
    bias, mask = np.int64(_REACH), np.int64((1 << _BITS) - 1)
    if wanted <= used[_CELLS]:
        for x in range(int(low[0]) + bias, int(high[0]) + bias + 1):
            for y in range(int(low[1]) + bias, int(high[1]) + bias + 1):
                for z in range(int(low[2]) + bias, int(high[2]) + bias + 1):
                    cell = hashed[_slot(hashed, cells, (x << 2 * _BITS) | (y << _BITS) | z)]
                    if cell >= 0 and not _is_apart(x - bias, y - bias, z - bias, ball):
                        found[n] = cell
                        n += 1
                        total += cells[cell, _TOTAL]
        return found[:n], total
    for cell in range(used[_CELLS]):
        key = cells[cell, _KEY]
        x, y, z = (key >> 2 * _BITS) - bias, ((key >> _BITS) & mask) - bias, (key & mask) - bias
        if (
            low[0] <= x <= high[0]
            and low[1] <= y <= high[1]
            and low[2] <= z <= high[2]
            and not _is_apart(x, y, z, ball)
        ):
            found[n] = cell
            n += 1
            total += cells[cell, _TOTAL]
    return found[:n], total


@no_type_check
@njit(cache=True, nogil=True)
def _rows_in(found, total, window, cells, chunks, spans, table):
    """The rows of the found cells that lie in a packed window."""
    rows, n = np.empty(total, np.int64), 0
    for cell in found:
        chunk = cells[cell, _HEAD]
        while chunk >= 0:
            if spans[chunk, 1] >= window[10] and spans[chunk, 0] < window[11]:
                slab, first = chunks[chunk, _START] // _SLOTS_OF_SLAB, chunks[chunk, _START] % _SLOTS_OF_SLAB
                filed = carray(pointer(table[slab, 0]), (_SLOTS_OF_SLAB,), dtype=np.int64)
                places = carray(pointer(table[slab, 1]), (_SLOTS_OF_SLAB, 4), dtype=np.float64)
                for i in range(first, first + chunks[chunk, _COUNT]):
                    x, y, z, stamp = places[i, 0], places[i, 1], places[i, 2], places[i, 3]
                    inside = window[10] <= stamp < window[11] and window[0] <= x <= window[3]
                    inside = inside and window[1] <= y <= window[4] and window[2] <= z <= window[5]
                    square = (x - window[6]) ** 2 + (y - window[7]) ** 2 + (z - window[8]) ** 2
                    if inside and square <= window[9]:
                        rows[n] = filed[i]
                        n += 1
            chunk = chunks[chunk, _NEXT]
    return rows[:n]


class CellLists:
    """Rows filed by the cell of `EDGE` metres that they lie in; appending one is O(1) amortised."""

    def __init__(self) -> None:
        self._used = np.zeros(3, np.int64)
        self._hashed = np.full(256, -1, np.int32)
        self._cells = np.empty((128, 4), np.int64)
        self._chunks = np.empty((128, 4), np.int64)
        self._spans = np.empty((128, 2))
        self._slabs: list[tuple[np.ndarray, np.ndarray]] = []
        self._table = np.empty((0, 2), np.uint64)

    @property
    def nbytes(self) -> int:
        """Bytes in use."""
        cells, chunks, slots = self._used.tolist()
        return self._hashed.nbytes + cells * 32 + chunks * 48 + slots * 40

    def append(self, row: int, places: np.ndarray) -> None:
        """File the rows `row`, `row` + 1, ... at places (n, 4: x, y, z [m], stamp [s]); NaN is filed nowhere."""
        for begin in range(0, len(places), 4096):
            part = places[begin : begin + 4096]
            xyz = np.clip(np.floor(np.nan_to_num(part[:, :3]) / EDGE), -_REACH, _REACH - 1.0)
            xyz = (xyz + _REACH).astype(np.int64)
            keys = xyz[:, 0] << 2 * _BITS | xyz[:, 1] << _BITS | xyz[:, 2]
            keys[np.isnan(part[:, :3]).any(axis=1)] = -1
            self._make_room(len(part))
            arrays = self._used, self._hashed, self._cells, self._chunks, self._spans, self._table
            _append(row + begin, keys, part, *arrays)

    def cells_in(self, window: np.ndarray) -> tuple[np.ndarray, int]:
        """The cells that a packed window may touch and the number of rows in them."""
        return _cells_in(window, self._used, self._hashed, self._cells)

    def rows_in(self, found: tuple[np.ndarray, int], window: np.ndarray) -> np.ndarray:
        """Rows of the found cells that lie in a packed window."""
        return _rows_in(*found, window, self._cells, self._chunks, self._spans, self._table)

    def _make_room(self, n: int) -> None:
        """Room for n more rows, wherever they lie: what is not used yet is not touched, so it costs no memory."""
        cells, chunks, slots = (self._used + np.array([n, n, n * (_LONGEST + 1) + _LONGEST])).tolist()
        self._cells = _room(self._cells, cells, int(self._used[_CELLS]))
        self._chunks = _room(self._chunks, chunks, int(self._used[_CHUNKS]))
        self._spans = _room(self._spans, chunks, int(self._used[_CHUNKS]))
        while len(self._slabs) * _SLOTS_OF_SLAB < slots:
            self._slabs.append((np.empty(_SLOTS_OF_SLAB, np.int64), np.empty((_SLOTS_OF_SLAB, 4))))
        if len(self._slabs) > len(self._table):
            addresses = [[array.ctypes.data for array in slab] for slab in self._slabs]
            self._table = np.array(addresses, np.uint64)
        if 2 * cells > len(self._hashed):
            self._hashed = np.full(1 << (4 * cells - 1).bit_length(), -1, np.int32)
            _rehash(self._hashed, self._cells, int(self._used[_CELLS]))


@no_type_check
@njit(cache=True, nogil=True)
def _rehash(hashed, cells, n):
    for cell in range(n):
        hashed[_slot(hashed, cells, cells[cell, _KEY])] = cell


def _room(array: np.ndarray, needed: int, used: int) -> np.ndarray:
    if needed <= len(array):
        return array
    larger = np.empty((2 * needed, *array.shape[1:]), array.dtype)
    larger[:used] = array[:used]
    return larger
