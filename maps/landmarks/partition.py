"""Cuts of a point set into compact parts of bounded size."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int


def cut(positions: Float[np.ndarray, "n 3"], size: int) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " parts"]]:
    """(order, starts): part i is `order[starts[i]:starts[i + 1]]`, the last one ends with the order.

    There are as few parts as possible, all about as large. A set is cut across its widest axis, as in a k-d tree
    (Bentley, Communications of the ACM 18(9), 1975). Ties fall in the order of the points, so the cut is always
    the same.

    Raises:
        ValueError: if `size` is below 1.
    """
    if size < 1:
        raise ValueError(f"a part needs room for at least one point, got size {size}")
    order, starts = np.arange(len(positions)), []
    waiting = [(0, len(positions))] if len(positions) else []
    while waiting:
        low, high = waiting.pop()
        if high - low <= size:
            starts.append(low)
            continue
        part = order[low:high]
        points = positions[part]
        axis = int(np.argmax(points.max(axis=0) - points.min(axis=0)))
        order[low:high] = part[np.argsort(points[:, axis], kind="stable")]
        n_parts = -(-(high - low) // size)
        middle = low + round((high - low) * (n_parts // 2) / n_parts)
        waiting += [(low, middle), (middle, high)]
    return order, np.array(sorted(starts), dtype=np.int64)
