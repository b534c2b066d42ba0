"""The landmark graph at a million nodes against networkx and rustworkx: paths, nearest nodes, changed edges, bytes.

    python benchmarks/graphs.py [--quick] [--json FILE]

The town is a grid of crooked streets 50 m apart, one in ten missing, each way an edge, so it is harder than a road
network: it has no motorways and no narrow cuts. Manhattan is the street graph of Touchdown (Chen et al., CVPR 2019),
where it is present. Starts and goals are drawn from the largest component. Times are CPU milliseconds of one thread,
at p50 and p99 over queries; a ratio compares both sides over the same pairs. rustworkx gets fewer pairs than we do,
networkx three to five, because it is slow; the number is in the name. The peers' A* has the straight line as its
bound, ours finds its own. networkx and rustworkx have no index of positions: their nearest node is a loop over their
nodes; scipy's cKDTree, which takes no new nodes, is there for scale. The difference is between our length of a path
and scipy's.
"""

from __future__ import annotations

import argparse
import gc
import gzip
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import rustworkx as rx
from grids import town
from rich.console import Console
from rich.table import Table
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, dijkstra
from scipy.spatial import cKDTree

from embmem.maps.landmarks import LandmarkGraph

DIM = 32  # of descriptors
NEAR, SIMILAR = 60.0, 0.6  # [m], cosine
EARTH = 6_371_008.8  # [m] mean radius


@dataclass(frozen=True)
class Row:
    """One figure; `ratio` is how many times ours goes into the peer's."""

    name: str
    ours: float
    peer: float | None
    peer_name: str
    ratio: float | None
    goal: str
    met: bool


@dataclass(frozen=True, eq=False)
class Streets:
    """A directed graph with positions."""

    name: str
    positions: np.ndarray  # (n, 3) [m]
    pairs: np.ndarray  # (m, 2)
    lengths: np.ndarray  # (m,) [m]
    reachable: np.ndarray  # nodes of the largest component


def race(name: str, ours: float, peer: float, peer_name: str, *, at_least: float | None) -> Row:
    """A row where the peer must take `at_least` times as long as we do."""
    goal = f">= {at_least:g} x" if at_least else "none set"
    return Row(name, ours, peer, peer_name, peer / ours, goal, at_least is None or peer / ours >= at_least)


def figure(name: str, ours: float, *, at_most: float | None = None) -> Row:
    """A row without a peer."""
    goal = f"<= {at_most:g}" if at_most is not None else "none set"
    return Row(name, ours, None, "", None, goal, at_most is None or ours <= at_most)


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """(CPU ms, result) of one call."""
    begin = time.process_time()
    result = call()
    return 1e3 * (time.process_time() - begin), result


def times(call: Callable[[Any], Any], arguments: Sequence[Any]) -> tuple[np.ndarray, list[Any]]:
    """(CPU ms, results) of one call for each argument."""
    gc.collect()
    gc.disable()  # millions of objects of the peers must not cost us, nor anybody, at a random call
    pairs = [timed(lambda argument=argument: call(argument)) for argument in arguments]  # type: ignore[misc]
    gc.enable()
    return np.array([pair[0] for pair in pairs]), [pair[1] for pair in pairs]


def make_streets(name: str, positions: np.ndarray, pairs: np.ndarray, lengths: np.ndarray) -> Streets:
    """The graph with the nodes of its largest strongly connected component."""
    n = len(positions)
    matrix = csr_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    part = connected_components(matrix, directed=True, connection="strong")[1]
    return Streets(name, positions, pairs, lengths, np.flatnonzero(part == np.argmax(np.bincount(part))))


def town_streets(side: int) -> Streets:
    """The town of side^2 crossings, each street both ways."""
    flat, edges, lengths = town(side)
    positions = np.column_stack([flat, np.zeros(len(flat))])
    both = np.concatenate([edges, edges[:, ::-1]])
    return make_streets(f"town, {len(flat)} nodes", positions, both, np.concatenate([lengths, lengths]))


