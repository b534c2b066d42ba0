"""Exact search against faiss and numpy, space + time + similarity against a 4-D k-d tree, the graph, the file.

    python benchmarks/vectors.py [--n 1000000] [--graph-n 100000] [--json FILE]

One thread, CPU milliseconds, the least of several repeats, all in one run. Rows for exact search are random vectors of
512 dimensions (the worst case for bounds), places are uniform in a flat of 50 x 30 x 3 m, stamps in 30 days. The
graph is measured on vectors of 384 dimensions, random (where no graph can be good) and of 2,000 clusters in 40
dimensions with noise (as embeddings of a house are). The full run takes some minutes and 5 GB;
`--n 50000 --graph-n 5000` takes seconds.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.spatial import cKDTree

from embmem.search import sidecar
from embmem.search.hnsw import EXPANSIONS
from embmem.search.vectors import VectorIndex
from embmem.search.window import Window

DIM, GRAPH_DIM, BATCH, K = 512, 384, 10_000, 10
FLAT, DAYS = (50.0, 30.0, 3.0), 30 * 86400.0
RADIUS, WEEK = 2.0, 7 * 86400.0


def row(name: str, ours: float, *, peer: float | None = None, peer_name: str = "none", goal: str = "none set",
        met: bool | None = None) -> dict[str, Any]:  # fmt: skip
    """One row of the JSON file; a ratio says how many times the peer takes what we take."""
    ratio = peer / ours if peer is not None else None
    if met is None:
        met = ratio is not None and ratio >= float(goal.split()[1]) if goal != "none set" else True
    return {"name": name, "ours": ours, "peer": peer, "peer_name": peer_name, "ratio": ratio, "goal": goal, "met": met}


def milliseconds(calls: list[Callable[[], Any]], repeats: int = 5) -> float:
    """Mean over the calls of the least CPU time of each."""
    least = np.full(len(calls), np.inf)
    for _ in range(repeats):
        for i, call in enumerate(calls):
            begin = time.process_time()
            call()
            least[i] = min(least[i], time.process_time() - begin)
    return 1e3 * float(least.mean())


def fill(n: int, rng: np.random.Generator, index: VectorIndex, faiss_index: Any) -> tuple[np.ndarray, list[float]]:
    """Places (n, 4) of random rows that are put into both; CPU microseconds a row of every batch."""
    places = np.column_stack([rng.uniform(0, FLAT, (n, 3)), np.sort(rng.uniform(0, DAYS, n))])
    costs = []
    warm = VectorIndex(DIM)  # compiles
    warm.append(np.arange(1), np.ones((1, DIM)), np.zeros(1), np.zeros((1, 3)))
    for begin in range(0, n, BATCH):
        part = places[begin : begin + BATCH]
        vectors = rng.standard_normal((len(part), DIM), dtype=np.float32)
        vectors = vectors.astype(np.float16).astype(np.float32)  # what is kept: the peers see the same
        if faiss_index is not None:
            faiss_index.add(vectors / np.linalg.norm(vectors, axis=1)[:, None])
        ids = np.arange(begin, begin + len(part))
        start = time.process_time()
        index.append(ids, vectors, part[:, 3], part[:, :3])
        costs.append(1e6 * (time.process_time() - start) / len(part))
    return places, costs


def exact(index: VectorIndex, peer: Any, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Rows of the exact search of everything."""
    queries = rng.standard_normal((5, DIM)).astype(np.float32)
    ours = milliseconds([partial(index.search, q, K) for q in queries])
    name = f"exact top-{K} of {len(index):,} x {DIM} [ms]"
    if peer is None:
        return [row(name, ours, goal=">= 2", met=False)]
    rows = stored_rows(peer)

    def with_numpy(query: np.ndarray) -> np.ndarray:
        scores = rows @ query
        best = np.argpartition(-scores, K)[:K]
        return best[np.argsort(-scores[best])]

    same = [set(index.search(q, K).ids.tolist()) == set(with_numpy(q).tolist()) for q in queries]
    theirs = milliseconds([partial(peer.search, q[None], K) for q in queries])
    numpy_ms = milliseconds([partial(with_numpy, q) for q in queries], 2)
    return [
        row(name, ours, peer=theirs, peer_name="faiss Flat", goal=">= 2"),
        row(name, ours, peer=numpy_ms, peer_name="numpy"),
        row("the same rows as numpy, share of queries", float(np.mean(same)), goal="1", met=all(same)),
    ]


