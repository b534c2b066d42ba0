"""Shortest paths on large graphs whose costs and edges change: regions, and short cuts between their borders."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from embmem.maps.landmarks.partition import cut
from embmem.maps.landmarks.pools import Pool, grown
from embmem.maps.landmarks.search import distances_from, local_graph, needed_arcs, path

_BELOW = 1.0 - 1e-9  # of the bound of A*, room for rounding
_TIE = 1.0 + 1e-12
_FEW = 8  # that many regions may be open, or edges of a region change, before it is worth more than a search


class RegionRoutes:
    """A directed graph cut into regions; a search crosses regions on short cuts between their border nodes.

    An overlay of two levels as in customizable route planning (Delling, Goldberg, Pajor and Werneck, SEA 2011). A
    region that holds neither start nor goal is crossed on short cuts, each as long as the shortest path inside the
    region between two of its border nodes; those that two others make up are left out. Costs are exact. A changed
    cost renews at most the short cuts of its own region. A region that got new nodes or edges is open: it is
    searched on its roads until there are too many of them, and `close` makes its short cuts again.

    Args:
        positions: (n, 3) [m] of the nodes 0..n-1.
        edges: (m, 2) from the first node to the second, named 0..m-1.
        costs: (k,) with k = m, 0 or more; inf where an edge is blocked.
        region_size: nodes that a region holds at most.

    Raises:
        ValueError: if a position is not finite, an edge names a node that is not there, or a cost is negative or NaN.
    """

    def __init__(
        self,
        positions: Float[np.ndarray, "n 3"],
        edges: Int[np.ndarray, "m 2"],
        costs: Float[np.ndarray, " k"],
        *,
        region_size: int = 512,
    ) -> None:
        self.region_size = region_size
        self.n_nodes, self.n_edges = 0, 0
        # Nodes sit in the order of their regions, so that neighbours in space are mostly neighbours in memory.
        self._seat_of = np.empty(0, dtype=np.int32)  # node -> seat
        self._node_of = np.empty(0, dtype=np.int32)  # seat -> node
        self._positions = np.empty((0, 3))  # by seat, as all that follows
        self._region = np.empty(0, dtype=np.int32)
        self._is_border = np.empty(0, dtype=np.bool_)
        self._roads, self._arcs = Pool(), Pool()
        self._from, self._to = np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int32)  # seats of an edge
        self._bounds = np.zeros((0, 2), dtype=np.int64)  # of regions: first seat and the one after the last
        self._is_open = np.zeros(0, dtype=np.bool_)
        self._tables: list[np.ndarray | None] = []  # of closed regions: distances between their border nodes
        self._per_metre = np.inf  # no edge costs less for a metre of straight line
        self._work = (np.empty((0, 4)), np.empty(0, dtype=np.int32), np.zeros(1, dtype=np.int64))
        _check_edges(edges, costs, len(positions))
        self._seat(positions, edges)
        self.add_edges(edges, costs)

    def add_nodes(self, positions: Float[np.ndarray, "n 3"]) -> None:
        """Nodes with the next numbers; they fill the last region if it is open, then make up new ones.

        Raises:
            ValueError: if a position is not finite; nothing has changed then.
        """
        self._seat(positions, np.empty((0, 2), dtype=np.int64))

    def add_edges(self, edges: Int[np.ndarray, "m 2"], costs: Float[np.ndarray, " k"]) -> None:
        """Edges with the next numbers.

        Raises:
            ValueError: if an edge names a node that is not there, or a cost is negative or NaN; nothing has changed
                then.
        """
        _check_edges(edges, costs, self.n_nodes)
        if len(edges) == 0:
            return
        seats = self._seat_of[edges]
        names = np.arange(self.n_edges, self.n_edges + len(edges))
        self.n_edges += len(edges)
        self._from, self._to = grown(self._from, self.n_edges), grown(self._to, self.n_edges)
        self._from[names], self._to[names] = seats[:, 0], seats[:, 1]
        self._roads.add(seats[:, 0], seats[:, 1], costs, names)
        crossing = self._region[seats[:, 0]] != self._region[seats[:, 1]]
        self._is_border[seats[crossing]] = True
        self._open(np.unique(self._region[seats]))
        self._bound(seats[:, 0], seats[:, 1], costs)

    def set_costs(self, edges: Int[np.ndarray, " m"], costs: Float[np.ndarray, " k"]) -> int:
        """Give the edges new costs, inf blocks one; how many edges were looked at to renew the short cuts.

        Of several costs for one edge the last counts.

        Raises:
            ValueError: if an edge is not there, or a cost is negative or NaN; nothing has changed then.
        """
        _check_costs(edges, costs)
        if len(edges) and (edges.min() < 0 or edges.max() >= self.n_edges):
            raise ValueError(f"edges must lie below {self.n_edges}, got {edges.min()}..{edges.max()}")
        edges, last = np.unique(edges[::-1], return_index=True)
        costs = costs[::-1][last]
        u, v = self._from[edges], self._to[edges]
        self._bound(u, v, costs)
        old = self._roads.reprice(u, edges, costs)
        inner = self._region[u] == self._region[v]
        crossing = ~inner & ~self._is_open[self._region[u]]
        self._arcs.reprice(u[crossing], edges[crossing], costs[crossing])
        changed = inner & (old != costs) & ~self._is_open[self._region[u]]
        looked = len(edges)
        for region in np.unique(self._region[u[changed]]):
            at = np.flatnonzero(changed & (self._region[u] == region))
            looked += self._renew(int(region), edges[at], np.minimum(old[at], costs[at]))
        return looked

    def shortest_path(self, start: int, goal: int) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " e"], float]:
        """(nodes, edges, cost) of a cheapest path from `start` to `goal`, both included; empty and inf if none.

        Raises:
            ValueError: if a node is not there.
        """
        for node in (start, goal):
            if not 0 <= node < self.n_nodes:
                raise ValueError(f"node must be one of 0..{self.n_nodes - 1}, got {node}")
        if np.count_nonzero(self._is_open) > _FEW:
            self.close()
        if len(self._work[0]) < self.n_nodes:
            n = len(self._node_of)
            self._work = (np.full((n, 4), np.inf), np.empty(n, dtype=np.int32), np.zeros(1, dtype=np.int64))
        graph = (self._positions, self._region, self._is_open, self._roads.rows(), self._arcs.rows())
        per_metre = self._per_metre if np.isfinite(self._per_metre) else 0.0
        seats, edges, cost = path(graph, self._work, self._seat_of[start], self._seat_of[goal], per_metre)
        return self._node_of[seats].astype(np.int64), edges, float(cost)

    def close(self) -> None:
        """Make the short cuts of all open regions, except of one that has room for more nodes at the end."""
        for region in np.flatnonzero(self._is_open).tolist():
            low, high = self._bounds[region]
            if region == len(self._bounds) - 1 and high - low < self.region_size // 2:
                continue
            border = np.flatnonzero(self._is_border[low:high]).astype(np.int32)
            graph = local_graph(low, high, self._roads.rows(), False)
            self._tables[region] = np.ascontiguousarray(distances_from(graph, border)[:, border])
            self._lay_arcs(region)
            self._is_open[region] = False

    def stats(self) -> dict[str, float]:
        """Nodes, edges, regions, short cuts and bytes of RAM."""
        tables = sum(table.nbytes for table in self._tables if table is not None)
        own = (self._seat_of, self._node_of, self._positions, self._region, self._is_border, self._from, self._to)
        n_bytes = tables + sum(a.nbytes for a in (*own, *self._work, self._bounds))
        return {
            "nodes": float(self.n_nodes),
            "edges": float(self.n_edges),
            "regions": float(len(self._bounds)),
            "open": float(np.count_nonzero(self._is_open)),
            "border": float(np.count_nonzero(self._is_border[: self.n_nodes])),
            "arcs": float(self._arcs.n_live),
            "bytes": float(n_bytes + self._roads.nbytes + self._arcs.nbytes),
        }

    def _seat(self, positions: np.ndarray, edges: np.ndarray) -> None:
        """Give new nodes their regions and seats; in each new region those that `edges` make its border come first."""
        if not np.isfinite(positions).all():
            raise ValueError(f"positions must be finite, got {positions[~np.isfinite(positions).all(axis=1)][0]}")
        k, n = len(positions), self.n_nodes
        if k == 0:
            return
        room = 0
        if len(self._bounds) and self._is_open[-1]:
            room = min(k, self.region_size - int(self._bounds[-1, 1] - self._bounds[-1, 0]))
        order, starts = cut(positions[room:], self.region_size)
        sizes = np.diff(np.append(starts, len(order)))
        order = np.concatenate([np.arange(room), room + _border_first(order, np.repeat(starts, sizes), edges)])
        self._seat_of, self._node_of = grown(self._seat_of, n + k), grown(self._node_of, n + k)
        self._positions, self._region = grown(self._positions, n + k), grown(self._region, n + k)
        self._is_border = grown(self._is_border, n + k)
        seats = np.arange(n, n + k)
        self._node_of[seats], self._seat_of[n + order] = n + order, seats
        self._positions[seats], self._is_border[seats] = positions[order], False
        if room:
            self._bounds[-1, 1] += room
        self._region[n : n + room] = len(self._bounds) - 1
        self._region[n + room : n + k] = len(self._bounds) + np.repeat(np.arange(len(sizes)), sizes)
        self._bounds = np.concatenate([self._bounds, np.stack([starts, starts + sizes], axis=1) + n + room])
        self._is_open = np.concatenate([self._is_open, np.ones(len(sizes), dtype=np.bool_)])
        self._tables += [None] * len(sizes)
        self._roads.add_rows(k)
        self._arcs.add_rows(k)
        self.n_nodes = n + k

    def _open(self, regions: np.ndarray) -> None:
        self._is_open[regions] = True
        for region in regions.tolist():
            self._tables[region] = None

    def _bound(self, u: np.ndarray, v: np.ndarray, costs: np.ndarray) -> None:
        """Keep the bound of A* below every edge."""
        crow = np.linalg.norm(self._positions[u] - self._positions[v], axis=1)
        apart = crow > 0
        if apart.any():
            self._per_metre = min(self._per_metre, float((costs[apart] / crow[apart]).min()) * _BELOW)

    def _renew(self, region: int, edges: np.ndarray, least: np.ndarray) -> int:
        """The short cuts of a region after its edges changed that cost `least` before or after; edges looked at."""
        low, high = self._bounds[region].tolist()
        border = np.flatnonzero(self._is_border[low:high]).astype(np.int32)
        table = self._tables[region]
        if table is None:
            raise RuntimeError(f"region {region} is closed and has no table")
        is_old, looked = np.ones(len(border), dtype=np.bool_), 0
        if len(edges) <= _FEW:
            is_old, looked = self._used((low, high), (edges, least), border, table)
        graph = local_graph(low, high, self._roads.rows(), False)
        if is_old.any():
            table[is_old] = distances_from(graph, border[is_old])[:, border]
            looked += int(np.count_nonzero(is_old)) * len(graph[1])
            self._lay_arcs(region)
        return looked

    def _used(
        self, bounds: tuple[int, int], change: tuple[np.ndarray, np.ndarray], border: np.ndarray, table: np.ndarray
    ) -> tuple[np.ndarray, int]:
        """(which border nodes may have a short cut that used or will use one of the edges, edges looked at).

        All the edges are put at their least cost for this: paths before and after are no shorter then, so none that
        takes several of them is overlooked.
        """
        (low, high), (edges, least) = bounds, change
        u, v = self._from[edges], self._to[edges]
        costs = self._roads.reprice(u, edges, least)
        ahead = distances_from(local_graph(low, high, self._roads.rows(), False), (v - low).astype(np.int32))
        graph = local_graph(low, high, self._roads.rows(), True)
        behind = distances_from(graph, (u - low).astype(np.int32))
        self._roads.reprice(u, edges, costs)
        is_used = np.zeros(len(border), dtype=np.bool_)
        for i in range(len(edges)):
            through = behind[i, border][:, None] + (least[i] + ahead[i, border])
            is_used |= (np.isfinite(through) & (through <= table * _TIE)).any(axis=1)
        return is_used, 2 * len(edges) * len(graph[1])

    def _lay_arcs(self, region: int) -> None:
        """Write the short cuts of a region and the edges that leave it."""
        low, high = self._bounds[region]
        table, border = self._tables[region], low + np.flatnonzero(self._is_border[low:high])
        if table is None:
            raise RuntimeError(f"region {region} has no table")
        i, j = np.nonzero(needed_arcs(table))
        seats, ends, costs, names = self._roads.lists(border)
        out = self._region[ends] != region
        self._arcs.replace(
            border,
            np.concatenate([border[i], seats[out]]),
            np.concatenate([border[j], ends[out]]),
            np.concatenate([table[i, j], costs[out]]),
            np.concatenate([np.full(len(i), -1), names[out]]),
        )


def _check_edges(edges: np.ndarray, costs: np.ndarray, n_nodes: int) -> None:
    if edges.size and (edges.min() < 0 or edges.max() >= n_nodes):
        raise ValueError(f"edges must join nodes below {n_nodes}, got {edges.min()}..{edges.max()}")
    _check_costs(edges, costs)


def _check_costs(edges: np.ndarray, costs: np.ndarray) -> None:
    if len(edges) != len(costs):
        raise ValueError(f"{len(edges)} edges need as many costs, got {len(costs)}")
    bad = ~(costs >= 0)
    if bad.any():
        raise ValueError(f"costs must be 0 or more, got {costs[bad][0]} at {int(np.argmax(bad))}")


def _border_first(order: np.ndarray, part: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The order with the ends of edges between two parts first in each part; `part` is by place in the order."""
    part_of = np.empty(len(order), dtype=np.int64)
    part_of[order] = part
    crossing = edges[part_of[edges[:, 0]] != part_of[edges[:, 1]]]
    is_inner = np.ones(len(order), dtype=np.bool_)
    is_inner[crossing] = False
    return order[np.lexsort((is_inner[order], part))]