def manhattan() -> Streets | None:
    """The street graph of Touchdown, metres east and north of its middle; None where it is not present."""
    folder = Path(os.environ.get("EMBMEM_DATA_DIR", "../shared/data")) / "street" / "graph"
    if not folder.is_dir():
        return None
    with gzip.open(folder / "nodes.txt.gz", "rt") as lines:
        rows = [line.strip().split(",") for line in lines if line.strip()]
    number = {row[0]: i for i, row in enumerate(rows)}
    angles = np.radians(np.array([[float(row[3]), float(row[2])] for row in rows]))
    middle = angles.mean(axis=0)
    flat = EARTH * (angles - middle) * [math.cos(middle[1]), 1.0]
    with gzip.open(folder / "links.txt.gz", "rt") as lines:
        links = [line.strip().split(",") for line in lines if line.strip()]
    pairs = np.unique(np.array([[number[a], number[b]] for a, _, b in links if a != b]), axis=0)
    positions = np.column_stack([flat, np.zeros(len(flat))])
    lengths = np.linalg.norm(positions[pairs[:, 0]] - positions[pairs[:, 1]], axis=1)
    return make_streets(f"Manhattan, {len(rows)} nodes", positions, pairs, lengths)


def build(streets: Streets) -> tuple[LandmarkGraph, np.ndarray, list[Row]]:
    """(graph, descriptors, rows) of a landmark graph and its planner."""
    descriptors = np.random.default_rng(1).normal(size=(len(streets.positions), DIM)).astype(np.float32)
    graph = LandmarkGraph(near=NEAR, similar=SIMILAR)
    n = len(streets.positions)

    def fill() -> None:
        graph.add_landmarks(streets.positions, descriptors)
        graph.connect(streets.pairs, streets.lengths)

    filling, _ = timed(fill)

    def plan() -> None:
        graph.planner().routes.close()

    planning, _ = timed(plan)
    stats = graph.stats()
    return graph, descriptors, [
        figure(f"{streets.name}: nodes and edges in [ms]", filling),
        figure(f"{streets.name}: planner made [ms]", planning),
        figure(f"{streets.name}: bytes a node, {DIM} of descriptor", (stats["bytes"] - stats["planner_bytes"]) / n),
        figure(f"{streets.name}: bytes a node, planner", stats["planner_bytes"] / n),
    ]  # fmt: skip


def peers_of(streets: Streets) -> tuple[Any, nx.DiGraph, list[Row]]:
    """(rustworkx graph, networkx graph, rows) with the same edges."""
    edges = [(a, b, w) for (a, b), w in zip(streets.pairs.tolist(), streets.lengths.tolist(), strict=True)]
    rust, slow = rx.PyDiGraph(), nx.DiGraph()

    def fill_rust() -> None:
        rust.add_nodes_from(range(len(streets.positions)))
        rust.add_edges_from(edges)

    def fill_slow() -> None:
        slow.add_nodes_from(range(len(streets.positions)))
        slow.add_weighted_edges_from(edges)

    rows = [figure(f"{streets.name}: rustworkx filled [ms]", timed(fill_rust)[0])]
    rows.append(figure(f"{streets.name}: networkx filled [ms]", timed(fill_slow)[0]))
    return rust, slow, rows


def race_paths(
    streets: Streets, graph: LandmarkGraph, peers: tuple[Any, nx.DiGraph], n: tuple[int, int, int]
) -> list[Row]:
    """Paths between n[0] random pairs; n[1] of them by rustworkx, n[2] by networkx."""
    rng = np.random.default_rng(2)
    pairs = [tuple(map(int, pair)) for pair in rng.choice(streets.reachable, (n[0], 2))]
    xy, (rust, slow) = streets.positions[:, :2].tolist(), peers

    def by_rustworkx(pair: tuple[int, int]) -> float:
        a, b = pair
        way = rx.astar_shortest_path(rust, a, lambda v: v == b, float, lambda v: math.dist(xy[v], xy[b]))
        return sum(rust.get_edge_data(*step) for step in pairwise(way))

    def by_networkx(pair: tuple[int, int]) -> float:
        return nx.astar_path_length(slow, *pair, heuristic=lambda a, b: math.dist(xy[a], xy[b]))

    graph.shortest_path(*pairs[0])  # compiles
    ours, paths = times(lambda pair: graph.shortest_path(*pair), pairs)
    rust_times, rust_lengths = times(by_rustworkx, pairs[: n[1]])
    slow_times, _ = times(by_networkx, pairs[: n[2]])
    matrix = csr_array((streets.lengths, streets.pairs.T), shape=(len(xy),) * 2)
    exact = [float(dijkstra(matrix, indices=a)[b]) for a, b in pairs[:5]]
    wrong = max(abs(path.cost - length) for path, length in zip(paths, rust_lengths, strict=False))
    wrong = max(wrong, *(abs(path.cost - length) for path, length in zip(paths, exact, strict=False)))
    label = f"{streets.name}: path"
    rows = [figure(f"{label}, {len(pairs)} pairs, p{q} [ms]", float(np.percentile(ours, q))) for q in (50, 99)]
    for q in (50, 99):
        mine, theirs = (float(np.percentile(t[: n[1]], q)) for t in (ours, rust_times))
        rows.append(race(f"{label}, {n[1]} pairs, p{q} [ms]", mine, theirs, "rustworkx A*", at_least=5.0))
    mine, theirs = (float(np.median(t[: n[2]])) for t in (ours, slow_times))
    rows.append(race(f"{label}, {n[2]} pairs, p50 [ms]", mine, theirs, "networkx A*", at_least=None))
    return [*rows, figure(f"{label}: largest difference from scipy and rustworkx [m]", wrong, at_most=1e-6)]


