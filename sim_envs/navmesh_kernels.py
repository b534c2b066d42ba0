"""Compiled geometry of the configuration space: bins, containment, line of sight, sliding, shortest paths.

Obstacles are open axis-aligned rectangles [x0, y0, x1, y1]; what is not strictly inside one is free, so a point
may lie on an edge and a segment may run along one. `no_type_check` keeps run-time type checkers out of the kernels.
They share one file because numba's cache follows changes of a kernel's own file only, not of those it calls into.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import NamedTuple, no_type_check

import numpy as np
from numba import njit

GRAZE = 1e-9  # a segment may cut this much [m] through a rectangle: rounding, not an obstacle


class Bins(NamedTuple):
    """Rectangles sorted into square bins: bin (row, col) holds `items[start[b]:start[b + 1]]`, b = row * nx + col."""

    rects: np.ndarray  # (n, 4) [m]
    start: np.ndarray  # (nx * ny + 1,)
    items: np.ndarray
    x0: float  # corner of bin 0 [m]
    y0: float
    size: float  # edge of a bin [m]
    nx: int
    ny: int


@njit(cache=True)
@no_type_check
def column(low: float, value: float, size: float, n: int) -> int:
    """Index of the bin that holds `value`, clipped to [0, n); 0 for NaN."""
    i = (value - low) / size
    if not i > 0.0:
        return 0
    return n - 1 if i >= n else int(i)


@njit(cache=True)
@no_type_check
def _fill(rects, start, items, x0, y0, size, nx, ny, is_counting):
    for i in range(rects.shape[0]):
        c0, c1 = column(x0, rects[i, 0] - GRAZE, size, nx), column(x0, rects[i, 2] + GRAZE, size, nx)
        r0, r1 = column(y0, rects[i, 1] - GRAZE, size, ny), column(y0, rects[i, 3] + GRAZE, size, ny)
        for r in range(r0, r1 + 1):
            for c in range(c0, c1 + 1):
                b = r * nx + c
                if is_counting:
                    start[b + 1] += 1
                else:
                    items[start[b]] = i
                    start[b] += 1


def make_bins(rects: np.ndarray, bounds: np.ndarray, size: float) -> Bins:
    """The rectangles in bins of `size` [m] that cover `bounds`."""
    x0, y0 = float(bounds[0]), float(bounds[1])
    nx = max(int(np.ceil((bounds[2] - x0) / size)), 1)
    ny = max(int(np.ceil((bounds[3] - y0) / size)), 1)
    start = np.zeros(nx * ny + 1, dtype=np.int64)
    _fill(rects, start, start, x0, y0, size, nx, ny, True)
    start = np.cumsum(start)
    items = np.empty(start[-1], dtype=np.int64)
    _fill(rects, start[:-1].copy(), items, x0, y0, size, nx, ny, False)
    return Bins(rects, start, items, x0, y0, size, nx, ny)


@njit(cache=True)
@no_type_check
def is_inside(bins: Bins, x: float, y: float) -> bool:
    """Whether the point is strictly inside a rectangle."""
    b = column(bins.y0, y, bins.size, bins.ny) * bins.nx + column(bins.x0, x, bins.size, bins.nx)
    for k in range(bins.start[b], bins.start[b + 1]):
        i = bins.items[k]
        if bins.rects[i, 0] < x < bins.rects[i, 2] and bins.rects[i, 1] < y < bins.rects[i, 3]:
            return True
    return False


@njit(cache=True)
@no_type_check
def are_inside(bins: Bins, points: np.ndarray) -> np.ndarray:
    """`is_inside` of many points."""
    inside = np.empty(points.shape[0], dtype=np.bool_)
    for i in range(points.shape[0]):
        inside[i] = is_inside(bins, points[i, 0], points[i, 1])
    return inside


@njit(cache=True)
@no_type_check
def crossing(rect: np.ndarray, x: float, y: float, dx: float, dy: float) -> tuple[float, float, bool]:
    """(enter, leave, by_x): the part of the segment inside the open rectangle as fractions of its length.

    Empty if enter >= leave. `by_x` tells that it enters through an edge of constant x. Division is exact at the
    segment's own ends (0 / d and d / d), so a segment that starts or ends on an edge does not count as inside.
    """
    enter, leave, by_x = 0.0, 1.0, True
    if dx == 0.0:
        if not rect[0] < x < rect[2]:
            return 1.0, 0.0, by_x
        enter = -np.inf
    else:
        a, b = (rect[0] - x) / dx, (rect[2] - x) / dx
        enter, leave = min(a, b), min(max(a, b), 1.0)
    if dy == 0.0:
        if not rect[1] < y < rect[3]:
            return 1.0, 0.0, by_x
    else:
        a, b = (rect[1] - y) / dy, (rect[3] - y) / dy
        if min(a, b) > enter:
            enter, by_x = min(a, b), False
        leave = min(leave, max(a, b))
    return max(enter, 0.0), leave, by_x


@njit(cache=True)
@no_type_check
def is_visible(bins: Bins, x: float, y: float, qx: float, qy: float) -> bool:
    """Whether the segment to (qx, qy) crosses no rectangle; running along an edge is allowed.

    Walks the rows of bins from the start, so that a wall close by ends the search.
    """
    dx, dy = qx - x, qy - y
    graze = GRAZE / max(np.sqrt(dx * dx + dy * dy), GRAZE)
    row, last = column(bins.y0, y, bins.size, bins.ny), column(bins.y0, qy, bins.size, bins.ny)
    step = 1 if last >= row else -1
    while True:
        xa, xb = x, qx
        if dy != 0.0:  # the part of the segment within this row, padded: see `_fill`
            low = bins.y0 + row * bins.size
            ta = min(max((low - GRAZE - y) / dy, 0.0), 1.0)
            tb = min(max((low + bins.size + GRAZE - y) / dy, 0.0), 1.0)
            xa, xb = x + ta * dx, x + tb * dx
        c0 = column(bins.x0, min(xa, xb) - GRAZE, bins.size, bins.nx)
        c1 = column(bins.x0, max(xa, xb) + GRAZE, bins.size, bins.nx)
        for c in range(c0, c1 + 1):
            b = row * bins.nx + c
            for k in range(bins.start[b], bins.start[b + 1]):
                enter, leave, _ = crossing(bins.rects[bins.items[k]], x, y, dx, dy)
                if leave - enter > graze:
                    return False
        if row == last:
            return True
        row += step


@njit(cache=True)
@no_type_check
def _advance(bins: Bins, x: float, y: float, dx: float, dy: float) -> tuple[float, float, float, bool]:
    """(x, y, fraction, by_x) where a move from a free point first meets a rectangle; fraction 1: it does not."""
    first, first_by_x, stop = 1.0, True, 0.0
    c0 = column(bins.x0, min(x, x + dx) - GRAZE, bins.size, bins.nx)
    c1 = column(bins.x0, max(x, x + dx) + GRAZE, bins.size, bins.nx)
    r0 = column(bins.y0, min(y, y + dy) - GRAZE, bins.size, bins.ny)
    r1 = column(bins.y0, max(y, y + dy) + GRAZE, bins.size, bins.ny)
    for r in range(r0, r1 + 1):
        for c in range(c0, c1 + 1):
            b = r * bins.nx + c
            for k in range(bins.start[b], bins.start[b + 1]):
                rect = bins.rects[bins.items[k]]
                enter, leave, by_x = crossing(rect, x, y, dx, dy)
                if enter < leave and enter < first:
                    first, first_by_x = enter, by_x
                    axis, forward = (0, dx > 0.0) if by_x else (1, dy > 0.0)
                    stop = rect[axis] if forward else rect[axis + 2]
    if first == 1.0:
        return x + dx, y + dy, 1.0, first_by_x
    if first_by_x:
        return stop, y + first * dy, first, True
    return x + first * dx, stop, first, False


@njit(cache=True)
@no_type_check
def slide(bins: Bins, x: float, y: float, dx: float, dy: float) -> tuple[float, float, bool]:
    """(x, y, collided) after a move from a free point that slides along the edge it meets first.

    The coordinate across the edge is set to the edge itself. The other may round to just inside a neighbour; such
    a result is dropped, so the point returned is always free.
    """
    collided = False
    for _ in range(2):  # after the first contact the move is parallel to an axis: one more contact ends it
        nx, ny, fraction, by_x = _advance(bins, x, y, dx, dy)
        if is_inside(bins, nx, ny):
            return x, y, True
        if fraction == 1.0:
            return nx, ny, collided
        collided = True
        dx, dy = (0.0, (1.0 - fraction) * dy) if by_x else ((1.0 - fraction) * dx, 0.0)
        x, y = nx, ny
    return x, y, True


@njit(cache=True)
@no_type_check
def slide_many(bins: Bins, x: float, y: float, deltas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(positions, collided) of `slide` for several moves from one point."""
    positions = np.empty_like(deltas)
    collided = np.empty(deltas.shape[0], dtype=np.bool_)
    for i in range(deltas.shape[0]):
        positions[i, 0], positions[i, 1], collided[i] = slide(bins, x, y, deltas[i, 0], deltas[i, 1])
    return positions, collided


