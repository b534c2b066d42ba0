"""Compiled loops of the vector index: int8 codes with a proven error, the scan, exact cosines.

A row x / |x| is kept as `scale * code` with code in [-127, 127]^d, and with it `error` = |x / |x| - scale * code|. For
a unit query q, kept as `step * integers` in int16, Cauchy-Schwarz bounds what that loses:

    |cos(q, x) - step * scale * <integers, code>| <= error + |scale * code| * |q - step * integers|

so a row whose upper bound lies below the k-th best lower bound cannot be among the best k, and the cosines of the few
others, in float64 from the float16 originals, give the exact answer. (The idea of scanning codes and re-ranking within
a bound is that of VA-files: Weber et al., VLDB 1998.)

The rows live in slabs that never move; kernels reach them through `table`, the addresses of the slabs' arrays.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit, types
from numba.extending import intrinsic
from numba.np.numpy_support import carray

from embmem.search.addresses import pointer, prefetch
from embmem.search.row_kernels import CODES, FACTORS, FLAGS, FLOATS, IDS, N_ZONES, PLACES, ROWS, ZONE, ZONES

_AHEAD = 8  # rows that are asked for before they are needed
_SLACK = 1e-7  # for the rounding of the bounds themselves


@intrinsic
@no_type_check
def _float_of_bits(typingctx, bits):
    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(types.float32))

    return types.float32(types.int32), codegen


@no_type_check
@njit(cache=True, nogil=True, inline="always")
def _half(bits):
    """The float16 with these bits; scaling by 2^112 moves the exponent's bias and makes subnormals right too."""
    wide = np.int32(bits)
    return _float_of_bits((wide & np.int32(0x8000)) << np.int32(16) | (wide & np.int32(0x7FFF)) << np.int32(13)) * (
        np.float32(5.192296858534828e33)
    )


@no_type_check
@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _cosine(bits, unit):
    dot, square = 0.0, 0.0
    for j in range(len(bits)):
        x = np.float64(_half(bits[j]))
        dot += x * unit[j]
        square += x * x
    return dot / np.sqrt(square) if square > 0.0 else 0.0


@no_type_check
@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def encode(x, codes, factors):
    """Fill the codes (n, stride) and factors (n, 2: scale, error) of the vectors x (n, d) float32."""
    d = x.shape[1]
    for i in range(len(x)):
        square, largest = 0.0, np.float32(0.0)
        for j in range(d):
            square += np.float64(x[i, j]) * np.float64(x[i, j])
            largest = max(largest, abs(x[i, j]))
        codes[i] = 0
        factors[i] = 0.0
        if square == 0.0:
            continue
        norm = np.sqrt(square)
        scale = np.float32(largest / norm / 127.0)
        step = 1.0 / (norm * scale)
        lost = 0.0
        for j in range(d):
            code = min(max(np.rint(x[i, j] * step), -127.0), 127.0)
            codes[i, j] = np.int8(code)
            rest = x[i, j] / norm - np.float64(scale) * code
            lost += rest * rest
        factors[i, 0] = scale
        factors[i, 1] = np.sqrt(lost) + _SLACK


@no_type_check
@njit(cache=True, nogil=True)
def prepare(query, stride):
    """A query (d,) float64 as a unit vector, in int16, and [step, error]; no unit vector (0,) if it has no direction.

    As fine as fits, and so that no product with a row's codes overflows int32: |codes| <= 127 sqrt(d). The error is
    |q - step * integers| times the largest |scale * code| there can be.
    """
    root, square = np.sqrt(len(query)), 0.0
    for x in query:
        square += x * x
    unit, integers, lost = np.empty(len(query)), np.zeros(stride, np.int16), 0.0
    if not 0.0 < square < np.inf:
        return unit[:0], integers, np.zeros(2)
    unit[:] = query / np.sqrt(square)
    fine = min(32767.0 / np.abs(unit).max(), (2.0**31 - 1.0) / (127.0 * root) - root)
    for j in range(len(unit)):
        integers[j] = np.int16(np.rint(unit[j] * fine))
        rest = unit[j] - integers[j] / fine
        lost += rest * rest
    return unit, integers, np.array([1.0 / fine, np.sqrt(lost) * (1.0 + root / 254.0)])


