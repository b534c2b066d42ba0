"""The vector index: for every record with an embedding its id, place, stamp and embedding, searched exactly."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from embmem.search import row_kernels
from embmem.search import vector_kernels as kernels
from embmem.search.cell_lists import CellLists
from embmem.search.hnsw import BREAK_EVEN, EXPANSIONS, LEAST_RECALL, SAMPLE, Graph
from embmem.search.row_kernels import ERASED, HIDDEN
from embmem.search.slabs import Slab, Slabs, stride_of
from embmem.search.window import EVERYWHERE, Window

Fetch = Callable[[np.ndarray], np.ndarray]  # ids (n,) -> their embeddings (n, d) float16
# A row that is jumped to costs about as much as this many rows in a scan (measured: 120 ns against 35, d = 512).
_JUMP = 4
_POOL = 3  # rows a hit that the graph proposes, since it ranks by codes
_WORTH = 128  # a row that the graph looks at costs as much as this many in a scan (expansion 512: 1.9 ms)
_FEW = 64  # hits that are put in order one by one; more are sorted
_NO_MASK = np.zeros(0, np.bool_)


class _Candidates(NamedTuple):
    """Where a search looks."""

    rows: np.ndarray | None  # None: a scan of all zones that overlap the window in time
    mask: np.ndarray  # by id, to be applied yet; empty if there is none
    n_scanned: int  # by that scan
    source: str  # of the rows


@runtime_checkable
class Proof(Protocol):
    """Stands for rows that came from a file."""

    def check(self, name: str, numbers: Iterable[int] | None = None) -> None:
        """Make sure of the "codes" or "floats" of these slabs, or of all."""


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
        self._proof: Proof | None = None
        self.graph: Graph | None = None

    @classmethod
    def of(cls, dim: int, slabs: Slabs, *, proof: Proof, fetch: Fetch | None) -> VectorIndex:
        """With rows that came from elsewhere; `proof` is asked before their codes or originals are used."""
        index = cls(dim, fetch=fetch)
        index._rows, index._proof = slabs, proof
        for number, slab in enumerate(slabs.slabs):
            rows = max(0, min(row_kernels.ROWS, slabs.n - number * row_kernels.ROWS))
            index._cells.append(number * row_kernels.ROWS, slab.places[:rows])
            index._n_seen += rows - int(np.count_nonzero(slab.flags[:rows]))
        return index

    @property
    def slabs(self) -> Slabs:
        """The rows as they are now; to be saved, not to be changed."""
        return self._rows

    def grow_graph(self, *, least_rows: int = BREAK_EVEN) -> bool:
        """Link the rows that no graph holds yet, and measure how far searches must look; whether there is a graph.

        Takes about .45 ms a row; searches go on meanwhile, and scan what is not linked. A graph whose recall@10 stays
        below what is promised is kept but not used: searches stay exact. To be called by the thread that writes.

        Raises:
            MissingExtraError: without usearch.
        """
        slabs = self._rows
        if slabs.n < least_rows:
            return False
        graph = self.graph or Graph(self.dim)
        self._make_sure("codes", None)
        while len(graph) < slabs.n:
            slab, at = slabs.slabs[len(graph) // row_kernels.ROWS], len(graph) % row_kernels.ROWS
            end = min(row_kernels.ROWS, slabs.n - len(graph) + at)
            graph.add(slab.ids[at:end], slab.codes[at:end, : self.dim])
        if len(graph) > 1.25 * graph.n_measured:
            graph.expansion, graph.n_measured = self._least_expansion(graph), len(graph)
        self.graph = graph
        return True

    def _least_expansion(self, graph: Graph) -> int | None:
        """How far the graph must look to find the 10 nearest rows of rows; None if even the farthest is not enough."""
        slabs, found = self._rows, 0
        chosen = np.linspace(0, len(graph) - 1, SAMPLE).astype(np.int64)
        kept = [(slabs.slabs[row // row_kernels.ROWS], row % row_kernels.ROWS) for row in chosen.tolist()]
        codes = [slab.codes[i, : self.dim] for slab, i in kept if slab.codes[i].any()]
        self.graph = None  # what follows must be exact
        truth = [self.search(code, 11, with_removed=True).ids for code in codes]
        for expansion in EXPANSIONS:
            pools = [graph.search(code, _POOL * 11, expansion) for code in codes]
            found = sum(np.isin(best, pool).sum() for best, pool in zip(truth, pools, strict=True))
            if found >= LEAST_RECALL * sum(len(best) for best in truth):
                return expansion
        return None

    def prove(self) -> None:
        """Check all that came from a file, which searches do bit by bit; to be called in the background."""
        if self._proof is not None:
            self._proof.check("codes")
            self._proof.check("floats")

    def __len__(self) -> int:
        """Number of rows that a search may find."""
        return self._n_seen

    def id_of_row(self, row: int) -> int:
        """The id of the row that came as number `row`."""
        return int(row_kernels.gather(self._rows.table, np.array([row]))[0][0])

    @property
    def last_id(self) -> int:
        """The highest id that was appended; -1 if none was."""
        return self.id_of_row(self._rows.n - 1) if self._rows.n else -1

    @property
    def nbytes(self) -> int:
        """Bytes that rows and lists take."""
        each = sum(field.nbytes for field in self._rows.slabs[0]) / row_kernels.ROWS
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
            if erase:
                self._make_sure("codes", rows)
                self._make_sure("floats", rows)
                self.graph = None if len(rows) else self.graph  # it holds their codes
            gone = row_kernels.set_flags(self._rows.table, rows, 0xFF, HIDDEN | ERASED if erase else HIDDEN)
            if erase:
                for row in rows.tolist():
                    slab, i = self._rows.slabs[row // row_kernels.ROWS], row % row_kernels.ROWS
                    slab.codes[i], slab.factors[i], slab.floats[i : i + 1] = 0, 0.0, 0
            self._n_seen -= gone
            return gone

    def restore(self, ids: np.ndarray) -> int:
        """Let searches find these again; returns how many they could not find. What was erased stays so."""
        with self._writing:
            rows = _find(self._rows, ids)
            flags = row_kernels.gather(self._rows.table, rows)[2]
            back = row_kernels.set_flags(self._rows.table, rows[flags & ERASED == 0], 0, 0)
            self._n_seen += back
            return back

    def set_removed(self, ids: np.ndarray) -> None:
        """Let exactly these be removed, and what was erased."""
        with self._writing:
            table, n = self._rows.table, self._rows.n
            everything = np.arange(n)
            flags = row_kernels.gather(table, everything)[2]
            row_kernels.set_flags(table, everything[flags == HIDDEN], 0, 0)
            row_kernels.set_flags(table, _find(self._rows, ids), 0xFF, HIDDEN)
            self._n_seen = n - int(np.count_nonzero(row_kernels.gather(table, everything)[2]))

    def select(
        self, window: Window, *, ids: np.ndarray | None = None, with_removed: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ids (m,) ascending and places (m, 4: x, y, z, stamp) of the rows in a window."""
        slabs, packed = self._rows, window.packed()
        rows, mask = self._candidates(slabs, window, packed, ids)[:2]
        rows = np.arange(slabs.n) if rows is None else np.sort(rows)
        blocked = ERASED if with_removed else HIDDEN | ERASED
        rows = kernels.select_rows(slabs.table, rows, blocked, packed, mask)
        found, places, _ = row_kernels.gather(slabs.table, rows)
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
        rows, mask, n_scanned, source = self._candidates(slabs, window, packed, ids)
        blocked = ERASED if with_removed else HIDDEN | ERASED
        scales, k = np.array([steps[0], steps[1], min_similarity, blocked]), min(k, slabs.n)
        if rows is None:
            graph, proposed = self.graph, None
            if graph is not None and graph.expansion is not None:
                proposed = _propose(graph, unit, slabs, (packed, mask, blocked, k, n_scanned))
            self._make_sure("codes", None)
            if graph is None or proposed is None:
                rows = kernels.scan(slabs.table, (0, slabs.n), integers, scales, k, packed, mask)
                how = f"exact scan of {n_scanned} of {slabs.n} rows"
            else:
                tail = kernels.scan(slabs.table, (len(graph), slabs.n), integers, scales, k, packed, mask)
                rows, how = (
                    np.append(proposed, tail),
                    f"graph: {len(proposed)} of {slabs.n} rows, expansion {graph.expansion}",
                )
        else:
            if len(mask) or source == "ids":
                rows = kernels.select_rows(slabs.table, rows, blocked, packed, mask)
            self._make_sure("codes", rows)
            how = f"exact over {len(rows)} of {slabs.n} rows, found by their {source}"
            rows = kernels.scan_rows(slabs.table, rows, integers, scales, k)
        return self._rank(slabs, rows, (unit, blocked, min_similarity, k), how)

    def _candidates(self, slabs: Slabs, window: Window, packed: np.ndarray, ids: np.ndarray | None) -> _Candidates:
        """The cheapest way to all rows that may pass."""
        rows, mask, in_time, source = None, _NO_MASK, slabs.n, ""
        if window.since > -np.inf or window.until < np.inf:
            in_time = row_kernels.rows_in_time(slabs.table, slabs.n, window.since, window.until)
        if ids is not None and ids.dtype == np.bool_:
            mask = ids if len(ids) else np.zeros(1, np.bool_)
        elif ids is not None:
            rows = _find(slabs, ids)
            if _JUMP * len(rows) <= in_time:
                return _Candidates(rows, mask, in_time, "ids")
            mask = np.zeros(int(ids.max(initial=0)) + 1, np.bool_)
            mask[ids[ids >= 0]] = True
            rows = None
        if window.is_in_space:
            with self._lock:
                cells = self._cells.cells_in(packed)
                if _JUMP * cells[1] <= in_time:
                    rows, source = self._cells.rows_in(cells, packed), "cells"
            if rows is not None and self._rows is not slabs:
                rows = rows[rows < slabs.n]  # what came since is not in these slabs
        return _Candidates(rows, mask, in_time, source)

    def _rank(self, slabs: Slabs, rows: np.ndarray, asked: tuple[np.ndarray, int, float, int], how: str) -> Found:
        """The best of the rows by the cosines of their float16 originals."""
        unit, blocked, least, k = asked
        ids, _, flags = row_kernels.gather(slabs.table, rows)
        if self._fetch is None:
            self._make_sure("floats", rows)
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

    def _make_sure(self, field: str, rows: np.ndarray | None) -> None:
        if self._proof is not None:
            self._proof.check(field, None if rows is None else np.unique(rows // row_kernels.ROWS).tolist())

    def _halves(self, embeddings: np.ndarray) -> np.ndarray:
        if embeddings.ndim != 2 or embeddings.shape[1] != self.dim or embeddings.dtype.kind != "f":
            raise ValueError(f"need floats (n, {self.dim}), got {embeddings.dtype} {embeddings.shape}")
        with np.errstate(over="ignore"):
            halves = np.ascontiguousarray(embeddings, np.float16)
        if not np.isfinite(halves).all():
            raise ValueError("an embedding is NaN, infinite or too large for float16")
        return halves


def _find(slabs: Slabs, ids: np.ndarray) -> np.ndarray:
    return row_kernels.find_rows(slabs.table, slabs.n, np.unique(np.asarray(ids, np.int64)))


def _propose(
    graph: Graph, unit: np.ndarray, slabs: Slabs, asked: tuple[np.ndarray, np.ndarray, int, int, int]
) -> np.ndarray | None:
    """Rows that pass, near to the query; None where a scan is the better way to enough of them."""
    packed, mask, blocked, k, n_scanned = asked
    expansion = graph.expansion or EXPANSIONS[-1]
    code = np.rint(unit * (127.0 / np.abs(unit).max())).astype(np.int8)
    wanted = min(_POOL * k, len(graph))
    count = wanted * slabs.n // max(n_scanned, 1)
    while max(count, expansion) * _WORTH <= n_scanned:
        rows = row_kernels.find_rows(slabs.table, slabs.n, graph.search(code, count, expansion))
        rows = kernels.select_rows(slabs.table, rows, blocked, packed, mask)
        if len(rows) >= wanted:
            return rows
        count *= 4
    return None
