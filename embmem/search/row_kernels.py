"""How the rows of a vector index lie in slabs, and the compiled loops that look them up."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit
from numba.np.numpy_support import carray

from embmem.search.addresses import pointer

ROWS = 16384  # of a slab
ZONE = 256  # rows that share a range of stamps
N_ZONES = ROWS // ZONE
CODES, FACTORS, IDS, PLACES, FLAGS, ZONES, FLOATS = range(7)  # columns of `table`
HIDDEN, ERASED = 1, 2  # flags of a row


@no_type_check
@njit(cache=True, nogil=True)
def widen(zones, places, begin, end):
    """Let the zones' (N_ZONES, 2) ranges of stamps take in the rows [begin, end) of a slab."""
    for i in range(begin, end):
        z = i // ZONE
        zones[z, 0] = min(zones[z, 0], places[i, 3])
        zones[z, 1] = max(zones[z, 1], places[i, 3])


@no_type_check
@njit(cache=True, nogil=True)
def rows_in_time(table, n, since, until):
    """How many rows lie in zones that overlap [since, until)."""
    count = 0
    for z in range((n + ZONE - 1) // ZONE):
        zones = carray(pointer(table[z // N_ZONES, ZONES]), (N_ZONES, 2), dtype=np.float64)
        if zones[z % N_ZONES, 1] >= since and zones[z % N_ZONES, 0] < until:
            count += min(ZONE, n - z * ZONE)
    return count


@no_type_check
@njit(cache=True, nogil=True)
def _id_of(table, row):
    return carray(pointer(table[row // ROWS, IDS]), (ROWS,), dtype=np.int64)[row % ROWS]


@no_type_check
@njit(cache=True, nogil=True)
def find_rows(table, n, ids):
    """Rows of the ascending `ids`; those that are not there are left out. Gallops, as both are sorted."""
    rows = np.empty(len(ids), np.int64)
    found, low = 0, 0
    for wanted in ids:
        step = 1
        high = low
        while high < n and _id_of(table, high) < wanted:
            low = high + 1
            high += step
            step *= 2
        high = min(high, n)
        while low < high:
            middle = (low + high) // 2
            if _id_of(table, middle) < wanted:
                low = middle + 1
            else:
                high = middle
        if low < n and _id_of(table, low) == wanted:
            rows[found] = low
            found += 1
    return rows[:found]


@no_type_check
@njit(cache=True, nogil=True)
def gather(table, rows):
    """The ids (m,), places (m, 4: x, y, z, stamp) and flags (m,) of rows."""
    ids, places, flags = np.empty(len(rows), np.int64), np.empty((len(rows), 4)), np.empty(len(rows), np.uint8)
    for a in range(len(rows)):
        slab, i = rows[a] // ROWS, rows[a] % ROWS
        ids[a] = carray(pointer(table[slab, IDS]), (ROWS,), dtype=np.int64)[i]
        places[a] = carray(pointer(table[slab, PLACES]), (ROWS, 4), dtype=np.float64)[i]
        flags[a] = carray(pointer(table[slab, FLAGS]), (ROWS,), dtype=np.uint8)[i]
    return ids, places, flags


@no_type_check
@njit(cache=True, nogil=True)
def set_flags(table, rows, keep, add):
    """flags = flags & keep | add; returns how many rows changed between seen (0) and not."""
    changed = 0
    for row in rows:
        flags = carray(pointer(table[row // ROWS, FLAGS]), (ROWS,), dtype=np.uint8)
        before = flags[row % ROWS]
        flags[row % ROWS] = before & keep | add
        changed += (before != 0) != (flags[row % ROWS] != 0)
    return changed
