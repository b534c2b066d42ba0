"""The store of a fleet on Postgres beside the store in one SQLite file: writing, catching up, asking.

    python benchmarks/fleet.py [--quick] [--json FILE] [--dsn DSN]

The records are those of the benchmark of the store: a robot in a building, embeddings of 384 numbers. Without a DSN the
server is the one that the package `pgserver` carries, with its default settings, on this machine: no network lies
between, and it shares the processors with those who ask. There is no goal: the fleet's store is for many writers and
for one answer from all of them, the file for one robot.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from store_world import make_world, queries, records

from embmem.fleet import PostgresStore, catch_up
from embmem.protocols import Store
from embmem.records import Record
from embmem.store import RecordStore

ROBOTS = 4


@contextmanager
def reachable(dsn: str | None) -> Iterator[str]:
    """A server: that of the DSN, or one of our own for as long as it is needed."""
    if dsn is not None:
        yield dsn
        return
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    server = importlib.import_module("postgres_server").start_server()
    try:
        yield server.dsn
    finally:
        server.remove()


def write_rate(store: Store, all_records: list[Record]) -> float:
    """Records a second that are acknowledged."""
    begin = time.perf_counter()
    for record in all_records:
        store.write(record)
    store.flush()
    return len(all_records) / (time.perf_counter() - begin)


def write_rate_of_many(dsn: str, schema: str, all_records: list[Record]) -> float:
    """The same, of several robots at once, each with its share."""
    stores = [PostgresStore(dsn, f"robot{i}", schema=schema) for i in range(ROBOTS)]
    shares = [all_records[i::ROBOTS] for i in range(ROBOTS)]
    threads = [threading.Thread(target=write_rate, args=pair) for pair in zip(stores, shares, strict=True)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = len(all_records) / (time.perf_counter() - begin)
    for store in stores:
        store.close()
    return rate


def latencies(store: Store, asked: list[Any]) -> np.ndarray:
    """(n,) milliseconds; each kind is asked once before, so that nothing is loaded meanwhile."""
    store.search(asked[0])
    times = []
    for query in asked:
        begin = time.perf_counter()
        store.search(query)
        times.append(1e3 * (time.perf_counter() - begin))
    return np.array(times)


def row(name: str, ours: float, peer: float | None) -> dict[str, Any]:
    """One row of the JSON file."""
    return {
        "name": name, "ours": ours, "peer": peer, "peer_name": "one SQLite file",
        "ratio": ours / peer if peer else None, "goal": "none set", "met": True,
    }  # fmt: skip


def measure(dsn: str, folder: Path, n: int, n_queries: int) -> list[dict[str, Any]]:
    """All figures, in schemas that are removed afterwards."""
    world = make_world()
    all_records = list(itertools.chain.from_iterable(records(world, n)))
    names = [f"benchmark_{uuid.uuid4().hex[:12]}" for _ in range(3)]
    one, sent = PostgresStore(dsn, "robot0", schema=names[0]), PostgresStore(dsn, "robot0", schema=names[1])
    rows = []
    with one, sent, RecordStore(folder / "robot.embmem") as file:
        rate_of_file = write_rate(file, all_records)
        rows.append(row("one robot writes, records/s", write_rate(one, all_records), rate_of_file))
        many = write_rate_of_many(dsn, names[2], all_records)
        rows.append(row(f"{ROBOTS} robots write, records/s", many, rate_of_file))
        begin = time.perf_counter()
        catch_up(file, sent)
        rows.append(row("an offline robot catches up, records/s", n / (time.perf_counter() - begin), rate_of_file))
        with sent.changing() as db:
            db.execute("ANALYZE")
        for name, asked in track(list(queries(world, n_queries).items()), description="asking", transient=True):
            ours, theirs = latencies(sent, asked), latencies(file, asked)
            for percent in (50, 99):
                figures = (float(np.percentile(times, percent)) for times in (ours, theirs))
                rows.append(row(f"{name}, p{percent} ms", *figures))
        with sent.reading() as db:
            size = db.execute("SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND"
                              " relnamespace = current_schema()::regnamespace").fetchone()[0]  # fmt: skip
        file.flush()
        rows.append(row("bytes a record", float(size) / n, (folder / "robot.embmem").stat().st_size / n))
        with one.changing() as db:
            for name in names:
                db.execute(f"DROP SCHEMA {name} CASCADE")
    return rows


def main() -> None:
    """Print the table and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="5,000 records in place of 100,000")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--dsn", help="a server to use, where schemas may be made")
    arguments = parser.parse_args()
    n, n_queries = (5_000, 20) if arguments.quick else (100_000, 200)
    with reachable(arguments.dsn) as dsn, tempfile.TemporaryDirectory() as folder:
        rows = measure(dsn, Path(folder), n, n_queries)
    table = Table("figure", "fleet", "one SQLite file", "ratio", title=f"{n:,} records")
    for each in rows:
        table.add_row(each["name"], f"{each['ours']:,.2f}", f"{each['peer']:,.2f}", f"{each['ratio']:.2f}")
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
