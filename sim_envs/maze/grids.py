"""Grids of cells with walls between them: digging, flooding, walking around; all of n mazes at once."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Int
from numba import njit
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree

FAR = 10_000  # steps: not to be reached
MOVES = np.array([(0, 1), (1, 0), (0, -1), (-1, 0)])  # north, east, south, west


def dig(n: int, size: int, *, loops: float, rng: np.random.Generator) -> Int[np.ndarray, "n c 4"]:
    """The neighbours of every cell of n mazes of size x size cells, itself where there is a wall.

    A maze is a spanning tree of random weights (Kruskal's maze); each wall that is left is opened with probability
    `loops`. Cell y * size + x lies at (x, y).

    Raises:
        ValueError: if there is no maze, no cell to go to, or `loops` is no probability.
    """
    if n < 1 or size < 2 or not 0.0 <= loops <= 1.0:
        raise ValueError(f"need n >= 1, size >= 2 and loops in [0, 1], got {n=}, {size=}, {loops=}")
    a, b, direction = _grid_edges(size)
    n_cells = size * size
    first = np.repeat(np.arange(n) * n_cells, len(a))
    rows, columns = first + np.tile(a, n), first + np.tile(b, n)
    weights = rng.uniform(0.1, 1.0, size=len(rows))
    tree = minimum_spanning_tree(coo_array((weights, (rows, columns)), shape=(n * n_cells, n * n_cells)).tocsr())
    is_open = _in_tree(tree.tocoo(), rows, columns)
    is_open |= rng.uniform(size=len(rows)) < loops
    ways = np.tile(np.arange(n_cells)[:, None], (n, 1, 4))
    maze = np.repeat(np.arange(n), len(a))[is_open]
    a, b, direction = np.tile(a, n)[is_open], np.tile(b, n)[is_open], np.tile(direction, n)[is_open]
    ways[maze, a, direction] = b
    ways[maze, b, (direction + 2) % 4] = a
    return ways


def _grid_edges(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(from, to, direction) of all pairs of neighbours, northwards and eastwards."""
    cells = np.arange(size * size).reshape(size, size)  # [y, x]
    north = cells[:-1].ravel(), cells[1:].ravel()
    east = cells[:, :-1].ravel(), cells[:, 1:].ravel()
    direction = np.repeat([0, 1], [len(north[0]), len(east[0])])
    return np.concatenate([north[0], east[0]]), np.concatenate([north[1], east[1]]), direction


def _in_tree(tree: coo_array, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    n = tree.shape[0]
    low, high = np.minimum(tree.row, tree.col).astype(np.int64), np.maximum(tree.row, tree.col)
    return np.isin(np.minimum(rows, columns) * n + np.maximum(rows, columns), low * n + high)


@no_type_check
@njit(cache=True)
def flood(ways, is_expanded, sources, most, steps, first):
    """Breadth first from the source of each maze, over edges with an expanded end, up to `most` steps.

    Fills `steps` (n, c) and `first` (n, c), the bits of the moves that a shortest way may begin with.
    """
    n, c, _ = ways.shape
    queue = np.empty(c, np.int64)
    for i in range(n):
        steps[i, :] = 10_000
        first[i, :] = 0
        steps[i, sources[i]] = 0
        queue[0] = sources[i]
        head, tail = 0, 1
        while head < tail:
            a = queue[head]
            head += 1
            if steps[i, a] >= most:
                break
            for k in range(4):
                b = ways[i, a, k]
                if b == a or not (is_expanded[i, a] or is_expanded[i, b]):
                    continue
                if steps[i, b] == 10_000:
                    steps[i, b] = steps[i, a] + 1
                    queue[tail] = b
                    tail += 1
                if steps[i, b] == steps[i, a] + 1:
                    first[i, b] |= (1 << k) if steps[i, a] == 0 else first[i, a]


def routes(
    ways: Int[np.ndarray, "n c 4"],
    sources: Int[np.ndarray, " n"],
    *,
    is_expanded: Bool[np.ndarray, "n c"] | None = None,
    most: int = FAR,
) -> tuple[Int[np.ndarray, "n c"], Bool[np.ndarray, "n c 4"]]:
    """Steps from the sources to every cell (`FAR`: none) and whether a shortest way begins with each move.

    Args:
        ways: as `dig` gives them.
        sources: a cell a maze.
        is_expanded: cells whose surroundings are known; an edge can be used if one of its ends is such. Default: all.
        most: steps to look ahead.
    """
    n, c, _ = ways.shape
    steps, first = np.empty((n, c), np.int64), np.empty((n, c), np.int64)
    expanded = np.ones((n, c), np.bool_) if is_expanded is None else is_expanded
    flood(ways, expanded, sources, most, steps, first)
    return steps, (first[:, :, None] >> np.arange(4) & 1).astype(bool)


def wander(ways: Int[np.ndarray, "n c 4"], n_steps: int, rng: np.random.Generator) -> Int[np.ndarray, "n t"]:
    """The cells of a walk of n_steps steps in each maze, from anywhere, to where it was least before; start first."""
    n, c, _ = ways.shape
    rows = np.arange(n)
    visits = np.zeros((n, c))
    walk = np.empty((n, n_steps + 1), dtype=np.int64)
    walk[:, 0] = rng.integers(c, size=n)
    for t in range(n_steps):
        visits[rows, walk[:, t]] += 1
        to = ways[rows, walk[:, t]]
        cost = visits[rows[:, None], to] + rng.uniform(0.0, 0.5, size=(n, 4)) + FAR * (to == walk[:, t : t + 1])
        walk[:, t + 1] = to[rows, cost.argmin(axis=1)]
    return walk


def one_of(is_choice: Bool[np.ndarray, "n c"], rng: np.random.Generator) -> Bool[np.ndarray, "n c"]:
    """One of the choices of each row, drawn alike."""
    drawn = np.where(is_choice, rng.uniform(size=is_choice.shape), -1.0).argmax(axis=1)
    return np.arange(is_choice.shape[1]) == drawn[:, None]
