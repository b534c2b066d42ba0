"""The tables behind the landmark graph: a row a node, a row an edge; rows only ever die or are added."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

from embmem.maps.landmarks.pools import grown

NODE = np.dtype(
    [
        ("position", np.float64, (3,)),  # [m]
        ("anchor", np.float64),  # [s] of the keyframe that it moves with
        ("last_seen", np.float64),  # [s]
        ("count", np.int64),  # observations in the mean descriptor
        ("is_alive", np.bool_),
    ]
)
EDGE = np.dtype(
    [
        ("source", np.int32),  # row of a node
        ("target", np.int32),
        ("length", np.float64),  # [m] mean of what was measured, or as given
        ("seconds", np.float64),  # [s] the same
        ("instruction", np.float64),  # cost of telling somebody to take it
        ("measured", np.int32),  # traversals in the mean of `length`
        ("timed", np.int32),  # traversals in the mean of `seconds`
        ("successes", np.int32),
        ("failures", np.int32),
        ("is_alive", np.bool_),
    ]
)


class Tables:
    """Nodes with their descriptors, edges, and for each node the lists of the edges that leave and reach it.

    A list holds dead edges too. At most one living edge leads from a node to another.
    """

    def __init__(self) -> None:
        self.n_nodes, self.n_edges, self.next_id = 0, 0, 0
        self._nodes, self._ids = np.empty(0, dtype=NODE), np.empty(0, dtype=np.int64)
        self._descriptors = np.empty((0, 0), dtype=np.float32)
        self._heads = np.empty((0, 2), dtype=np.int32)  # of a node: last edge out, last edge in
        self._edges, self._links = np.empty(0, dtype=EDGE), np.empty((0, 2), dtype=np.int32)

    @property
    def nodes(self) -> np.ndarray:
        """(n,) rows of `NODE`, dead ones included; a view."""
        return self._nodes[: self.n_nodes]

    @property
    def ids(self) -> np.ndarray:
        """(n,) ascending."""
        return self._ids[: self.n_nodes]

    @property
    def descriptors(self) -> np.ndarray:
        """(n, d) running means of normalised descriptors; a view."""
        return self._descriptors[: self.n_nodes]

    @property
    def edges(self) -> np.ndarray:
        """(m,) rows of `EDGE`, dead ones included; a view."""
        return self._edges[: self.n_edges]

    @property
    def dim(self) -> int:
        """Length of a descriptor, 0 before the first node."""
        return int(self._descriptors.shape[1])

    @property
    def nbytes(self) -> int:
        """Bytes of RAM."""
        arrays = (self._nodes, self._ids, self._descriptors, self._heads, self._edges, self._links)
        return sum(array.nbytes for array in arrays)

    def add_nodes(self, rows: np.ndarray, descriptors: np.ndarray, ids: np.ndarray | None = None) -> np.ndarray:
        """Append nodes; their rows. The first nodes of all say how long a descriptor is."""
        begin, end = self.n_nodes, self.n_nodes + len(rows)
        if begin == 0:
            self._descriptors = np.empty((0, descriptors.shape[1]), dtype=np.float32)
        if ids is None:
            ids = np.arange(self.next_id, self.next_id + len(rows))
        self._nodes, self._ids = grown(self._nodes, end), grown(self._ids, end)
        self._descriptors, self._heads = grown(self._descriptors, end), grown(self._heads, end)
        self._nodes[begin:end], self._ids[begin:end] = rows, ids
        self._descriptors[begin:end], self._heads[begin:end] = descriptors, -1
        self.n_nodes, self.next_id = end, max(self.next_id, int(ids[-1]) + 1) if len(ids) else self.next_id
        return np.arange(begin, end)

    def add_edges(self, rows: np.ndarray) -> np.ndarray:
        """Append edges; their rows."""
        begin, end = self.n_edges, self.n_edges + len(rows)
        self._edges, self._links = grown(self._edges, end), grown(self._links, end)
        self._edges[begin:end] = rows
        _link(self._heads, self._links, rows["source"], rows["target"], begin)
        self.n_edges = end
        return np.arange(begin, end)

    def rows_of(self, ids: np.ndarray) -> np.ndarray:
        """Rows of living nodes.

        Raises:
            ValueError: if one is not there.
        """
        ids = np.asarray(ids, dtype=np.int64)
        rows = np.minimum(np.searchsorted(self.ids, ids), max(self.n_nodes - 1, 0))
        is_there = np.zeros(ids.shape, dtype=np.bool_)
        if self.n_nodes:
            is_there = (self.ids[rows] == ids) & self.nodes["is_alive"][rows]
        if not is_there.all():
            raise ValueError(f"there is no landmark {int(ids[~is_there].flat[0])}")
        return rows

    def find_edges(self, pairs: np.ndarray) -> np.ndarray:
        """(m,) rows of the living edges between (m, 2) rows of nodes, -1 where there is none."""
        pairs = np.asarray(pairs, dtype=np.int64)
        edges = self.edges
        return _find_edges(self._heads, self._links, edges["target"], edges["is_alive"], pairs)

    def incident(self, row: int) -> list[int]:
        """Living edges that leave or reach a node."""
        found = []
        for side in (0, 1):
            edge = int(self._heads[row, side])
            while edge >= 0:
                if self._edges["is_alive"][edge]:
                    found.append(edge)
                edge = int(self._links[edge, side])
        return sorted(set(found))


def node_rows(positions: np.ndarray, stamps: np.ndarray) -> np.ndarray:
    """(n,) rows of nodes that were seen once."""
    rows = np.zeros(len(positions), dtype=NODE)
    rows["position"], rows["anchor"], rows["last_seen"] = positions, stamps, stamps
    rows["count"], rows["is_alive"] = 1, True
    return rows


def edge_rows(pairs: np.ndarray, lengths: np.ndarray, instruction: np.ndarray | float = 0.0) -> np.ndarray:
    """(m,) rows of edges that nobody took yet."""
    rows = np.zeros(len(pairs), dtype=EDGE)
    rows["source"], rows["target"] = pairs[:, 0], pairs[:, 1]
    rows["length"], rows["instruction"], rows["is_alive"] = lengths, instruction, True
    return rows


@no_type_check
@njit(cache=True)
def _link(heads, links, sources, targets, begin):
    """Put edges in front of the lists of their nodes."""
    for i in range(len(sources)):
        edge = begin + i
        links[edge, 0], heads[sources[i], 0] = heads[sources[i], 0], edge
        links[edge, 1], heads[targets[i], 1] = heads[targets[i], 1], edge


@no_type_check
@njit(cache=True)
def _find_edges(heads, links, targets, is_alive, pairs):
    found = np.full(len(pairs), -1, np.int64)
    for i in range(len(pairs)):
        edge = heads[pairs[i, 0], 0]
        while edge >= 0:
            if is_alive[edge] and targets[edge] == pairs[i, 1]:
                found[i] = edge
                break
            edge = links[edge, 0]
    return found
