"""A navigable small-world graph over the codes of a vector index, by usearch (Malkov & Yashunin, TPAMI 2020).

The graph proposes, the index disposes: what it finds is ranked by exact cosines, and filters are applied to it, so the
only error it can make is to miss a row. How far it must look is measured on the rows themselves, not assumed.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from embmem.errors import import_extra

# On one core of a 2-core x86 machine, 384 dimensions, an exact scan takes 31 ns a row, a search of the graph .2-.3 ms
# (clustered rows): even at 10,000 rows. But a row costs .45 ms to link, as much as 15,000 rows to scan, so below this
# many rows, where a scan takes 4 ms, the graph does not earn back the minute that it takes to build.
BREAK_EVEN = 131_072
CONNECTIVITY = 16  # links of a node
EXPANSION_ADD = 128
EXPANSIONS = (32, 64, 128, 256, 512, 1024)  # tried in turn
LEAST_RECALL = 0.99  # at 10, of the sample; what is promised is .98
SAMPLE = 64  # queries that measure recall
_BATCH = 64  # rows that are added while searches wait


class Graph:
    """Ids by the cosine of their codes (d,) int8. One thread is used, so the same rows make the same graph."""

    def __init__(self, dim: int) -> None:
        """Raises MissingExtraError without usearch."""
        usearch = import_extra("usearch.index", "index")
        self._index: Any = usearch.Index(
            ndim=dim, metric="cos", dtype="i8", connectivity=CONNECTIVITY, expansion_add=EXPANSION_ADD
        )
        self._lock = threading.Lock()
        self.expansion: int | None = None  # how far a search looks; None: recall was not measured or is too low
        self.n_measured = 0  # rows it held then

    def __len__(self) -> int:
        """Number of rows in it."""
        return len(self._index)

    @property
    def nbytes(self) -> int:
        """Bytes of RAM."""
        return int(self._index.memory_usage)

    def add(self, ids: np.ndarray, codes: np.ndarray) -> None:
        """Link rows: ids (n,), codes (n, d)."""
        for begin in range(0, len(ids), _BATCH):
            part = slice(begin, begin + _BATCH)
            with self._lock:
                self._index.add(ids[part].astype(np.uint64), np.ascontiguousarray(codes[part]), threads=1)

    def search(self, code: np.ndarray, count: int, expansion: int) -> np.ndarray:
        """About the `count` ids nearest to a code (d,), ascending."""
        with self._lock:
            self._index.expansion_search = max(expansion, count)
            keys = self._index.search(code, count, threads=1).keys
        return np.sort(keys.astype(np.int64))

    def save(self) -> bytes:
        """The whole graph, in usearch's format."""
        with self._lock:
            return bytes(self._index.save())

    def load(self, data: memoryview) -> None:
        """Take a saved graph's place. Its links are followed unchecked: authenticate the data first."""
        with self._lock:
            self._index.load(data)
