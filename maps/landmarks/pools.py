"""Lists of edges by row in one growing block of memory, each list in one piece."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit


def grown(array: np.ndarray, n: int) -> np.ndarray:
    """The array with room for at least n rows; what is new is not set."""
    if len(array) >= n:
        return array
    larger = np.empty((max(n, len(array) + len(array) // 2), *array.shape[1:]), dtype=array.dtype)
    larger[: len(array)] = array
    return larger


class Pool:
    """For each row a list of (target, cost, name). A list that grows moves to the end; gaps are closed now and then."""

    def __init__(self) -> None:
        self.n_rows, self.n_used, self.n_live = 0, 0, 0
        self._first, self._count = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int32)
        self._targets, self._costs = np.empty(0, dtype=np.int32), np.empty(0)
        self._names = np.empty(0, dtype=np.int64)

    @property
    def nbytes(self) -> int:
        """Bytes of RAM."""
        return sum(a.nbytes for a in self.rows())

    def rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(first entry of a row, entries of a row, target, cost and name of an entry)."""
        return self._first, self._count, self._targets, self._costs, self._names

    def add_rows(self, n: int) -> None:
        """Rows with empty lists."""
        self._first, self._count = grown(self._first, self.n_rows + n), grown(self._count, self.n_rows + n)
        self._first[self.n_rows : self.n_rows + n], self._count[self.n_rows : self.n_rows + n] = 0, 0
        self.n_rows += n

    def add(self, rows: np.ndarray, targets: np.ndarray, costs: np.ndarray, names: np.ndarray) -> None:
        """Add entries to the lists of their rows."""
        touched = np.unique(rows)
        old = self.lists(touched)
        parts = zip(old, (rows, targets, costs, names), strict=True)
        self.replace(touched, *(np.concatenate(pair) for pair in parts))

    def replace(
        self, owners: np.ndarray, rows: np.ndarray, targets: np.ndarray, costs: np.ndarray, names: np.ndarray
    ) -> None:
        """Give the rows `owners`, which ascend, new lists, in the order of the entries."""
        order = np.argsort(rows, kind="stable")
        self.n_live += len(rows) - int(self._count[owners].sum())
        count = np.bincount(np.searchsorted(owners, rows), minlength=len(owners))
        if self.n_used + len(rows) > len(self._targets) and self.n_used > 2 * self.n_live + 1024:
            self._count[owners] = 0
            self._close_gaps()
        end = self.n_used + len(rows)
        self._targets, self._costs = grown(self._targets, end), grown(self._costs, end)
        self._names = grown(self._names, end)
        self._targets[self.n_used : end], self._costs[self.n_used : end] = targets[order], costs[order]
        self._names[self.n_used : end] = names[order]
        self._first[owners], self._count[owners] = self.n_used + np.cumsum(count) - count, count
        self.n_used = end

    def lists(self, owners: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(row, target, cost, name) of all entries of the rows `owners`."""
        count = self._count[owners]
        start = np.repeat(self._first[owners] - (np.cumsum(count) - count), count)
        at = start + np.arange(len(start))
        return np.repeat(owners, count), self._targets[at], self._costs[at], self._names[at]

    def reprice(self, rows: np.ndarray, names: np.ndarray, costs: np.ndarray) -> np.ndarray:
        """Give entries, named by row and name, new costs, in this order; their old ones."""
        at = _find(self._first, self._count, self._names, rows, names)
        return _exchange(self._costs, at, np.asarray(costs, dtype=np.float64))

    def _close_gaps(self) -> None:
        rows = np.arange(self.n_rows)
        _, targets, costs, names = self.lists(rows)
        count = self._count[rows].astype(np.int64)
        self._first[rows] = np.cumsum(count) - count
        self._targets, self._costs, self._names, self.n_used = targets, costs, names, len(targets)


@no_type_check
@njit(cache=True)
def _find(first, count, names, rows, wanted):
    """Where the entries lie."""
    at = np.empty(len(rows), np.int64)
    for i in range(len(rows)):
        k = first[rows[i]]
        while names[k] != wanted[i]:
            k += 1
        at[i] = k
    return at


@no_type_check
@njit(cache=True)
def _exchange(values, at, new):
    """Write one after the other, so that the last of several at one place stays; what was there before each."""
    old = np.empty(len(at))
    for i in range(len(at)):
        old[i], values[at[i]] = values[at[i]], new[i]
    return old