@njit(cache=True)
@no_type_check
def _is_tangent(corners: np.ndarray, v: int, dx: float, dy: float) -> bool:
    """Whether the line with this direction through corner `v` leaves its rectangle on one side."""
    return dx * corners[v, 2] * dy * corners[v, 3] <= 0.0


@njit(cache=True)
@no_type_check
def tangent_edges(bins: Bins, corners: np.ndarray) -> np.ndarray:
    """(e, 2) pairs of corners that see each other along a line tangent at both."""
    pairs = np.empty((1024, 2), dtype=np.int64)
    n = 0
    for i in range(corners.shape[0]):
        for j in range(i):
            dx, dy = corners[j, 0] - corners[i, 0], corners[j, 1] - corners[i, 1]
            if not (_is_tangent(corners, i, dx, dy) and _is_tangent(corners, j, dx, dy)):
                continue
            if is_visible(bins, corners[i, 0], corners[i, 1], corners[j, 0], corners[j, 1]):
                if n == pairs.shape[0]:
                    pairs = np.concatenate((pairs, np.empty_like(pairs)))
                pairs[n, 0], pairs[n, 1] = i, j
                n += 1
    return pairs[:n]


@njit(cache=True)
@no_type_check
def attach_goals(bins: Bins, corners: np.ndarray, goals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(cost, goal) of every corner's nearest goal in sight; inf and -1 where none is."""
    cost = np.full(corners.shape[0], np.inf)
    goal = np.full(corners.shape[0], -1)
    for v in range(corners.shape[0]):
        x, y = corners[v, 0], corners[v, 1]
        for g in range(goals.shape[0]):
            dx, dy = goals[g, 0] - x, goals[g, 1] - y
            d = np.sqrt(dx * dx + dy * dy)
            if d < cost[v] and _is_tangent(corners, v, dx, dy) and is_visible(bins, x, y, goals[g, 0], goals[g, 1]):
                cost[v], goal[v] = d, g
    return cost, goal


@njit(cache=True)
@no_type_check
def relax(cost, target, first, neighbours, lengths):
    """Dijkstra in place from the costs given; `target` of a corner becomes its next node, a goal or -2 - corner."""
    heap = [(cost[v], v) for v in range(cost.shape[0]) if cost[v] < np.inf]
    heap.sort()
    while len(heap) > 0:
        d, v = heappop(heap)
        if d > cost[v]:
            continue
        for k in range(first[v], first[v + 1]):
            u, through = neighbours[k], d + lengths[k]
            if through < cost[u]:
                cost[u], target[u] = through, -2 - v
                heappush(heap, (through, u))


@njit(cache=True)
@no_type_check
def nearest_nodes(bins, corners, cost, goals, starts):
    """(distance, node) of every start: node g >= 0 is a goal in sight, -2 - v a corner, -1 nothing."""
    distance = np.full(starts.shape[0], np.inf)
    node = np.full(starts.shape[0], -1)
    for i in range(starts.shape[0]):
        x, y = starts[i, 0], starts[i, 1]
        # The answer of the last start is likely good for this one, and a tight bound saves most tests of sight.
        v = -2 - node[i - 1] if i > 0 else -1
        if v >= 0 and is_visible(bins, x, y, corners[v, 0], corners[v, 1]):
            distance[i], node[i] = np.hypot(corners[v, 0] - x, corners[v, 1] - y) + cost[v], -2 - v
        for g in range(goals.shape[0]):
            d = np.hypot(goals[g, 0] - x, goals[g, 1] - y)
            if d < distance[i] and is_visible(bins, x, y, goals[g, 0], goals[g, 1]):
                distance[i], node[i] = d, g
        for v in range(corners.shape[0]):
            dx, dy = corners[v, 0] - x, corners[v, 1] - y
            d = np.sqrt(dx * dx + dy * dy) + cost[v]
            if not (d < distance[i] and _is_tangent(corners, v, dx, dy)):
                continue
            if is_visible(bins, x, y, corners[v, 0], corners[v, 1]):
                distance[i], node[i] = d, -2 - v
    return distance, node