def race_nearest(streets: Streets, graph: LandmarkGraph, descriptors: np.ndarray, n: tuple[int, int]) -> list[Row]:
    """The nearest node, and the most alike one of those near, for n[0] points; n[1] of them by loops over the peers."""
    rng = np.random.default_rng(3)
    at = rng.integers(0, len(streets.positions), n[0])
    points = streets.positions[at] + rng.normal(scale=15.0, size=(n[0], 3)) * [1, 1, 0]
    looks = descriptors[at] + rng.normal(scale=0.3, size=(n[0], DIM)).astype(np.float32)
    slow, rust = nx.DiGraph(), rx.PyDiGraph()
    data = list(zip(streets.positions.tolist(), descriptors, strict=True))
    slow.add_nodes_from((i, {"position": p, "look": look}) for i, (p, look) in enumerate(data))
    rust.add_nodes_from(data)

    def alike(near: list[tuple[Any, np.ndarray]], look: np.ndarray) -> Any:
        cosines = [float(d @ look) / float(np.linalg.norm(d) * np.linalg.norm(look)) for _, d in near]
        best = int(np.argmax(cosines)) if cosines else -1
        return near[best][0] if best >= 0 and cosines[best] >= SIMILAR else None

    def slow_match(i: int) -> Any:
        p = points[i].tolist()
        near = [(v, d["look"]) for v, d in slow.nodes(data=True) if math.dist(d["position"], p) <= NEAR]
        return alike(near, looks[i])

    def rust_match(i: int) -> Any:
        p = points[i].tolist()
        near = [(v, d[1]) for v, d in zip(rust.node_indices(), rust.nodes(), strict=True) if math.dist(d[0], p) <= NEAR]
        return alike(near, looks[i])

    def slow_nearest(i: int) -> Any:
        p = points[i].tolist()
        return min(slow.nodes(data="position"), key=lambda item: math.dist(item[1], p))[0]

    def rust_nearest(i: int) -> Any:
        p = points[i].tolist()
        nodes = rust.nodes()
        return min(rust.node_indices(), key=lambda v: math.dist(nodes[v][0], p))

    tree = cKDTree(streets.positions)

    def by_tree(i: int) -> Any:
        return tree.query(points[i])[1]

    few, label = list(range(n[1])), f"{streets.name}:"
    graph.nearest(points[0]), graph.match(points[0], looks[0])  # compile
    rows: list[Row] = []
    for what, ours_of, peers in (
        ("nearest node", lambda i: graph.nearest(points[i]),
         {"networkx, loop": slow_nearest, "rustworkx, loop": rust_nearest, "cKDTree": by_tree}),
        ("near and similar", lambda i: graph.match(points[i], looks[i]),
         {"networkx, loop": slow_match, "rustworkx, loop": rust_match}),
    ):  # fmt: skip
        ours, found = times(ours_of, range(n[0]))
        rows.append(figure(f"{label} {what}, p50 [ms]", float(np.percentile(ours, 50))))
        for name, peer in peers.items():
            peer_times, theirs = times(peer, range(n[0]) if name == "cKDTree" else few)
            same = all((a.id if a else None) == b for a, b in zip(found, theirs, strict=False))
            note = what if same else f"{what} (ANSWERS DIFFER)"
            goal = 100.0 if "loop" in name and len(streets.positions) >= 10**6 else None
            rows.append(race(f"{label} {note}, p99 [ms]", float(np.percentile(ours, 99)),
                             float(np.percentile(peer_times, 99)), name, at_least=goal))  # fmt: skip
    return rows