@no_type_check
@njit(cache=True, nogil=True)
def exact(table, rows, unit):
    """Cosines (m,) of the unit query (d,) float64 with the float16 originals of rows."""
    cosines = np.empty(len(rows))
    for a in range(len(rows)):
        floats = carray(pointer(table[rows[a] // ROWS, FLOATS]), (ROWS, len(unit)), dtype=np.uint16)
        cosines[a] = _cosine(floats[rows[a] % ROWS], unit)
    return cosines


@no_type_check
@njit(cache=True, nogil=True)
def exact_of(bits, unit):
    """Cosines (m,) of the unit query (d,) float64 with float16 vectors given by their bits (m, d) uint16."""
    cosines = np.empty(len(bits))
    for a in range(len(bits)):
        cosines[a] = _cosine(bits[a], unit)
    return cosines


@no_type_check
@njit(cache=True, nogil=True)
def _passes(places, i, window):
    """Whether row i of a slab lies in a packed window. NaN lies nowhere."""
    if not window[10] <= places[i, 3] < window[11]:
        return False
    if window[12] == 0.0:
        return True
    x, y, z = places[i, 0], places[i, 1], places[i, 2]
    if not (window[0] <= x <= window[3] and window[1] <= y <= window[4] and window[2] <= z <= window[5]):
        return False
    return (x - window[6]) ** 2 + (y - window[7]) ** 2 + (z - window[8]) ** 2 <= window[9]


@no_type_check
@njit(cache=True, nogil=True)
def _is_allowed(ids, i, mask):
    """Whether a mask by id, which may be empty, lets row i of a slab pass."""
    return len(mask) == 0 or (0 <= ids[i] < len(mask) and mask[ids[i]])


@no_type_check
@njit(cache=True, nogil=True)
def _raise_floor(heap, filled, lower):
    """Put a lower bound into the min-heap of the best; returns how many it holds now."""
    if filled < len(heap):
        i = filled
        while i > 0 and heap[(i - 1) // 2] > lower:
            heap[i] = heap[(i - 1) // 2]
            i = (i - 1) // 2
        heap[i] = lower
        return filled + 1
    if lower > heap[0]:
        i = 0
        while True:
            child = 2 * i + 1
            if child >= filled:
                break
            if child + 1 < filled and heap[child + 1] < heap[child]:
                child += 1
            if heap[child] >= lower:
                break
            heap[i] = heap[child]
            i = child
        heap[i] = lower
    return filled


@no_type_check
@njit(cache=True, nogil=True)
def _keep(rows, uppers, n, floor):
    """Drop those whose upper bound lies below the floor; returns (rows, uppers, n) with room for one more."""
    kept = 0
    for a in range(n):
        if uppers[a] >= floor:
            rows[kept], uppers[kept] = rows[a], uppers[a]
            kept += 1
    if kept > len(rows) // 2:
        more_rows, more_uppers = np.empty(2 * len(rows), np.int64), np.empty(2 * len(rows))
        more_rows[:kept], more_uppers[:kept] = rows[:kept], uppers[:kept]
        return more_rows, more_uppers, kept
    return rows, uppers, kept


@no_type_check
@njit(cache=True, nogil=True)
def _dots(codes, query, dots):
    """Integer products (n,) of codes (n, stride) with the query; alone in its function it becomes multiply-adds."""
    for i in range(len(codes)):
        total = np.int32(0)
        for j in range(len(query)):
            total += np.int32(codes[i, j]) * np.int32(query[j])
        dots[i] = total


@no_type_check
@njit(cache=True, nogil=True)
def scan(table, span, query, scales, k, window, mask):
    """Rows in [span[0], span[1]) that may be among the k best that pass; no other can be.

    Args:
        query: (stride,) int16.
        scales: (step, error of the query, smallest cosine, flags that a row must not have).
    """
    stride = len(query)
    step, query_error, floor, blocked = scales[0], scales[1], scales[2], np.uint8(scales[3])
    heap, filled, dots = np.empty(k), 0, np.empty(ZONE, np.int32)
    rows, uppers, n = np.empty(1024, np.int64), np.empty(1024), 0
    for z in range(span[0] // ZONE, (span[1] + ZONE - 1) // ZONE):
        slab, base = z // N_ZONES, z // N_ZONES * ROWS
        zones = carray(pointer(table[slab, ZONES]), (N_ZONES, 2), dtype=np.float64)
        if zones[z % N_ZONES, 1] < window[10] or zones[z % N_ZONES, 0] >= window[11]:
            continue
        codes = carray(pointer(table[slab, CODES]), (ROWS, stride), dtype=np.int8)
        factors = carray(pointer(table[slab, FACTORS]), (ROWS, 2), dtype=np.float32)
        ids = carray(pointer(table[slab, IDS]), (ROWS,), dtype=np.int64)
        places = carray(pointer(table[slab, PLACES]), (ROWS, 4), dtype=np.float64)
        flags = carray(pointer(table[slab, FLAGS]), (ROWS,), dtype=np.uint8)
        begin, end = max(z * ZONE, span[0]) - base, min((z + 1) * ZONE, span[1]) - base
        _dots(codes[begin:end], query, dots)
        for i in range(begin, end):
            near = dots[i - begin] * (factors[i, 0] * step)
            error = factors[i, 1] + query_error
            if near + error < floor or flags[i] & blocked:
                continue
            if not (_passes(places, i, window) and _is_allowed(ids, i, mask)):
                continue
            if n == len(rows):
                rows, uppers, n = _keep(rows, uppers, n, floor)
            rows[n], uppers[n] = base + i, near + error
            n += 1
            filled = _raise_floor(heap, filled, near - error)
            if filled == k:
                floor = max(floor, heap[0])
    rows, uppers, n = _keep(rows, uppers, n, floor)
    return rows[:n]


@no_type_check
@njit(cache=True, nogil=True)
def select_rows(table, candidates, blocked, window, mask):
    """Those of the candidate rows that pass, in their order."""
    rows, n = np.empty(len(candidates), np.int64), 0
    for row in candidates:
        slab, i = row // ROWS, row % ROWS
        flags = carray(pointer(table[slab, FLAGS]), (ROWS,), dtype=np.uint8)
        places = carray(pointer(table[slab, PLACES]), (ROWS, 4), dtype=np.float64)
        ids = carray(pointer(table[slab, IDS]), (ROWS,), dtype=np.int64)
        if not flags[i] & np.uint8(blocked) and _passes(places, i, window) and _is_allowed(ids, i, mask):
            rows[n] = row
            n += 1
    return rows[:n]


@no_type_check
@njit(cache=True, nogil=True)
def _ask_for(table, row, stride):
    """Have what `scan_rows` reads of a row on its way from memory while other rows are computed."""
    slab, i = row // ROWS, np.uint64(row % ROWS)
    prefetch(table[slab, FLAGS] + i)
    prefetch(table[slab, FACTORS] + i * np.uint64(8))
    for offset in range(0, stride, 64):
        prefetch(table[slab, CODES] + i * np.uint64(stride) + np.uint64(offset))


@no_type_check
@njit(cache=True, nogil=True)
def scan_rows(table, candidates, query, scales, k):
    """The same as `scan` over the given rows, wherever they lie."""
    step, query_error, floor, blocked = scales[0], scales[1], scales[2], np.uint8(scales[3])
    heap, filled, dots = np.empty(k), 0, np.empty(1, np.int32)
    rows, uppers, n = np.empty(1024, np.int64), np.empty(1024), 0
    for a in range(min(_AHEAD, len(candidates))):
        _ask_for(table, candidates[a], len(query))
    for a in range(len(candidates)):
        if a + _AHEAD < len(candidates):
            _ask_for(table, candidates[a + _AHEAD], len(query))
        row = candidates[a]
        slab, i = row // ROWS, row % ROWS
        if carray(pointer(table[slab, FLAGS]), (ROWS,), dtype=np.uint8)[i] & blocked:
            continue
        factors = carray(pointer(table[slab, FACTORS]), (ROWS, 2), dtype=np.float32)
        _dots(carray(pointer(table[slab, CODES]), (ROWS, len(query)), dtype=np.int8)[i : i + 1], query, dots)
        near = dots[0] * (factors[i, 0] * step)
        error = factors[i, 1] + query_error
        if near + error < floor:
            continue
        if n == len(rows):
            rows, uppers, n = _keep(rows, uppers, n, floor)
        rows[n], uppers[n] = row, near + error
        n += 1
        filled = _raise_floor(heap, filled, near - error)
        if filled == k:
            floor = max(floor, heap[0])
    rows, uppers, n = _keep(rows, uppers, n, floor)
    return rows[:n]


@no_type_check
@njit(cache=True, nogil=True)
def best_of(ids, cosines, least, k):
    """Ids and cosines of the k largest cosines that are not below `least`, best first, ties highest id first."""
    top_ids, top, n = np.empty(k, np.int64), np.empty(k), 0
    for a in range(len(ids)):
        cosine, identity = cosines[a], ids[a]
        if not cosine >= least:
            continue
        if n == k and (cosine < top[k - 1] or (cosine == top[k - 1] and identity < top_ids[k - 1])):
            continue
        i = min(n, k - 1)
        n = min(n + 1, k)
        while i > 0 and (top[i - 1] < cosine or (top[i - 1] == cosine and top_ids[i - 1] < identity)):
            top[i], top_ids[i] = top[i - 1], top_ids[i - 1]
            i -= 1
        top[i], top_ids[i] = cosine, identity
    return top_ids[:n], top[:n]