def stored_rows(peer: Any) -> np.ndarray:
    """The float32 rows that faiss holds, without a copy."""
    import faiss

    return faiss.rev_swig_ptr(peer.get_xb(), peer.ntotal * DIM).reshape(-1, DIM)


def space_and_time(index: VectorIndex, peer: Any, places: np.ndarray, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Rows of the search near a place in a week."""
    rows = stored_rows(peer) if peer is not None else index.slabs.slabs[0].codes
    scale = RADIUS / (WEEK / 2)  # so that the window is as long as the ball is wide
    begin = time.process_time()
    tree = cKDTree(places * [1, 1, 1, scale])
    build = 1e6 * (time.process_time() - begin) / len(places)
    queries = rng.standard_normal((30, DIM)).astype(np.float32)
    nears, sinces = rng.uniform(0, FLAT, (30, 3)), rng.uniform(0, DAYS - WEEK, 30)

    def with_tree(i: int) -> np.ndarray:
        near, since = nears[i], sinces[i]
        middle = np.append(near, (since + WEEK / 2) * scale)
        found = np.array(tree.query_ball_point(middle, RADIUS * 2**0.5), np.int64)
        there = places[found]
        inside = ((there[:, :3] - near) ** 2).sum(axis=1) <= RADIUS**2
        found = found[inside & (there[:, 3] >= since) & (there[:, 3] < since + WEEK)]
        if peer is None or len(found) == 0:
            return found
        scores = rows[found] @ queries[i]
        best = np.argpartition(-scores, min(K, len(scores)) - 1)[:K]
        return found[best[np.argsort(-scores[best])]]

    def with_ours(i: int) -> np.ndarray:
        window = Window(near=nears[i], radius=RADIUS, since=sinces[i], until=sinces[i] + WEEK)
        return index.search(queries[i], K, window=window).ids

    ours = milliseconds([partial(with_ours, i) for i in range(30)], 20)
    theirs = milliseconds([partial(with_tree, i) for i in range(30)], 20)
    recall = [np.isin(with_tree(i), with_ours(i)).mean() for i in range(30)] if peer is not None else [np.nan]
    counts = [
        len(index.select(Window(near=nears[i], radius=RADIUS, since=sinces[i], until=sinces[i] + WEEK))[0])
        for i in range(30)
    ]
    return [
        row(f"{RADIUS:.0f} m, a week, similar: {np.mean(counts):.0f} rows [ms]", ours, peer=theirs,
            peer_name="4-D cKDTree", goal=">= 4"),
        row("its recall", float(np.mean(recall)), goal="1", met=bool(np.mean(recall) == 1.0)),
        row("the tree's build alone [us a row]", build),
    ]  # fmt: skip


def appending(index: VectorIndex, costs: list[float]) -> list[dict[str, Any]]:
    """Rows of what a row costs."""
    tenth = max(len(costs) // 10, 1)
    first, last = (min(part) for part in (costs[:tenth], costs[-tenth:]))
    return [
        row("append, last tenth against first [us a row]", last, peer=first, peer_name="first tenth",
            goal="last <= 1.1 first", met=last <= 1.1 * first),
        row(f"the worst batch of {BATCH:,} against the median", max(costs) / float(np.median(costs)),
            goal="<= 3", met=max(costs) <= 3 * float(np.median(costs))),
        row(f"bytes a row, {DIM} dimensions", index.nbytes / len(index)),
    ]  # fmt: skip


def file_rows(index: VectorIndex, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Rows of the file beside the memory."""
    query, key = rng.standard_normal(DIM), bytes(32)

    def fetch(ids: np.ndarray) -> np.ndarray:
        raise RuntimeError("the file is whole")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors"
        begin = time.perf_counter()
        sidecar.save(path, index, identity="a", covers=0, key=key)
        saved = time.perf_counter() - begin
        size = path.stat().st_size / 1e9
        begin = time.perf_counter()
        loaded = sidecar.load(path, identity="a", newest=0, fetch=fetch, key=key)
        opened = time.perf_counter() - begin
        assert_same = loaded is not None and (loaded[0].search(query, K).ids == index.search(query, K).ids).all()
        first = time.perf_counter() - begin - opened
    return [
        row(f"file of {size:.2f} GB: open [s of wall a GB]", opened / size, goal="< 1", met=opened / size < 1.0),
        row("the first search, which checks the codes [s of wall]", first, met=bool(assert_same)),
        row("saving it [s of wall]", saved),
    ]


def draw_clusters(rng: np.random.Generator) -> Callable[[int], np.ndarray]:
    """A source of vectors of 2,000 clusters in 40 dimensions, and noise."""
    basis, centres = rng.standard_normal((40, GRAPH_DIM)), rng.standard_normal((2000, 40))

    def draw(n: int) -> np.ndarray:
        low = centres[rng.integers(0, 2000, n)] + 0.3 * rng.standard_normal((n, 40))
        return (low @ basis / 6.0 + 0.3 * rng.standard_normal((n, GRAPH_DIM))).astype(np.float32)

    return draw


def graph_rows(n: int, kind: str, draw: Callable[[int], np.ndarray]) -> list[dict[str, Any]]:
    """Rows of the graph at n / 10 and n rows: search, recall, and what it costs to build."""
    index, queries, rows = VectorIndex(GRAPH_DIM), draw(50), []
    for size in (n // 10, n) if kind == "clusters" else (n // 10,):
        while index.slabs.n < size:
            ids = np.arange(index.slabs.n, min(index.slabs.n + 5000, size))
            index.append(ids, draw(len(ids)), np.zeros(len(ids)), np.full((len(ids), 3), np.nan))
        truth = [index.search(query, K, ids=np.ones(size, np.bool_)).ids for query in queries]
        index.graph = None
        exact_ms = milliseconds([partial(index.search, q, K) for q in queries], 3)
        begin = time.process_time()
        index.grow_graph(least_rows=1)
        build = 1e6 * (time.process_time() - begin) / size
        graph_ms = milliseconds([partial(index.search, q, K) for q in queries], 3)
        recall = float(
            np.mean([np.isin(t, index.search(q, K).ids).mean() for t, q in zip(truth, queries, strict=True)])
        )
        graph = index.graph
        name = f"{size:,} {kind} x {GRAPH_DIM}"
        used = "not used, as its recall is too low" if graph is None or graph.expansion is None else (
            f"expansion {graph.expansion} of {EXPANSIONS[-1]}")  # fmt: skip
        rows += [
            row(f"{name}: search with a graph ({used}) [ms]", graph_ms, peer=exact_ms, peer_name="exact scan"),
            row(f"{name}: recall@{K}", recall, goal=">= 0.98", met=recall >= 0.98),
            row(f"{name}: build [us a row]", build),
        ]
    return rows


def flat_index() -> Any:
    """An empty faiss Flat of one thread, or None."""
    try:
        import faiss
    except ImportError:
        return None
    faiss.omp_set_num_threads(1)
    return faiss.IndexFlatIP(DIM)


def main() -> None:
    """Print the table and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--graph-n", type=int, default=100_000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    console, rng = Console(), np.random.default_rng(0)
    peer, index = flat_index(), VectorIndex(DIM)
    if peer is None:
        console.print("faiss is not installed (extra bench): its races are skipped")
    places, costs = fill(arguments.n, rng, index, peer)
    rows = exact(index, peer, rng) + space_and_time(index, peer, places, rng) + appending(index, costs)
    del peer, places
    gc.collect()
    rows += file_rows(index, rng)
    del index
    gc.collect()
    try:
        rows += graph_rows(arguments.graph_n, "clusters", draw_clusters(rng))
        rows += graph_rows(arguments.graph_n, "random", lambda n: rng.standard_normal((n, GRAPH_DIM), dtype=np.float32))
    except ImportError:
        console.print("usearch is not installed (extra index): the graph is skipped")
    table = Table(title=f"Vectors, {arguments.n:,} rows")
    for heading in ("figure", "ours", "peer", "peer is", "ratio", "goal", "met"):
        table.add_column(heading, justify="left" if heading in ("figure", "peer is") else "right")
    for each in rows:
        figures = ("" if each[name] is None else f"{each[name]:.3g}" for name in ("ours", "peer", "ratio"))
        ours, theirs, ratio = figures
        met = "yes" if each["met"] else "no"
        table.add_row(each["name"], ours, theirs, each["peer_name"], ratio, each["goal"], met)
    console.print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