def changed_edges(graphs: dict[int, tuple[Streets, LandmarkGraph]], n: int) -> list[Row]:
    """What one changed edge costs, over sizes, with the exponent of growth."""
    rows, touched = [], []
    rng = np.random.default_rng(4)
    for streets, graph in graphs.values():
        planner = graph.planner()
        looked, milliseconds = [], []
        for a, b in streets.pairs[rng.integers(0, len(streets.pairs), n)].tolist():
            graph.set_instruction_cost(a, b, float(rng.uniform(0, 100)))
            ms, edges = timed(planner.follow)
            looked.append(edges)
            milliseconds.append(ms)
        touched.append(float(np.mean(looked)))
        rows.append(figure(f"{streets.name}: edges touched by a changed one, mean", touched[-1]))
        rows.append(figure(f"{streets.name}: edges touched, share of all", touched[-1] / len(streets.pairs)))
        rows.append(figure(f"{streets.name}: a changed edge, p99 [ms]", float(np.percentile(milliseconds, 99))))
    slope = float(np.polyfit(np.log(list(graphs)), np.log(touched), 1)[0])
    return [*rows, figure("edges touched ~ nodes ^", slope, at_most=0.5)]


def filter_step(streets: Streets, graph: LandmarkGraph, descriptors: np.ndarray) -> Row:
    """One step of the Bayes filter over all nodes."""
    localiser = graph.localiser(sigma=10.0)

    def step() -> None:
        localiser.move(50.0)
        localiser.see(descriptors[0])

    step()
    return figure(f"{streets.name}: step of the Bayes filter [ms]", min(timed(step)[0] for _ in range(5)))


def all_rows(quick: bool) -> list[Row]:
    """Every row."""
    sides = (50, 100, 200) if quick else (100, 316, 1000)
    n_paths, n_nearest = ((100, 20, 3), (1000, 5)) if quick else ((500, 60, 3), (5000, 5))
    warm = town_streets(40)
    warm_graph = build(warm)[0]
    warm_graph.shortest_path(0, 1)
    changed_edges({1600: (warm, warm_graph)} | {1601: (warm, warm_graph)}, 50)  # compiles
    graphs: dict[int, tuple[Streets, LandmarkGraph]] = {}
    rows: list[Row] = []
    for side in sides:
        streets = town_streets(side)
        graph, descriptors, built = build(streets)
        graphs[side * side] = streets, graph
        if side == sides[-1]:
            rust, slow, filled = peers_of(streets)
            rows += [*built, *filled, *race_paths(streets, graph, (rust, slow), n_paths)]
            del rust, slow
            rows += race_nearest(streets, graph, descriptors, n_nearest)
            rows.append(filter_step(streets, graph, descriptors))
    rows += changed_edges(graphs, 200)
    real = manhattan()
    if real is not None:
        graph, _, built = build(real)
        rust, slow, filled = peers_of(real)
        rows += [*built, *filled, *race_paths(real, graph, (rust, slow), (500, 100, 5))]
    return rows


def main() -> None:
    """Print the table and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a town of 40,000 nodes")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = all_rows(arguments.quick)
    table = Table(title="landmark graph, CPU ms on one core")
    for heading in ("what", "ours", "peer", "", "ratio", "goal", "met"):
        table.add_column(heading, justify="left" if heading in ("what", "", "met") else "right")
    for row in rows:
        peer, ratio = (f"{row.peer:.3g}", f"{row.ratio:.3g}") if row.peer and row.ratio else ("", "")
        met = "yes" if row.met else "NO"
        table.add_row(row.name, f"{row.ours:.4g}", peer, row.peer_name, ratio, row.goal, met)
    console = Console()
    (console if console.is_terminal else Console(width=150)).print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
