"""Which segment of a frame is which remembered thing."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment

_NO = 1e6  # cost of a pair that must not be, far above any sum of distances


def associate(
    distances: Float[np.ndarray, "n m"], is_allowed: Bool[np.ndarray, "n m"]
) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """(rows, columns) of a one-to-one assignment: as many allowed pairs as possible, then the smallest total distance.

    Kuhn, The Hungarian method for the assignment problem, Naval Research Logistics 1955.
    """
    rows = np.flatnonzero(is_allowed.any(axis=1))
    columns = np.flatnonzero(is_allowed.any(axis=0))
    if len(rows) == 0:
        return rows, columns
    inside = np.ix_(rows, columns)
    i, j = linear_sum_assignment(np.where(is_allowed[inside], distances[inside], _NO))
    rows, columns = rows[i], columns[j]
    paired = is_allowed[rows, columns]
    return rows[paired], columns[paired]


def pairwise(a: Float[np.ndarray, "n 3"], b: Float[np.ndarray, "m 3"]) -> Float[np.ndarray, "n m"]:
    """Distances between all points of `a` and all of `b`."""
    return np.sqrt(((a[:, None, :] - b[None, :, :]) ** 2).sum(axis=2))
