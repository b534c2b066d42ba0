"""Distance fields and shortest paths against scipy, scikit-fmm, pyastar2d and rustworkx, on the same problem.

    python benchmarks/grids.py [--quick] [--json FILE]

Grids are floor plans of generated homes side by side, a maze and an open floor, in cells of 5 cm; the graph is a town
of crooked streets. Times are CPU milliseconds on one thread, the least of some repeats; a call of more than a
second is made once. A peer gets its graph, mask or weights ready-made; ours starts from the plain grid and the
finished `RouteGraph`. The difference column compares with scipy's Dijkstra where that fits into memory, or with the
peer's own path, so that speed is never bought with wrong distances.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from embmem.maps import OccupancyGrid, descend, distance_field
from embmem.maps.routes import RouteGraph
from embmem.sim_envs.house import make_house

CELL = 0.05  # [m]
N_HOUSES = 9
PEERS = ("skfmm", "pyastar2d", "rustworkx")


@dataclass(frozen=True)
class Row:
    """One race; times in CPU ms, `difference` in metres."""

    name: str
    ours: float
    peer: float | None
    peer_name: str
    ratio: float | None
    goal: str
    met: bool
    difference: float | None = None


def race(
    name: str, ours: float, peer: float, peer_name: str, *, at_least: float | None, difference: float | None = None
) -> Row:
    """A row where the peer must take `at_least` times as long as we do, and agree where that was measured."""
    goal = f">= {at_least:g} x" if at_least else "none set"
    met = (at_least is None or peer / ours >= at_least) and (difference is None or difference < 1e-6)
    return Row(name, ours, peer, peer_name, peer / ours, goal, met, difference)


def figure(name: str, ours: float) -> Row:
    """A row without a peer."""
    return Row(name, ours, None, "", None, "none set", True)


def least(call: Callable[[], Any], repeats: int = 5) -> tuple[float, Any]:
    """(CPU ms, result) of the fastest of some calls; the first may compile. What takes a second is called twice."""
    best = math.inf
    for i in range(1 + repeats):
        begin = time.process_time()
        result = call()
        best = min(best, time.process_time() - begin)
        if i > 0 and best > 1.0:
            break
    return 1e3 * best, result


def homes(n: int) -> np.ndarray:
    """(n, n) blocked cells: homes of six rooms side by side, joined by two lanes that cross each of them."""
    plans = [_plan(seed) for seed in range(N_HOUSES)]
    side = max(max(plan.shape) for plan in plans)
    blocked = np.zeros((n + side, n + side), dtype=np.bool_)
    for i, row in enumerate(range(0, n, side)):
        for j, column in enumerate(range(0, n, side)):
            plan = plans[(3 * i + j) % N_HOUSES]
            blocked[row : row + plan.shape[0], column : column + plan.shape[1]] = plan
        lane = row + side // 2
        blocked[lane : lane + 16] = False
        blocked[:, lane : lane + 16] = False
    return np.ascontiguousarray(blocked[:n, :n])


def _plan(seed: int) -> np.ndarray:
    house = make_house(seed)
    x0, y0, x1, y1 = house.bounds()
    plan = np.zeros((math.ceil((y1 - y0) / CELL), math.ceil((x1 - x0) / CELL)), dtype=np.bool_)
    for left, low, right, high in np.rint((house.obstacles() - (x0, y0, x0, y0)) / CELL).astype(int):
        plan[low:high, left:right] = True
    return plan


def maze(n: int, pitch: int = 8) -> np.ndarray:
    """(n, n) blocked cells: from every room of a perfect maze one door leads north or west."""
    rng = np.random.default_rng(0)
    blocked = np.zeros((n, n), dtype=np.bool_)
    blocked[::pitch], blocked[:, ::pitch] = True, True
    for row in range(0, n, pitch):
        for column in range(0, n, pitch):
            if row and (not column or rng.random() < 0.5):
                blocked[row, column + 1 : column + pitch] = False
            elif column:
                blocked[row + 1 : row + pitch, column] = False
    return blocked


def open_floor(n: int) -> np.ndarray:
    """(n, n) cells without a wall."""
    return np.zeros((n, n), dtype=np.bool_)


def cell_graph(blocked: np.ndarray) -> csr_array:
    """The 8-neighbour graph of the free cells, in metres, without corners cut."""
    h, w = blocked.shape
    free, cells = ~blocked, np.arange(h * w).reshape(h, w)
    pairs, lengths = [], []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        rows, left = slice(0, h - down), max(0, -right)
        columns = slice(left, w - max(0, right))
        there = (slice(down, h), slice(left + right, w - max(0, right) + right))
        is_free = free[rows, columns] & free[there]
        if down and right:
            is_free &= free[rows, there[1]] & free[there[0], columns]
        pairs.append(np.stack([cells[rows, columns][is_free], cells[there][is_free]]))
        lengths.append(np.full(pairs[-1].shape[1], CELL * math.hypot(down, right)))
    source, target = np.concatenate(pairs, axis=1)
    length = np.concatenate(lengths)
    both = (np.concatenate([source, target]), np.concatenate([target, source]))
    return csr_array((np.concatenate([length, length]), both), shape=(h * w, h * w))


def race_fields(name: str, blocked: np.ndarray, peers: dict[str, Any]) -> list[Row]:
    """Our field of one source against every peer that is there."""
    n = len(blocked)
    free = np.argwhere(~blocked)
    source = free[np.argmin(np.abs(free - n // 2).sum(axis=1))]
    ours, field = least(lambda: distance_field(blocked, source[None], CELL))
    label = f"field, {name} {n}x{n}"
    rows = []
    if n <= 1000:
        graph, flat = cell_graph(blocked), int(source[0] * n + source[1])
        peer, expected = least(lambda: dijkstra(graph, indices=flat))
        expected = expected.reshape(n, n)
        is_near = np.isfinite(expected)
        same = np.array_equal(is_near, np.isfinite(field))
        wrong = np.abs(field[is_near] - expected[is_near]).max() if same else math.inf
        rows.append(race(label, ours, peer, "scipy", at_least=7, difference=float(wrong)))
    if "skfmm" in peers:
        front = np.ma.MaskedArray(np.ones(blocked.shape), mask=blocked)
        front[tuple(source)] = -1.0
        peer, _ = least(lambda: peers["skfmm"].distance(front, dx=CELL))
        rows.append(race(label, ours, peer, "scikit-fmm", at_least=10))
    if "pyastar2d" in peers:
        weights = np.where(blocked, np.inf, 1.0).astype(np.float32)
        far = np.unravel_index(np.argmax(np.where(np.isfinite(field), field, -1.0)), field.shape)
        ends = tuple(map(int, source)), tuple(map(int, far))
        peer, _ = least(lambda: peers["pyastar2d"].astar_path(weights, *ends, allow_diagonal=True))
        rows.append(race(label, ours, peer, "pyastar2d, one path", at_least=None))
        rows.append(figure(f"descend, {name} {n}x{n}", least(lambda: descend(field, blocked, np.array(far)))[0]))
    return rows


def town(side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions [m], edges and lengths [m] of side^2 crossings with crooked streets, one in ten missing."""
    rng = np.random.default_rng(0)
    n = side * side
    positions = 50.0 * (np.stack(np.divmod(np.arange(n), side), axis=1) + rng.uniform(-0.3, 0.3, (n, 2)))
    cells = np.arange(n).reshape(side, side)
    along, across = np.stack([cells[:, :-1], cells[:, 1:]], axis=-1), np.stack([cells[:-1], cells[1:]], axis=-1)
    edges = np.concatenate([along.reshape(-1, 2), across.reshape(-1, 2)])
    edges = edges[rng.random(len(edges)) < 0.9]
    lengths = np.hypot(*(positions[edges[:, 0]] - positions[edges[:, 1]]).T) * rng.uniform(1.0, 1.3, len(edges))
    return positions, edges, lengths


