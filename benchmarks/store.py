"""The store's queries over a month of records: latency, growth, recall, bytes, beside numpy, usearch and LanceDB.

    python benchmarks/store.py [--n 1000000] [--keep FOLDER] [--quick] [--json FILE]

A robot walks through a building of 52 x 31 m for 30 days; every record has a place, two things, six words and an
embedding of 384 numbers (2,000 clusters in 40 dimensions, and noise). Files of n / 100, n / 10 and n records are
written (1e6 take about ten minutes, and as long to link into a graph; `--keep` writes them once), then asked one sort
of question after the other, in one thread: CPU milliseconds of the thread, p50 and p99 over 60 questions, the lesser of
two calls each, ten answers wanted. Things and words are asked for as often as they occur, the commonest of all
included. The peers hold the same embeddings: numpy scans float32, usearch has float16 and an expansion of 128, LanceDB
has a table with the same columns (exact with its filter, prefiltered). `--quick` is n = 20,000 without a graph.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from rich.console import Console
from rich.table import Table
from store_world import DIM, make_world, queries, records

from embmem.records import Query
from embmem.store import RecordStore

ASKED, K = 60, 10
SINGLE_GOAL, MIXED_GOAL = 10.0, 50.0  # [ms] p50 of one index, of a mix
MIXED = ("near + since + embedding", "words + near", "entity + as of + embedding")


def row(name: str, ours: float, *, p99: float | None = None, peer: float | None = None, peer_name: str = "none",
        goal: str = "none set", met: bool = True) -> dict[str, Any]:  # fmt: skip
    """One row of the JSON file; a ratio says how many times the peer takes what we take."""
    ratio = peer / ours if peer is not None and ours else None
    return {"name": name, "ours": ours, "p99": p99, "peer": peer, "peer_name": peer_name, "ratio": ratio,
            "goal": goal, "met": met}  # fmt: skip


def clock(calls: list[Callable[[], Any]], now: Callable[[], float] = time.thread_time) -> np.ndarray:
    """[ms] of each call, the lesser of two, after one to warm up."""
    calls[0]()
    times = np.full(len(calls), np.inf)
    for _ in range(2):
        for i, call in enumerate(calls):
            begin = now()
            call()
            times[i] = min(times[i], now() - begin)
    return 1e3 * times


def build(path: Path, n: int, *, with_graph: bool) -> list[dict[str, Any]]:
    """Write n records, if they are not there yet; rows of what that took."""
    if path.is_file():
        return []
    begin = time.process_time()
    with RecordStore(path) as store:
        for chunk in records(make_world(), n):
            store.write_all(chunk)
        wrote = time.process_time() - begin
        store.embeddings.save(store, with_graph=with_graph)
    saved = time.process_time() - begin - wrote
    return [
        row(f"{n:,} records: write, CPU [us a record]", 1e6 * wrote / n),
        row(f"{n:,} records: index and graph, CPU [us a record]", 1e6 * saved / n),
    ]


@contextmanager
def reopened(path: Path, rows: list[dict[str, Any]]) -> Iterator[RecordStore]:
    """The store, and how long it took until the first answers."""
    begin = time.perf_counter()
    with RecordStore(path) as store:
        store.search(Query(entity="thing3"))
        opened = time.perf_counter() - begin
        begin = time.perf_counter()
        store.search(Query(embedding=np.ones(DIM)))
        size = path.stat().st_size / 1e9
        rows += [
            row(f"file of {size:.2f} GB: open and the first answer [s of wall]", opened, goal="< 1", met=opened < 1.0),
            row("the first answer by embedding, which loads the index [s of wall]", time.perf_counter() - begin),
        ]
        yield store


def latencies(store: RecordStore, n: int, rows: list[dict[str, Any]]) -> dict[str, float]:
    """p50 by sort of question; a row each."""
    p50 = {}
    for name, asked in queries(make_world(), ASKED).items():
        times = clock([partial(store.search, query) for query in asked])
        goal = MIXED_GOAL if name in MIXED else SINGLE_GOAL
        p50[name] = float(np.median(times))
        rows.append(
            row(f"{n:,}: {name} [ms]", p50[name], p99=float(np.percentile(times, 99)), goal=f"p50 < {goal:.0f}",
                met=p50[name] < goal)
        )  # fmt: skip
    return p50


def exactness(store: RecordStore, rows: list[dict[str, Any]], n: int) -> None:
    """Recall of the graph against the exact scan, and what the scan takes."""
    with store.reading() as db:
        index = store.embeddings.index(db)
        if index is None:
            return
        asked = [query.embedding for query in queries(make_world(), ASKED)["embedding"] if query.embedding is not None]
        found = [index.search(vector, K).ids for vector in asked]
        with_graph = clock([partial(index.search, vector, K) for vector in asked])
        graph, index.graph = index.graph, None
        truth = [index.search(vector, K).ids for vector in asked]
        exact = clock([partial(index.search, vector, K) for vector in asked])
        index.graph = graph
    recall = float(np.mean([np.isin(t, f).mean() for t, f in zip(truth, found, strict=True)]))
    rows += [
        row(f"{n:,}: exact scan of codes [ms]", float(np.median(exact)), p99=float(np.percentile(exact, 99))),
        row(f"{n:,}: graph, recall@{K}", recall, goal=">= 0.98", met=recall >= 0.98),
        row(f"{n:,}: graph against the exact scan [ms]", float(np.median(with_graph)),
            p99=float(np.percentile(with_graph, 99)), peer=float(np.median(exact)), peer_name="our exact scan"),
        row(f"{n:,}: RAM of the index without the graph [bytes a record]", index.nbytes / n),
        row(f"{n:,}: RAM of the graph [bytes a record]", 0.0 if graph is None else graph.nbytes / n),
    ]  # fmt: skip


def held(path: Path, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, DIM) float32 embeddings and (n, 4) places and stamps of the file."""
    vectors, places = np.empty((n, DIM), np.float32), np.empty((n, 4))
    with RecordStore(path, read_only=True) as store, store.reading() as db:
        for i, (data,) in enumerate(db.execute("SELECT data FROM vectors ORDER BY record_id")):
            vectors[i] = np.frombuffer(data, "<f2")
        places[:] = db.execute("SELECT x, y, z, t_event FROM records ORDER BY id").fetchall()
    return vectors / np.linalg.norm(vectors, axis=1)[:, None], places


