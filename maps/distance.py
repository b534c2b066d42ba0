"""Geodesic distances on a grid with blocked cells, and the way down to the nearest source."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float, Int
from numba import njit

DIAGONAL = float(np.sqrt(2.0))
# The eight neighbours, straight ones first; a diagonal step needs both straight cells beside it free.
_STEPS = np.array(
    [(0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, -1), (-1, 1)], dtype=np.int64
)  # (row, column)


def distance_field(
    blocked: Bool[np.ndarray, "h w"], sources: Int[np.ndarray, "n 2"], resolution: float
) -> Float[np.ndarray, "h w"]:
    """Shortest 8-neighbour distance [m] of each cell to the nearest source, inf where no way leads.

    A way never enters a blocked cell and never cuts the corner of one. Sources are (row, column); one in a blocked cell
    still counts, so that a start too close to a wall can be left. Straight steps cost 1 and diagonal ones sqrt(2), at
    most 8 % more than the Euclidean shortest way in free space.

    Raises:
        ValueError: if a source lies outside of the grid.
    """
    if len(sources) and ((sources < 0) | (sources >= blocked.shape)).any():
        raise ValueError(f"sources must lie in a grid of {blocked.shape}, got {sources.tolist()}")
    distances = np.full((blocked.shape[0] + 2, blocked.shape[1] + 2), np.inf)
    walls = np.ones(distances.shape, dtype=np.bool_)  # one blocked cell around spares the test for the border
    walls[1:-1, 1:-1] = blocked
    _spread(walls, np.asarray(sources, dtype=np.int64) + 1, distances)
    return distances[1:-1, 1:-1] * resolution


def descend(
    field: Float[np.ndarray, "h w"], blocked: Bool[np.ndarray, "h w"], start: Int[np.ndarray, "2"]
) -> Int[np.ndarray, "n 2"]:
    """The cells (row, column) of a shortest way from `start` down to a source of `field`, both included.

    Empty if no way leads from `start`. Among equally short ways straight steps come first.
    """
    if ((start < 0) | (start >= field.shape)).any():
        raise ValueError(f"start must lie in a grid of {field.shape}, got {start.tolist()}")
    if not np.isfinite(field[start[0], start[1]]):
        return np.empty((0, 2), dtype=np.int64)
    padded = np.pad(field, 1, constant_values=np.inf)
    walls = np.pad(blocked, 1, constant_values=True)
    return _walk_down(padded, walls, int(start[0]) + 1, int(start[1]) + 1) - 1


@no_type_check
@njit(cache=True)
def _spread(walls, sources, distances):
    """Dijkstra's algorithm with a queue of buckets one straight step wide.

    No edge is shorter than a bucket is wide, so the cells of the lowest bucket cannot improve each other and need no
    order (Dial, CACM 1969; Denardo and Fox, Operations Research 1979). sqrt(2) < 2: three buckets are ever in use.
    """
    width = walls.shape[1]
    flat_walls, flat = walls.ravel(), distances.ravel()
    jumps = _STEPS[:, 0] * width + _STEPS[:, 1]
    buckets = np.empty((3, 256), dtype=np.int64)
    sizes = np.zeros(3, dtype=np.int64)
    for row, column in sources:
        index = row * width + column
        if flat[index] != 0.0:
            flat[index] = 0.0
            buckets, sizes = _push(buckets, sizes, 0, index)
    level = 0
    while sizes.sum() > 0:
        current = level % 3
        for i in range(sizes[current]):
            cell = buckets[current, i]
            here = flat[cell]
            if int(here) != level:
                continue  # reached on a shorter way meanwhile
            for s in range(8):
                other = cell + jumps[s]
                there = here + (1.0 if s < 4 else DIAGONAL)
                if flat_walls[other] or there >= flat[other]:
                    continue
                if s >= 4 and (flat_walls[cell + _STEPS[s, 0] * width] or flat_walls[cell + _STEPS[s, 1]]):
                    continue
                flat[other] = there
                buckets, sizes = _push(buckets, sizes, int(there) % 3, other)
        sizes[current] = 0
        level += 1


@no_type_check
@njit(cache=True)
def _push(buckets, sizes, bucket, cell):
    """The buckets with `cell` appended to one of them, larger if it was full."""
    if sizes[bucket] == buckets.shape[1]:
        larger = np.empty((3, 2 * buckets.shape[1]), dtype=np.int64)
        larger[:, : buckets.shape[1]] = buckets
        buckets = larger
    buckets[bucket, sizes[bucket]] = cell
    sizes[bucket] += 1
    return buckets, sizes


@no_type_check
@njit(cache=True)
def _walk_down(field, walls, row, column):
    path = [(row, column)]
    while field[row, column] > 0.0:
        best, best_row, best_column = 0.0, row, column
        for s in range(8):
            r, c = row + _STEPS[s, 0], column + _STEPS[s, 1]
            drop = (field[row, column] - field[r, c]) / (1.0 if s < 4 else DIAGONAL)
            if s >= 4 and (walls[r, column] or walls[row, c]):
                continue
            if drop > best * (1.0 + 1e-9) + 1e-12:
                best, best_row, best_column = drop, r, c
        if best == 0.0:
            return np.empty((0, 2), dtype=np.int64)
        row, column = best_row, best_column
        path.append((row, column))
    return np.array(path)
