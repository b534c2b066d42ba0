"""Which segment of a frame is which remembered thing, and which remembered things are one."""

from __future__ import annotations

from math import sqrt
from typing import no_type_check

import numpy as np
from jaxtyping import Float, Int
from numba import njit

_NO = 1e6  # cost of a pair that must not be, far above any sum of distances


def associate(costs: Float[np.ndarray, "n m"]) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """(rows, columns) of a one-to-one assignment: as many finite pairs as possible, then the smallest sum of costs.

    Kuhn, The Hungarian method for the assignment problem, Naval Research Logistics 1955.
    """
    from scipy.optimize import linear_sum_assignment  # 0.2 s that only frames with segments need

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
    thing apart, or the boxes at most `touch`: views of a large thing from two sides, whose medians are far apart.

    Args:
        things: (positions (n, 3), boxes (n, 2, 3) [m], categories (n,)).
        segments: the same of the m segments.
    """
    positions, boxes, categories = things
    costs = np.full((len(categories), len(segments[2])), np.inf)
    for i in range(len(categories)):
        for j in range(len(segments[2])):
            if categories[i] != segments[2][j]:
                continue
            square, gap, largest = 0.0, 0.0, 0.0
            for axis in range(3):
                low, high = boxes[i, :, axis]
                other_low, other_high = segments[1][j, :, axis]
                square += (positions[i, axis] - segments[0][j, axis]) ** 2
                gap += max(low - other_high, other_low - high, 0.0) ** 2
                largest = max(largest, high - low, other_high - other_low)
            if square <= (gate + 0.5 * largest) ** 2 or gap <= touch * touch:
                costs[i, j] = sqrt(square)
    return costs


@no_type_check
@njit(cache=True)
def duplicates(things, is_seen, slack):
    """(n,) the seen thing that an unseen one is a duplicate of, -1 for none.

    Two things of a category are one if the middle of the box of either lies in that of the other, or `slack` [m] off.
    """
    _, boxes, categories = things
    of = np.full(len(categories), -1)
    for i in range(len(categories)):
        for j in range(len(categories)):
            if is_seen[i] or not is_seen[j] or categories[i] != categories[j] or of[i] >= 0:
                continue
            if _holds_middle(boxes[i], boxes[j], slack) or _holds_middle(boxes[j], boxes[i], slack):
                of[i] = j
    return of


@no_type_check
@njit(cache=True)
def _holds_middle(box, other, slack):
    """Whether the middle of the other box lies in the box, or at most `slack` outside along each axis."""
    for axis in range(3):
        middle = 0.5 * (other[0, axis] + other[1, axis])
        if middle < box[0, axis] - slack or middle > box[1, axis] + slack:
            return False
    return True