def peers(path: Path, n: int, p50: dict[str, float], rows: list[dict[str, Any]], console: Console) -> None:
    """Rows of the peers over the same embeddings."""
    vectors, places = held(path, n)
    sorts = queries(make_world(), ASKED)
    ours = p50["embedding"]

    def scan(query: Query) -> np.ndarray:
        scores = vectors @ np.asarray(query.embedding)
        best = np.argpartition(-scores, K)[:K]
        return best[np.argsort(-scores[best])]

    def window(query: Query) -> np.ndarray:
        is_in = ((places[:, :3] - query.near) ** 2).sum(axis=1) <= query.radius**2
        found = np.flatnonzero(is_in & (places[:, 3] >= query.since))
        return found[np.argsort(-(vectors[found] @ np.asarray(query.embedding)))[:K]]

    numpy_ms = float(np.median(clock([partial(scan, query) for query in sorts["embedding"][:10]])))
    rows.append(row(f"{n:,}: embedding [ms]", ours, peer=numpy_ms, peer_name="numpy exact"))
    mixed = float(np.median(clock([partial(window, query) for query in sorts[MIXED[0]][:10]])))
    rows.append(row(f"{n:,}: {MIXED[0]} [ms]", p50[MIXED[0]], peer=mixed, peer_name="numpy exact"))
    for race in (_usearch, _lance):
        try:
            race(vectors, places, sorts, p50, rows)
        except ImportError as error:
            console.print(f"{error.name} is not installed: its race is skipped")


