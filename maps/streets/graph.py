"""A street graph as arrays: places, and for every place its exits with their headings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import no_type_check

import networkx as nx
import numpy as np
from jaxtyping import Bool, Float, Int
from numba import njit
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import breadth_first_order

JUNCTION = 3  # exits that make a place a junction
UNREACHED = -1


@dataclass(frozen=True, eq=False)
class StreetMap:
    """Places in the order of their file, exits as compressed rows, also in the order of their file.

    Headings are compass degrees, [0, 360), clockwise from north. The order of the exits decides ties of the moving
    rules, so it is kept. `names` are panorama ids.
    """

    names: tuple[str, ...]
    xy: Float[np.ndarray, "n 2"]  # [m], east and north on a local plane
    yaw: Float[np.ndarray, " n"]  # [degrees] where the car that took the panorama was heading
    is_unseen: Bool[np.ndarray, " n"]  # in the part of the city that is held out
    first: Int[np.ndarray, " n1"]  # exits of place i are first[i] .. first[i + 1]
    ends: Int[np.ndarray, " m"]  # where each exit leads
    headings: Float[np.ndarray, " m"]  # [degrees]
    lengths: Float[np.ndarray, " m"]  # [m], along the ground

    @classmethod
    def from_exits(
        cls,
        names: Sequence[str],
        xy: Float[np.ndarray, "n 2"],
        exits: Iterable[tuple[int, float, int]],
        *,
        yaw: Float[np.ndarray, " n"] | None = None,
        is_unseen: Bool[np.ndarray, " n"] | None = None,
        lengths: Float[np.ndarray, " m"] | None = None,
    ) -> StreetMap:
        """A map from (place, heading, place) in any order of the places; lengths default to the straight line.

        Raises:
            ValueError: if an exit names a place that is not there, a place has two exits with one heading, a position
                is not finite, or there is not one value a place (for lengths: an exit).
        """
        n = len(names)
        rows = list(exits)
        if np.shape(xy) != (n, 2) or not np.isfinite(xy).all():
            raise ValueError(f"{n} places need (n, 2) finite positions, got {np.shape(xy)}")
        columns = {"yaw": (yaw, n), "is_unseen": (is_unseen, n), "lengths": (lengths, len(rows))}
        for name, (values, size) in columns.items():
            if values is not None and np.shape(values) != (size,):
                raise ValueError(f"{name} must hold {size} values, got {np.shape(values)}")
        starts, ends = (np.array([row[i] for row in rows], dtype=np.int64) for i in (0, 2))
        headings = np.array([row[1] for row in rows], dtype=float)
        if len(set(names)) < n:
            raise ValueError("two places have the same name")
        if rows and (min(starts.min(), ends.min()) < 0 or max(starts.max(), ends.max()) >= n):
            raise ValueError(f"exits must join places 0..{n - 1}")
        if not ((headings >= 0) & (headings < 360)).all():
            raise ValueError("headings must lie in [0, 360)")
        if len(set(zip(starts.tolist(), headings.tolist(), strict=True))) < len(rows):
            raise ValueError("a place has two exits with one heading")
        if lengths is None:
            lengths = np.linalg.norm(xy[ends] - xy[starts], axis=1) if rows else np.zeros(0)
        order = np.argsort(starts, kind="stable")
        return cls(
            names=tuple(names),
            xy=np.asarray(xy, dtype=float).reshape(-1, 2),
            yaw=np.zeros(n) if yaw is None else yaw,
            is_unseen=np.zeros(n, dtype=bool) if is_unseen is None else is_unseen,
            first=np.concatenate([[0], np.cumsum(np.bincount(starts, minlength=n))]).astype(np.int64),
            ends=ends[order],
            headings=headings[order],
            lengths=lengths[order],
        )

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def number(self) -> dict[str, int]:
        """The number of each place by its name."""
        return {name: i for i, name in enumerate(self.names)}

    @cached_property
    def n_exits(self) -> Int[np.ndarray, " n"]:
        """How many ways lead out of each place."""
        return np.diff(self.first)

    @cached_property
    def _exits(self) -> list[tuple[tuple[float, int], ...]]:
        pairs = list(zip(self.headings.tolist(), self.ends.tolist(), strict=True))
        first = self.first.tolist()
        return [tuple(pairs[a:b]) for a, b in pairwise(first)]

    def exits(self, place: int) -> tuple[tuple[float, int], ...]:
        """(heading [degrees], place) of every way out of a place, in the order of the file."""
        return self._exits[place]

    def heading(self, place: int, end: int) -> float:
        """The heading of the way from a place to its neighbour.

        Raises:
            ValueError: if there is no such way.
        """
        for heading, there in self.exits(place):
            if there == end:
                return heading
        raise ValueError(f"no way leads from {self.names[place]!r} to {self.names[end]!r}")

    @cached_property
    def undirected(self) -> tuple[Int[np.ndarray, " n1"], Int[np.ndarray, " m"]]:
        """Compressed rows of the neighbours of every place, whichever way the edge points."""
        starts = np.repeat(np.arange(len(self)), self.n_exits)
        pairs = np.unique(np.stack([np.r_[starts, self.ends], np.r_[self.ends, starts]], axis=1), axis=0)
        first = np.concatenate([[0], np.cumsum(np.bincount(pairs[:, 0], minlength=len(self)))])
        return first.astype(np.int64), np.ascontiguousarray(pairs[:, 1])

    def hops_from(self, place: int, *, is_directed: bool = True, most: int = 2**31 - 1) -> Int[np.ndarray, " n"]:
        """Fewest exits to take from a place to every other; `UNREACHED` where that is none or more than `most`."""
        self._check([place])
        first, ends = (self.first, self.ends) if is_directed else self.undirected
        return np.asarray(_breadth_first(first, ends, place, most), dtype=np.int64)

    def hops_to(self, place: int, ends: Sequence[int], *, is_directed: bool = True) -> Int[np.ndarray, " k"]:
        """Fewest exits to take from a place to each of some others; the search ends when all are reached."""
        self._check([place, *ends])
        first, rows = (self.first, self.ends) if is_directed else self.undirected
        return np.asarray(_until_reached(first, rows, place, np.asarray(ends, dtype=np.int64)), dtype=np.int64)

    def way(self, start: int, end: int) -> list[int] | None:
        """A walk with the fewest exits between two places, both included; None if there is none."""
        self._check([start, end])
        ones = np.ones(len(self.ends), dtype=np.int8)
        matrix = csr_matrix((ones, self.ends, self.first), shape=(len(self), len(self)))
        _, before = breadth_first_order(matrix, start, directed=True)
        path = [end]
        while path[-1] != start:
            if before[path[-1]] < 0:
                return None
            path.append(int(before[path[-1]]))
        return path[::-1]

    def _check(self, places: Sequence[int]) -> None:
        """Compiled code does not look where it writes."""
        if places and not (min(places) >= 0 and max(places) < len(self)):
            raise ValueError(f"places are numbered 0..{len(self) - 1}, got {min(places)}..{max(places)}")

    def networkx(self) -> nx.DiGraph:
        """The map as a graph to hold in one's hands: names as nodes with `xy`, edges with `heading` and `metres`."""
        graph = nx.DiGraph()
        for name, xy, yaw in zip(self.names, self.xy.tolist(), self.yaw.tolist(), strict=True):
            graph.add_node(name, xy=tuple(xy), yaw=yaw)
        starts = np.repeat(np.arange(len(self)), self.n_exits).tolist()
        rows = zip(starts, self.ends.tolist(), self.headings.tolist(), self.lengths.tolist(), strict=True)
        for start, end, heading, metres in rows:
            graph.add_edge(self.names[start], self.names[end], heading=heading, metres=metres)
        return graph


