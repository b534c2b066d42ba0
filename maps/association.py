"""Which segment of a frame is which remembered thing, and which remembered things are one."""

from __future__ import annotations

from math import sqrt
from typing import no_type_check

import numpy as np
from jaxtyping import Float, Int
from numba import njit
from scipy.optimize import linear_sum_assignment

_NO = 1e6  # cost of a pair that must not be, far above any sum of distances


def associate(costs: Float[np.ndarray, "n m"]) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """(rows, columns) of a one-to-one assignment: as many finite pairs as possible, then the smallest sum of costs.

    Kuhn, The Hungarian method for the assignment problem, Naval Research Logistics 1955.
    """
    is_allowed = np.isfinite(costs)
    rows = np.flatnonzero(is_allowed.any(axis=1))
    columns = np.flatnonzero(is_allowed.any(axis=0))
    if len(rows) == 0:
        return rows, columns
    inside = costs[np.ix_(rows, columns)]
    i, j = linear_sum_assignment(np.where(np.isfinite(inside), inside, _NO))
    rows, columns = rows[i], columns[j]
    paired = is_allowed[rows, columns]
    return rows[paired], columns[paired]


@no_type_check
@njit(cache=True)
def pair_costs(things, segments, gate, touch):
    """(n, m) distances [m] of the pairs that may be the same thing, inf for the others.

    A pair may be one thing if the category agrees and either the positions are at most `gate` plus half the larger
    thing apart, or the boxes at most `touch`: parts of a large thing, whose middles are far apart.

    Args:
        things: (positions (n, 3), sizes (n, 3) [m], categories (n,)).
        segments: the same of the m segments.
    """
    positions, sizes, categories = things
    costs = np.full((len(categories), len(segments[2])), np.inf)
    for i in range(len(categories)):
        for j in range(len(segments[2])):
            if categories[i] != segments[2][j]:
                continue
            square, gap, largest = 0.0, 0.0, 0.0
            for axis in range(3):
                apart = abs(positions[i, axis] - segments[0][j, axis])
                square += apart * apart
                gap += max(apart - 0.5 * (sizes[i, axis] + segments[1][j, axis]), 0.0) ** 2
                largest = max(largest, sizes[i, axis], segments[1][j, axis])
            if square <= (gate + 0.5 * largest) ** 2 or gap <= touch * touch:
                costs[i, j] = sqrt(square)
    return costs


@no_type_check
@njit(cache=True)
def duplicates(things, is_seen, slack):
    """(n,) the seen thing that an unseen one is a duplicate of, -1 for none.

    Two things of a category whose middles lie in the box of the larger, or `slack` [m] beside it, are one.
    """
    positions, sizes, categories = things
    of = np.full(len(categories), -1)
    for i in range(len(categories)):
        for j in range(len(categories)):
            if is_seen[i] or not is_seen[j] or categories[i] != categories[j] or of[i] >= 0:
                continue
            is_inside = True
            for axis in range(3):
                half = 0.5 * max(sizes[i, axis], sizes[j, axis])
                is_inside &= abs(positions[i, axis] - positions[j, axis]) <= half + slack
            if is_inside:
                of[i] = j
    return of