def race_paths(side: int, peers: dict[str, Any]) -> list[Row]:
    """One path across a third of the town, and all distances, against rustworkx and scipy."""
    positions, edges, lengths = town(side)
    n = len(positions)
    graph = RouteGraph(positions, edges, lengths)
    start, goal = int(0.2 * side) * side + int(0.3 * side), int(0.6 * side) * side + int(0.7 * side)
    ours, (_, length) = least(lambda: graph.shortest_path(start, goal))
    ours_all, distances = least(lambda: graph.distances(start), 3)
    matrix = csr_array((lengths, (edges[:, 0], edges[:, 1])), shape=(n, n))
    peer, expected = least(lambda: dijkstra(matrix, directed=False, indices=start))
    is_near = np.isfinite(expected)
    wrong = float(np.abs(distances[is_near] - expected[is_near]).max())
    off = abs(length - float(expected[goal]))
    label = f"one path, {n} nodes"
    rows = [race(f"all distances, {n} nodes", ours_all, peer, "scipy", at_least=None, difference=wrong)]
    rows.append(race(label, ours, peer, "scipy, all distances", at_least=None, difference=off))
    if "rustworkx" in peers:
        rx, xy = peers["rustworkx"], positions.tolist()
        peer_graph = rx.PyGraph()
        peer_graph.add_nodes_from(range(n))
        peer_graph.add_edges_from([(a, b, w) for (a, b), w in zip(edges.tolist(), lengths.tolist(), strict=True)])
        peer, path = least(
            lambda: rx.astar_shortest_path(
                peer_graph, start, lambda node: node == goal, float, lambda node: math.dist(xy[node], xy[goal])
            )
        )
        walked = sum(peer_graph.get_edge_data(a, b) for a, b in pairwise(path))
        rows.append(race(label, ours, peer, "rustworkx A*", at_least=5, difference=abs(length - walked)))
    return rows


