"""The vector index: for every record with an embedding its id, place, stamp and embedding, searched exactly."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from embmem.search import vector_kernels as kernels
from embmem.search.cell_lists import CellLists
from embmem.search.slabs import Slab, Slabs, stride_of
from embmem.search.vector_kernels import ERASED, HIDDEN
from embmem.search.window import EVERYWHERE, Window

Fetch = Callable[[np.ndarray], np.ndarray]  # ids (n,) -> their embeddings (n, d) float16
# A row that is jumped to costs about as much as this many rows in a scan (measured, d = 384).
_JUMP = 4
_FEW = 64  # hits that are put in order one by one; more are sorted
_NO_MASK = np.zeros(0, np.bool_)


class Found(NamedTuple):
    """What a search found, most similar first; ties newest id first."""

    ids: np.ndarray  # (m,) int64
    cosines: np.ndarray  # (m,) float64
    how: str  # the path that was taken


class VectorIndex:
    """Embeddings of one dimension, with ids that ascend in order of arrival.

    Every search is exact unless a graph was attached. One thread at a time may change the index; any number may search
    meanwhile, and each sees all that was appended before its search began and no half-written row. What is removed
    while a search runs may still be found by it.
    """

    def __init__(self, dim: int, *, fetch: Fetch | None = None) -> None:
        """With `fetch`, the float16 originals stay where they are and RAM holds only their codes."""
        if dim < 1:
            raise ValueError(f"an embedding has at least one dimension, got {dim}")
        self.dim = dim
        self._fetch = fetch
        self._writing = threading.Lock()  # one change at a time
        self._lock = threading.Lock()  # held while the lists of cells change or are walked
        self._cells = CellLists()
        self._rows = Slabs.of((Slab.empty(dim, with_floats=fetch is None),), 0)
        self._n_seen = 0

    def __len__(self) -> int:
        """Number of rows that a search may find."""
        return self._n_seen

    @property
    def last_id(self) -> int:
        """The highest id that was appended; -1 if none was."""
        rows = self._rows
        return int(kernels.gather(rows.table, np.array([rows.n - 1]))[0][0]) if rows.n else -1

    @property
    def nbytes(self) -> int:
        """Bytes that rows and lists take."""
        each = sum(field.nbytes for field in self._rows.slabs[0]) / kernels.ROWS
        return int(each * self._rows.n) + self._cells.nbytes

    def append(self, ids: np.ndarray, embeddings: np.ndarray, stamps: np.ndarray, positions: np.ndarray) -> None:
        """Add rows: ids (n,) above all earlier ones, embeddings (n, d), stamps (n,) [s], positions (n, 3) [m] or NaN.

        Embeddings are kept as float16. A zero vector is similar to nothing: its cosine is 0.

        Raises:
            ValueError: if anything is misshapen, out of order or not finite; nothing is added.
        """
        ids, stamps = np.asarray(ids, np.int64), np.asarray(stamps, np.float64)
        positions, halves = np.asarray(positions, np.float64), self._halves(embeddings)
        n = len(ids)
        if ids.shape != (n,) or len(halves) != n or stamps.shape != (n,) or positions.shape != (n, 3):
            raise ValueError(
                f"need n ids, n embeddings, n stamps and (n, 3) positions, got {ids.shape}, {halves.shape}, "
                f"{stamps.shape}, {positions.shape}"
            )
        if np.isnan(stamps).any() or np.isinf(positions).any():
            raise ValueError("a stamp is NaN or a position infinite")
        with self._writing:
            if n and ((np.diff(ids) <= 0).any() or ids[0] <= self.last_id or ids[0] < 0):
                raise ValueError(f"ids must ascend from above {self.last_id}, got {ids[:5]} ... {ids[-1]}")
            places = np.column_stack([positions, stamps])
            rows = self._rows.append(ids, halves, places)
            with self._lock:
                self._cells.append(self._rows.n, places)
                self._rows = rows
            self._n_seen += n

    def remove(self, ids: np.ndarray, *, erase: bool = False) -> int:
        """Leave these out of searches; returns how many were in them. `erase` also overwrites their embeddings."""
        with self._writing:
            rows = _find(self._rows, ids)
            gone = kernels.set_flags(self._rows.table, rows, 0xFF, HIDDEN | ERASED if erase else HIDDEN)
            if erase:
                for row in rows.tolist():
                    slab, i = self._rows.slabs[row // kernels.ROWS], row % kernels.ROWS
                    slab.codes[i], slab.factors[i], slab.floats[i : i + 1] = 0, 0.0, 0
            self._n_seen -= gone
            return gone

    def restore(self, ids: np.ndarray) -> int:
        """Let searches find these again; returns how many they could not find. What was erased stays so."""
        with self._writing:
            rows = _find(self._rows, ids)
            flags = kernels.gather(self._rows.table, rows)[2]
            back = kernels.set_flags(self._rows.table, rows[flags & ERASED == 0], 0, 0)
            self._n_seen += back
            return back

    def select(
        self, window: Window, *, ids: np.ndarray | None = None, with_removed: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ids (m,) ascending and places (m, 4: x, y, z, stamp) of the rows in a window."""
        slabs, packed = self._rows, window.packed()
        rows, mask, _ = self._candidates(slabs, window, packed, ids)
        rows = np.arange(slabs.n) if rows is None else np.sort(rows)
        blocked = ERASED if with_removed else HIDDEN | ERASED
        rows = kernels.select_rows(slabs.table, rows, blocked, packed, mask)
        found, places, _ = kernels.gather(slabs.table, rows)
        return found, places

    def search(
        self,
        query: np.ndarray,
        k: int,
        *,
        window: Window = EVERYWHERE,
        ids: np.ndarray | None = None,
        min_similarity: float = -1.0,
        with_removed: bool = False,
    ) -> Found:
        """The k rows most similar to a query (d,), by cosine.

        Args:
            query: Need not be of unit length.
            k: How many at most.
            window: Where and when.
            ids: The ids that are allowed, in any order; or a mask (m,) bool by id, False beyond its end.
            min_similarity: The least cosine.
            with_removed: Also what was removed; never what was erased.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        query = np.asarray(query, np.float64)
        unit, integers, steps = kernels.prepare(query.ravel(), stride_of(self.dim))
        if query.shape != (self.dim,) or not len(unit):
            raise ValueError(
                f"need a query of {self.dim} finite numbers, not all 0, got {query.shape}: {query.ravel()[:3]}"
            )
        slabs, packed = self._rows, window.packed()
        if slabs.n == 0:
            return Found(np.zeros(0, np.int64), np.zeros(0), "no rows")
        rows, mask, why = self._candidates(slabs, window, packed, ids)
        blocked = ERASED if with_removed else HIDDEN | ERASED
        scales, k = np.array([steps[0], steps[1], min_similarity, blocked]), min(k, slabs.n)
        if rows is None:
            rows = kernels.scan(slabs.table, (0, slabs.n), integers, scales, k, packed, mask)
            how = f"exact scan of {why} of {slabs.n} rows"
        else:
            if len(mask) or why == "ids":
                rows = kernels.select_rows(slabs.table, rows, blocked, packed, mask)
            how = f"exact over {len(rows)} of {slabs.n} rows, found by their {why}"
            rows = kernels.scan_rows(slabs.table, rows, integers, scales, k)
        return self._rank(slabs, rows, (unit, blocked, min_similarity, k), how)

    def _candidates(
        self, slabs: Slabs, window: Window, packed: np.ndarray, ids: np.ndarray | None
    ) -> tuple[np.ndarray | None, np.ndarray, str]:
        """The rows to look at (None: all of the slabs), the mask that is left to apply, where they come from."""
        rows, mask, cost = None, _NO_MASK, slabs.n
        if window.since > -np.inf or window.until < np.inf:
            cost = kernels.rows_in_time(slabs.table, slabs.n, window.since, window.until)
        why = str(cost)
        if ids is not None and ids.dtype == np.bool_:
            mask = ids if len(ids) else np.zeros(1, np.bool_)
        elif ids is not None:
            rows = _find(slabs, ids)
            if _JUMP * len(rows) <= cost:
                return rows, mask, "ids"
            mask = np.zeros(int(ids.max(initial=0)) + 1, np.bool_)
            mask[ids[ids >= 0]] = True
            rows = None
        if window.is_in_space:
            with self._lock:
                cells = self._cells.cells_in(packed)
                if _JUMP * cells[1] <= cost:
                    rows, why = self._cells.rows_in(cells, packed), "cells"
            if rows is not None and self._rows is not slabs:
                rows = rows[rows < slabs.n]  # what came since is not in these slabs
        return rows, mask, why

    def _rank(self, slabs: Slabs, rows: np.ndarray, asked: tuple[np.ndarray, int, float, int], how: str) -> Found:
        """The best of the rows by the cosines of their float16 originals."""
        unit, blocked, least, k = asked
        ids, _, flags = kernels.gather(slabs.table, rows)
        if self._fetch is None:
            cosines = kernels.exact(slabs.table, rows, unit)
        else:
            halves = np.ascontiguousarray(self._fetch(ids))
            if halves.shape != (len(ids), self.dim) or halves.dtype != np.float16:
                raise ValueError(f"fetch gave {halves.dtype} {halves.shape} for {len(ids)} ids of dimension {self.dim}")
            cosines = kernels.exact_of(halves.view(np.uint16), unit)
        cosines[flags & blocked != 0] = np.nan  # removed since the scan
        if k <= _FEW:
            ids, cosines = kernels.best_of(ids, cosines, least, k)
            return Found(ids, cosines, how)
        is_fit = cosines >= least
        ids, cosines = ids[is_fit], cosines[is_fit]
        best = np.lexsort((-ids, -cosines))[:k]
        return Found(ids[best], cosines[best], how)

    def _halves(self, embeddings: np.ndarray) -> np.ndarray:
        if embeddings.ndim != 2 or embeddings.shape[1] != self.dim or embeddings.dtype.kind != "f":
            raise ValueError(f"need floats (n, {self.dim}), got {embeddings.dtype} {embeddings.shape}")
        with np.errstate(over="ignore"):
            halves = np.ascontiguousarray(embeddings, np.float16)
        if not np.isfinite(halves).all():
            raise ValueError("an embedding is NaN, infinite or too large for float16")
        return halves


def _find(slabs: Slabs, ids: np.ndarray) -> np.ndarray:
    return kernels.find_rows(slabs.table, slabs.n, np.unique(np.asarray(ids, np.int64)))