@no_type_check
@njit(cache=True)
def _breadth_first(first, ends, source, most):
    hops = np.full(len(first) - 1, UNREACHED, np.int64)
    queue = np.empty(len(first) - 1, np.int64)
    hops[source] = 0
    queue[0] = source
    head, tail = 0, 1
    while head < tail:
        place = queue[head]
        head += 1
        if hops[place] >= most:
            break
        for i in range(first[place], first[place + 1]):
            end = ends[i]
            if hops[end] == UNREACHED:
                hops[end] = hops[place] + 1
                queue[tail] = end
                tail += 1
    return hops


@no_type_check
@njit(cache=True)
def _until_reached(first, ends, source, targets):
    hops = np.full(len(first) - 1, UNREACHED, np.int64)
    queue = np.empty(len(first) - 1, np.int64)
    is_wanted = np.zeros(len(first) - 1, np.bool_)
    missing = 0
    for target in targets:
        if not is_wanted[target]:
            is_wanted[target] = True
            missing += 1
    hops[source] = 0
    queue[0] = source
    head, tail = 0, 1
    while head < tail and missing > 0:
        place = queue[head]
        head += 1
        if is_wanted[place]:
            missing -= 1
        for i in range(first[place], first[place + 1]):
            end = ends[i]
            if hops[end] == UNREACHED:
                hops[end] = hops[place] + 1
                queue[tail] = end
                tail += 1
    out = np.empty(len(targets), np.int64)
    for i in range(len(targets)):
        out[i] = hops[targets[i]]
    return out
