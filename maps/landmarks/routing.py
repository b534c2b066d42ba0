"""What the edges of a landmark graph cost, and route graphs that follow it as it changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embmem.maps.landmarks.regions import RegionRoutes
from embmem.maps.landmarks.tables import Tables


@dataclass(frozen=True, eq=False)
class Path:
    """A way along edges."""

    nodes: tuple[int, ...]  # ids, both ends included
    cost: float  # what was minimised
    length: float  # [m]
    seconds: float  # [s] mean traversal time, NaN if an edge was never timed
    success: float  # probability of getting through


@dataclass(frozen=True)
class Pricing:
    """What an edge costs and how risky it is.

    Cost = `alpha` * length + `beta` * instruction cost (Mem4Nav). The probability of success is the mean of a Beta
    distribution: (successes + prior_success) / (traversals + prior_success + prior_failure); with 4 and 1 an edge
    that nobody took counts .8, after one failure .67, after ten successes .93. Traversals count as independent, so
    the safest path has the least sum of -log(probability).
    """

    alpha: float = 1.0  # [1/m]
    beta: float = 1.0
    prior_success: float = 4.0
    prior_failure: float = 1.0

    def __post_init__(self) -> None:
        numbers = (self.alpha, self.beta, self.prior_success, self.prior_failure)
        if not (np.isfinite(numbers).all() and min(numbers) >= 0 and min(numbers[2:]) > 0):
            raise ValueError(f"need alpha, beta >= 0 and prior_success, prior_failure > 0, got {numbers}")

    def cost(self, edges: np.ndarray) -> np.ndarray:
        """(m,) costs of rows of edges."""
        return self.alpha * edges["length"] + self.beta * edges["instruction"]

    def success(self, edges: np.ndarray) -> np.ndarray:
        """(m,) probabilities of getting through."""
        tries = edges["successes"].astype(np.float64) + edges["failures"]
        return (edges["successes"] + self.prior_success) / (tries + self.prior_success + self.prior_failure)

    def risk(self, edges: np.ndarray) -> np.ndarray:
        """(m,) -log of the probability."""
        return -np.log(self.success(edges))


class Planner:
    """A `RegionRoutes` of all rows of the tables; dead edges are blocked. Follows them when it is asked."""

    def __init__(self, tables: Tables, pricing: Pricing, *, by_risk: bool, region_size: int) -> None:
        self._tables = tables
        self._price = pricing.risk if by_risk else pricing.cost
        self._changed: set[int] = set()
        edges = tables.edges
        pairs = np.stack([edges["source"], edges["target"]], axis=1).astype(np.int64)
        positions = np.ascontiguousarray(tables.nodes["position"])
        self.routes = RegionRoutes(positions, pairs, self._costs(edges), region_size=region_size)

    def edges_changed(self, rows: np.ndarray | list[int]) -> None:
        """Edges that cost something else now."""
        self._changed.update(int(row) for row in rows)

    def route(self, start: int, goal: int) -> tuple[np.ndarray, np.ndarray, float]:
        """(rows of nodes, rows of edges, cost) of the cheapest path now; empty and inf if there is none."""
        self.follow()
        return self.routes.shortest_path(start, goal)

    def follow(self) -> int:
        """Take in what has changed; how many edges were looked at."""
        tables, known = self._tables, self.routes.n_edges
        looked = 0
        if not self._changed and known == tables.n_edges and self.routes.n_nodes == tables.n_nodes:
            return looked
        rows = np.array(sorted(row for row in self._changed if row < known), dtype=np.int64)
        self._changed.clear()
        if len(rows):
            looked = self.routes.set_costs(rows, self._costs(tables.edges[rows]))
        self.routes.add_nodes(np.ascontiguousarray(tables.nodes["position"][self.routes.n_nodes :]))
        fresh = tables.edges[known:]
        pairs = np.stack([fresh["source"], fresh["target"]], axis=1).astype(np.int64)
        self.routes.add_edges(pairs, self._costs(fresh))
        return looked + len(fresh)

    def _costs(self, edges: np.ndarray) -> np.ndarray:
        return np.where(edges["is_alive"], self._price(edges), np.inf)


def path_of(tables: Tables, pricing: Pricing, way: tuple[np.ndarray, np.ndarray], cost: float) -> Path:
    """The path along rows of nodes and edges."""
    nodes, edges = tables.ids[way[0]], tables.edges[way[1]]
    is_timed = bool((edges["timed"] > 0).all())
    return Path(
        nodes=tuple(nodes.tolist()),
        cost=cost,
        length=float(edges["length"].sum()),
        seconds=float(edges["seconds"].sum()) if is_timed else float(np.nan),
        success=float(np.exp(-pricing.risk(edges).sum())),
    )
