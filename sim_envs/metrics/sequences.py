"""Distances between two sequences: dynamic time warping and two edit distances."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import fastdtw
import numpy as np
from jaxtyping import Float


def dtw(cost: Float[np.ndarray, "n m"]) -> float:
    """The least summed cost of a monotonic alignment, from the cost of each pair; exact.

    A pair of infinite cost is never aligned; inf comes back if there is no other way.

    Steps are (1, 0), (0, 1), (1, 1) with equal weight (Müller, Information Retrieval for Music and Motion, 2007,
    chapter 4), which is what every nDTW of the navigation literature uses.

    Raises:
        ValueError: if a sequence is empty.
    """
    _refuse_empty(cost.shape)
    is_way = np.isfinite(cost)
    # fastdtw cannot take infinities: a price above that of all allowed pairs together stands for "no way".
    no_way = float(cost[is_way].sum()) + 1.0
    finite = np.where(is_way, cost, no_way)
    rows, columns = np.arange(cost.shape[0]), np.arange(cost.shape[1])
    total = float(fastdtw.dtw(rows, columns, dist=lambda i, j: float(finite[int(i), int(j)]))[0])
    return total if total < no_way else np.inf


def dtw_points(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"], *, radius: int | None = None) -> float:
    """Euclidean DTW of two polylines, exact or, with a `radius`, by the FastDTW approximation.

    FastDTW (Salvador and Chan, Intelligent Data Analysis 2007) is what VLN-CE uses by default, with radius 1; it
    never underestimates.

    Raises:
        ValueError: if a sequence is empty.
    """
    _refuse_empty((len(a), len(b)))
    if radius is None:
        return dtw(np.linalg.norm(a[:, None] - b[None], axis=2))
    return float(fastdtw.fastdtw(a, b, radius=radius, dist=lambda p, q: float(np.linalg.norm(p - q)))[0])


def edit_distance(a: Sequence[Hashable], b: Sequence[Hashable], *, transposition: bool = False) -> int:
    """How many insertions, deletions and substitutions turn `a` into `b` (Levenshtein).

    With `transposition` a swap of two neighbours counts as one edit and no part is edited twice: the optimal string
    alignment distance, which the street papers call Damerau-Levenshtein.
    """
    table = np.zeros((len(a) + 1, len(b) + 1), dtype=np.int64)
    table[:, 0] = np.arange(len(a) + 1)
    table[0, :] = np.arange(len(b) + 1)
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            best = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (a[i - 1] != b[j - 1]))
            if transposition and i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
                best = min(best, table[i - 2, j - 2] + 1)
            table[i, j] = best
    return int(table[-1, -1])


def _refuse_empty(shape: tuple[int, ...]) -> None:
    if 0 in shape:
        raise ValueError(f"a path needs at least one place, got lengths {shape}")
