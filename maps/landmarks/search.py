"""Compiled searches on a graph cut into regions: shortest paths within one, and over the borders of all."""

from __future__ import annotations

from math import sqrt
from typing import no_type_check

import numpy as np
from numba import njit

_SLACK = 1.0 + 1e-13  # sums of the same costs in another order differ by less


@no_type_check
@njit(cache=True, inline="always")
def _push(keys, items, n, key, item):
    """Add to a binary heap of n entries."""
    i = n
    while i > 0:
        up = (i - 1) >> 1
        if keys[up] <= key:
            break
        keys[i], items[i] = keys[up], items[up]
        i = up
    keys[i], items[i] = key, item


@no_type_check
@njit(cache=True, inline="always")
def _pop(keys, items, n):
    """Take the first entry off a heap that has n left without it."""
    key, item = keys[n], items[n]
    i = 0
    while True:
        child = 2 * i + 1
        if child >= n:
            break
        if child + 1 < n and keys[child + 1] < keys[child]:
            child += 1
        if keys[child] >= key:
            break
        keys[i], items[i] = keys[child], items[child]
        i = child
    keys[i], items[i] = key, item


@no_type_check
@njit(cache=True)
def local_graph(low, high, roads, is_reversed):
    """The edges between seats low..high as compressed rows that start at 0, reversed if asked."""
    first, count, targets, costs = roads[:4]
    n = high - low
    starts = np.zeros(n + 1, np.int32)
    for u in range(low, high):
        for k in range(first[u], first[u] + count[u]):
            v = targets[k]
            if low <= v < high:
                starts[(v if is_reversed else u) - low + 1] += 1
    for i in range(n):
        starts[i + 1] += starts[i]
    at = starts[:n].copy()
    ends, lengths = np.empty(starts[n], np.int32), np.empty(starts[n])
    for u in range(low, high):
        for k in range(first[u], first[u] + count[u]):
            v = targets[k]
            if low <= v < high:
                a, b = (v - low, u - low) if is_reversed else (u - low, v - low)
                ends[at[a]], lengths[at[a]] = b, costs[k]
                at[a] += 1
    return starts, ends, lengths


@no_type_check
@njit(cache=True)
def distances_from(graph, sources):
    """(s, n) distances from each source to every node of a small graph (Dijkstra, Numerische Mathematik 1, 1959)."""
    starts, ends, lengths = graph
    n = len(starts) - 1
    out = np.full((len(sources), n), np.inf)
    keys, items = np.empty(len(ends) + 1), np.empty(len(ends) + 1, np.int32)
    for row in range(len(sources)):
        d = out[row]
        d[sources[row]] = 0.0
        keys[0], items[0] = 0.0, sources[row]
        size = 1
        while size > 0:
            key, u = keys[0], items[0]
            size -= 1
            _pop(keys, items, size)
            if key > d[u]:
                continue
            for k in range(starts[u], starts[u + 1]):
                there = key + lengths[k]
                if there < d[ends[k]]:
                    d[ends[k]] = there
                    _push(keys, items, size, there, ends[k])
                    size += 1
    return out


@no_type_check
@njit(cache=True)
def needed_arcs(table):
    """(k, k) which entries of a table of distances are no sum of two shorter ones: the others can be left out.

    What is left out is put together by what is left: both parts are shorter, so they are there or are put together.
    """
    k = len(table)
    keep = np.zeros((k, k), np.bool_)
    for i in range(k):
        for j in range(k):
            whole = table[i, j]
            if i == j or whole == np.inf:
                continue
            limit = whole * _SLACK
            is_needed = True
            for m in range(k):
                a, b = table[i, m], table[m, j]
                if a + b <= limit and a < whole and b < whole:
                    is_needed = False
                    break
            keep[i, j] = is_needed
    return keep


@no_type_check
@njit(cache=True, inline="always")
def _ahead(positions, a, b, per_metre):
    if per_metre == 0.0:
        return 0.0
    x = positions[a, 0] - positions[b, 0]
    y = positions[a, 1] - positions[b, 1]
    z = positions[a, 2] - positions[b, 2]
    return per_metre * sqrt(x * x + y * y + z * z)