def _usearch(vectors: np.ndarray, places: np.ndarray, sorts: dict[str, list[Query]], p50: dict[str, float],
             rows: list[dict[str, Any]]) -> None:  # fmt: skip
    """Alone it knows no filter; at most 200,000 rows are linked, since that takes minutes."""
    from usearch.index import Index

    n = min(len(vectors), 200_000)
    index = Index(ndim=DIM, metric="cos", dtype="f16", connectivity=16, expansion_add=128, expansion_search=128)
    index.add(np.arange(n), vectors[:n], threads=1)
    asked = [np.asarray(query.embedding) for query in sorts["embedding"]]
    found = [index.search(vector, K, threads=1).keys for vector in asked]
    truth = [np.argsort(-(vectors[:n] @ vector))[:K] for vector in asked]
    recall = np.mean([np.isin(t, f).mean() for t, f in zip(truth, found, strict=True)])
    times = clock([partial(index.search, vector, K, threads=1) for vector in asked])
    name = f"usearch alone over {n:,}, ids only, recall {recall:.3f}"
    rows.append(
        row("embedding, with records read [ms]", p50["embedding"], peer=float(np.median(times)), peer_name=name)
    )


def _lance(vectors: np.ndarray, places: np.ndarray, sorts: dict[str, list[Query]], p50: dict[str, float],
           rows: list[dict[str, Any]]) -> None:  # fmt: skip
    """Its own threads: wall milliseconds, at most 200,000 rows."""
    import lancedb
    import pyarrow as pa

    n = min(len(vectors), 200_000)
    with tempfile.TemporaryDirectory() as folder:
        columns = {name: pa.array(places[:n, i]) for i, name in enumerate(("x", "y", "z", "t"))}
        flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors[:n].ravel()), DIM)
        table: Any = lancedb.connect(folder).create_table("records", pa.table({"vector": flat, **columns}))

        def nearest(query: Query) -> Any:
            return table.search(np.asarray(query.embedding)).metric("cosine").limit(K).to_arrow()

        def filtered(query: Query) -> Any:
            x, y, z = np.asarray(query.near)
            where = f"t >= {query.since} AND (x-{x})*(x-{x})+(y-{y})*(y-{y})+(z-{z})*(z-{z}) <= {query.radius**2}"
            search = table.search(np.asarray(query.embedding)).metric("cosine").where(where, prefilter=True)
            return search.limit(K).to_arrow()

        for name, call in (("embedding", nearest), (MIXED[0], filtered)):
            times = clock([partial(call, query) for query in sorts[name][:20]], time.perf_counter)
            rows.append(
                row(f"{name} [ms]", p50[name], peer=float(np.median(times)), peer_name=f"LanceDB over {n:,}, wall")
            )


def measure(folder: Path, n: int, console: Console, *, with_graph: bool) -> list[dict[str, Any]]:
    """All rows."""
    rows: list[dict[str, Any]] = []
    growth: list[dict[str, float]] = []
    for size in (n // 100, n // 10, n):
        path = folder / f"{size}.embmem"
        rows += build(path, size, with_graph=with_graph and size == n)
        with reopened(path, rows) as store:
            growth.append(latencies(store, size, rows))
            if size == n:
                exactness(store, rows, size)
        rows.append(row(f"{size:,}: file [bytes a record]", path.stat().st_size / size))
    for name, last in growth[-1].items():
        factor = last / growth[0][name]
        rows.append(row(f"{name}: times the latency for 100 times the records", factor, goal="< 100", met=factor < 100))
    peers(folder / f"{n}.embmem", n, growth[-1], rows, console)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    rows.append(row("peak RAM with the peers [GiB]", peak, goal="< 5", met=peak < 5.0))
    return rows


def show(rows: list[dict[str, Any]], console: Console) -> None:
    """The table on the screen."""
    table = Table(title="Store")
    for heading in ("figure", "ours", "p99", "peer", "peer is", "ratio", "goal", "met"):
        table.add_column(heading, justify="left" if heading in ("figure", "peer is") else "right")
    for each in rows:
        ours, p99, peer, ratio = (
            "" if each[name] is None else f"{each[name]:.3g}" for name in ("ours", "p99", "peer", "ratio")
        )
        met = "yes" if each["met"] else "no"
        table.add_row(each["name"], ours, p99, peer, each["peer_name"], ratio, each["goal"], met)
    console.print(table)


def main() -> None:
    """Print the table and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path, help="folder in which the files are kept, and found again")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    console, n = Console(), 20_000 if arguments.quick else arguments.n
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        rows = measure(folder, n, console, with_graph=not arguments.quick)
    show(rows, console)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