def grid_kernels(n: int) -> list[Row]:
    """The frontiers and the inflation of a half explored floor plan."""
    blocked = homes(n)
    cells = np.where(blocked, 100, 0).astype(np.int8)
    y, x = np.mgrid[:n, :n]
    cells[(x + 40 * np.sin(y / 50)) > n / 2] = -1
    grid = OccupancyGrid(np.zeros(2), CELL, cells)
    return [
        figure(f"inflate by 0.2 m, {n}x{n}", least(lambda: grid.inflate(0.2))[0]),
        figure(f"frontiers, {n}x{n}", least(grid.frontiers)[0]),
    ]


def main() -> None:
    """Print the table and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="without the grids of 4000x4000 and with a small town")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    console, peers = Console(), {}
    for name in PEERS:
        try:
            peers[name] = import_module(name)
        except ImportError:
            console.print(f"{name} is not installed: its rows are skipped")
    rows = []
    for name, make in (("homes", homes), ("maze", maze), ("open floor", open_floor)):
        rows += race_fields(name, make(1000), peers)
        if not arguments.quick:
            rows += race_fields(name, make(4000), peers)
    rows += race_paths(200 if arguments.quick else 1000, peers)
    rows += grid_kernels(1000)
    table = Table(title="grids and paths, CPU ms on one core")
    for heading in ("what", "ours", "peer", "", "ratio", "goal", "met", "difference [m]"):
        table.add_column(heading, justify="left" if heading in ("what", "", "met") else "right")
    for row in rows:
        peer, ratio = (f"{row.peer:.1f}", f"{row.ratio:.1f}") if row.peer and row.ratio else ("", "")
        difference = "" if row.difference is None else f"{row.difference:.1e}"
        met = "yes" if row.met else "NO"
        table.add_row(row.name, f"{row.ours:.1f}", peer, row.peer_name, ratio, row.goal, met, difference)
    console.print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