@no_type_check
@njit(cache=True)
def route(graph, work, start, goal, per_metre, within):
    """A* over the borders of closed regions and the roads of open ones; the number of edges and arcs looked at.

    Hart, Nilsson and Raphael, IEEE Transactions on Systems Science and Cybernetics 4(2), 1968. With `within` >= 0
    only the roads of that region are used. `work` holds for each seat what follows, in one piece because it is
    needed at once: the best distance, what is at least ahead, the seat before and the edge or -1 for an arc. What
    the last search left in it is wiped first.
    """
    positions, region, is_open, roads, arcs = graph
    labels, touched, n_touched = work
    for i in range(n_touched[0]):
        labels[touched[i], 0] = np.inf
    keys, items = np.empty(1024), np.empty(1024, np.int32)
    labels[start, 0], labels[start, 1] = 0.0, _ahead(positions, start, goal, per_metre)
    labels[start, 2], labels[start, 3] = -1, -1
    touched[0] = start
    n, size, looked = 1, 1, 0
    keys[0], items[0] = labels[start, 1], start
    while size > 0:
        key, u = keys[0], items[0]
        if u == goal:
            break
        size -= 1
        _pop(keys, items, size)
        here = labels[u, 0]
        if key > here + labels[u, 1]:
            continue
        first, count, targets, costs, names = roads if within >= 0 or is_open[region[u]] else arcs
        looked += count[u]
        while size + count[u] > len(keys):
            keys, items = np.concatenate((keys, np.empty_like(keys))), np.concatenate((items, np.empty_like(items)))
        for k in range(first[u], first[u] + count[u]):
            v = targets[k]
            there = here + costs[k]
            if there >= labels[v, 0] or (within >= 0 and region[v] != within):
                continue
            if labels[v, 0] == np.inf:
                touched[n] = v
                n += 1
                labels[v, 1] = _ahead(positions, v, goal, per_metre)
            labels[v, 0], labels[v, 2], labels[v, 3] = there, u, names[k]
            _push(keys, items, size, there + labels[v, 1], v)
            size += 1
    n_touched[0] = n
    return looked


@no_type_check
@njit(cache=True)
def _way_back(labels, goal):
    """(seats from the start to `goal`, edge or -1 that leads to each but the first)."""
    n, u = 0, goal
    while u >= 0:
        n, u = n + 1, int(labels[u, 2])
    seats, edges = np.empty(n, np.int64), np.empty(n - 1, np.int64)
    u = goal
    for i in range(n - 1, -1, -1):
        seats[i] = u
        if i > 0:
            edges[i - 1] = int(labels[u, 3])
        u = int(labels[u, 2])
    return seats, edges


@no_type_check
@njit(cache=True)
def path(graph, work, start, goal, per_metre):
    """(seats, edges, cost) of a cheapest path with roads in place of short cuts; empty and inf if there is none.

    The regions of both ends are searched on their roads.
    """
    region, is_open, labels = graph[1], graph[2], work[0]
    ends = region[start], region[goal]
    was_open = is_open[ends[0]], is_open[ends[1]]
    is_open[ends[0]] = is_open[ends[1]] = True
    route(graph, work, start, goal, per_metre, -1)
    is_open[ends[1]] = was_open[1]
    is_open[ends[0]] = was_open[0]
    if labels[goal, 0] == np.inf:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.inf
    outer_seats, outer_edges = _way_back(labels, goal)
    seats, edges = np.empty(2 * len(outer_seats) + 64, np.int64), np.empty(2 * len(outer_seats) + 64, np.int64)
    seats[0] = start
    n = 1
    for i in range(len(outer_edges)):
        if outer_edges[i] >= 0:
            inner_seats, inner_edges = outer_seats[i : i + 2], outer_edges[i : i + 1]
        else:
            route(graph, work, outer_seats[i], outer_seats[i + 1], per_metre, region[outer_seats[i]])
            inner_seats, inner_edges = _way_back(labels, outer_seats[i + 1])
        while n + len(inner_edges) > len(seats):
            seats, edges = np.concatenate((seats, np.empty_like(seats))), np.concatenate((edges, np.empty_like(edges)))
        for k in range(len(inner_edges)):
            seats[n], edges[n - 1] = inner_seats[k + 1], inner_edges[k]
            n += 1
    return seats[:n], edges[: n - 1], _sum(graph[3], seats, edges, n - 1)


@no_type_check
@njit(cache=True)
def _sum(roads, seats, edges, n):
    """What n edges from their seats cost, added up from the start."""
    first, _, _, costs, names = roads
    total = 0.0
    for i in range(n):
        k = first[seats[i]]
        while names[k] != edges[i]:
            k += 1
        total += costs[k]
    return total
