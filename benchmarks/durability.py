"""What acknowledged writes cost, and whether they survive: kill -9, power cuts, readers beside a writer, reopening.

    python benchmarks/durability.py [--quick] [--kills N] [--cuts N] [--minutes M] [--parts ...] [--json FILE]

The whole run takes about 50 minutes. Power cuts are simulated under SQLite itself and need apsw.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rows import row

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
import durability_readers
from kills import Toll, kill_often

from embmem.records import Record
from embmem.store import RecordStore
from embmem.store.opening import connect_file
from embmem.store.rows import encode, insert
from embmem.store.schema import Connection, prepare

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "data" / "wall_v1.embmem"
PARTS = ("writes", "kills", "cuts", "reopening", "readers")
KILLS_A_FILE = 25  # then a new one: what is checked after each kill grows with it


def make_records(n: int, seed: int) -> list[Record]:
    """What a robot writes: a place, some names, a sentence and an embedding of 384 numbers."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(n, 384)).astype(np.float32)
    places = rng.uniform(-10.0, 10.0, (n, 3))
    return [
        Record(kind="sighting", t_event=float(i), source="camera", position=places[i], embedding=vectors[i],
               entities=("mug", f"object {i % 500}"), text=f"a red mug on table {i % 90}", payload={"frame": i})
        for i in range(n)
    ]  # fmt: skip


def writes(folder: Path, n: int) -> list[dict[str, Any]]:
    """Acknowledged records a second and how long an acknowledgement takes."""
    records = make_records(n, seed=0)
    cpu = time.process_time()
    ours = _best(lambda: _rate_of_groups(folder / "groups.embmem", records))
    cpu = (time.process_time() - cpu) / (3 * len(records))
    one_by_one = _rate_of_single_commits(folder / "single.embmem", records[: max(200, n // 20)])
    in_ram = _best(lambda: _rate_of_a_list(records))
    rows = [
        row("acknowledged records/s", ours, goal=">= 5000", met=ours >= 5000, peer=one_by_one,
            peer_name="a FULL commit for each"),
        row("acknowledged records/s", ours, peer=in_ram, peer_name="list in RAM, not durable"),
        row("CPU of a record, all threads [us]", 1e6 * cpu),
    ]  # fmt: skip
    for name, rate, few in (("full load", np.inf, records), ("100 records/s", 100.0, records[: min(n, 500)])):
        waits = 1e3 * _acknowledgements(folder / f"{name[:4]}.embmem", few, rate)
        rows += [row(f"acknowledgement at {name}, p{q} [ms]", float(np.percentile(waits, q))) for q in (50, 99)]
    return rows


def _best(measure: Callable[[], float], repeats: int = 3) -> float:
    return max(measure() for _ in range(repeats))


def _rate_of_groups(path: Path, records: list[Record]) -> float:
    path.unlink(missing_ok=True)
    with RecordStore(path) as store:
        start = time.perf_counter()
        tickets = [store.write(record) for record in records]
        store.flush()
        elapsed = time.perf_counter() - start
        if not all(ticket.is_acknowledged for ticket in tickets):
            raise RuntimeError("not everything was acknowledged")
    return len(records) / elapsed


def _rate_of_single_commits(path: Path, records: list[Record]) -> float:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        prepare(str(path), db)
        start = time.perf_counter()
        for number, record in enumerate(records, 1):
            one = encode(record)
            one.id, one.t_ingest = number, 0.0
            db.execute("BEGIN IMMEDIATE")
            insert(db, [one])
            db.execute("COMMIT")
        return len(records) / (time.perf_counter() - start)


def _rate_of_a_list(records: list[Record]) -> float:
    kept: list[Any] = []
    start = time.perf_counter()
    for record in records:
        kept.append(encode(record))
    return len(kept) / (time.perf_counter() - start)


def _acknowledgements(path: Path, records: list[Record], rate: float) -> np.ndarray:
    """[s] from the call of `write` to the acknowledgement, of each record."""
    called = np.zeros(len(records))
    done = np.zeros(len(records))
    tickets: list[Any] = []

    def watch() -> None:
        for i in range(len(records)):
            while len(tickets) <= i:
                time.sleep(0.0005)
            tickets[i].wait()
            done[i] = time.perf_counter()

    with RecordStore(path) as store:
        watcher = threading.Thread(target=watch)
        watcher.start()
        start = time.perf_counter()
        for i, record in enumerate(records):
            if rate < np.inf:
                time.sleep(max(0.0, start + i / rate - time.perf_counter()))
            called[i] = time.perf_counter()
            tickets.append(store.write(record))
        watcher.join()
    return done - called


def kills(folder: Path, n: int) -> list[dict[str, Any]]:
    """Kill -9 over every way to write."""
    shares = {"write": 0.7, "change": 0.12, "save": 0.12, "migrate": 0.06}
    tolls = {mode: _kill(folder, mode, max(1, round(share * n))) for mode, share in shares.items()}
    problems = [problem for toll in tolls.values() for problem in toll.problems]
    for problem in problems[:20]:
        print(problem)
    total = sum(toll.n_kills for toll in tolls.values())
    acknowledged = sum(toll.n_acknowledged for mode, toll in tolls.items() if mode != "migrate")
    slowest = max(max(toll.reopening) for toll in tolls.values())
    return [
        row("kill -9", total, goal="none loses anything", met=not problems),
        row("acknowledged records before the kills", acknowledged),
        row("acknowledged records lost, files broken", len(problems), goal="0", met=not problems),
        row("slowest opening after a kill [s]", slowest, goal="<= 1", met=slowest <= 1.0),
    ]


def _kill(folder: Path, mode: str, n: int) -> Toll:
    total = Toll()
    for number, first in enumerate(range(0, n, KILLS_A_FILE)):
        path = folder / f"{mode}-{number}" / "memory.embmem"
        path.parent.mkdir()
        if mode == "migrate":
            shutil.copy(GOLDEN, path)
        toll = kill_often(path, mode, min(KILLS_A_FILE, n - first), seed=number)
        total.n_kills += toll.n_kills
        total.n_acknowledged += toll.n_acknowledged
        total.reopening += toll.reopening
        total.problems += toll.problems
        shutil.rmtree(path.parent)
    return total


def cuts(folder: Path, n: int) -> list[dict[str, Any]]:
    """Simulated power cuts under SQLite, over runs of different seeds."""
    if importlib.util.find_spec("apsw") is None:
        print("power cuts: left out, apsw is not installed (pip install apsw)")
        return []
    from power_cuts import cuts as cut
    from power_cuts import write_down

    problems: list[str] = []
    for number, first in enumerate(range(0, n, 250)):
        run = folder / f"run-{number}"
        run.mkdir()
        events = write_down(run, n_batches=12, seed=number)
        problems += cut(events, min(250, n - first), seed=number)
        shutil.rmtree(run)
    for problem in problems[:20]:
        print(problem)
    return [row("power cuts simulated", n, goal="none loses anything", met=not problems),
            row("power cuts after which something was lost", len(problems), goal="0", met=not problems)]  # fmt: skip


def reopening(folder: Path, n_bytes: int) -> list[dict[str, Any]]:
    """How long a large file takes to open: closed well, and left by a crash with a long write-ahead log."""
    path, crashed = folder / "large.embmem", folder / "crashed.embmem"
    blob, log_bytes = np.random.default_rng(0).bytes(4000), n_bytes // 4
    records = [Record(**{**vars(r), "blob": blob}) for r in make_records(1000, seed=1)]
    with RecordStore(path) as store:
        while path.stat().st_size < n_bytes:
            store.write_all(records)
    rows = [_opening(path, f"opening {path.stat().st_size / 1e9:.2f} GB [s]")]
    with RecordStore(path, connect=_without_checkpoints) as store:
        log = path.with_name(path.name + "-wal")
        while not log.exists() or log.stat().st_size < log_bytes:
            store.write_all(records)
        shutil.copy(path, crashed)
        shutil.copy(log, f"{crashed}-wal")
        size = log.stat().st_size
    return [*rows, _opening(crashed, f"opening it after a crash, log of {size / 1e6:.0f} MB [s]")]


def _without_checkpoints(path: Path) -> Connection:
    db = connect_file(path)
    db.execute("PRAGMA wal_autocheckpoint = 0")
    return db


def _opening(path: Path, name: str) -> dict[str, Any]:
    start = time.perf_counter()
    store = RecordStore(path)
    elapsed = time.perf_counter() - start
    if not store.last_id:
        raise RuntimeError(f"{path} lost its records")
    store.close()
    return row(name, elapsed, goal="<= 1", met=elapsed <= 1.0)


def readers(folder: Path, minutes: float) -> list[dict[str, Any]]:
    """One process writes, four read."""
    seen = durability_readers.run(folder / "shared.embmem", 60.0 * minutes)
    for error in seen["errors"]:
        print(error)
    return [
        row(f"{minutes:g} min, 1 writer and 4 readers: errors", len(seen["errors"]), goal="0", met=not seen["errors"]),
        row("  records written", seen["records"]),
        row("  queries answered", seen["queries"]),
        row("  growth of the largest process [MB]", seen["growth_mb"], goal="<= 50", met=seen["growth_mb"] <= 50.0),
        row("  largest write-ahead log [MB]", seen["log_mb"], goal="<= 256", met=seen["log_mb"] <= 256.0),
    ]


def main() -> None:
    """Print the table and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20 kills, 100 cuts, 0.1 minutes, 0.05 GB")
    parser.add_argument("--kills", type=int)
    parser.add_argument("--cuts", type=int)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    n_kills, n_cuts, minutes, n_bytes, n = (20, 100, 0.1, 50_000_000, 4000) if asked.quick else (
        1000, 10_000, 10.0, 1_000_000_000, 30_000)  # fmt: skip
    parts: dict[str, Callable[[Path], list[dict[str, Any]]]] = {
        "writes": partial(writes, n=n),
        "kills": partial(kills, n=n_kills if asked.kills is None else asked.kills),
        "cuts": partial(cuts, n=n_cuts if asked.cuts is None else asked.cuts),
        "reopening": partial(reopening, n_bytes=n_bytes),
        "readers": partial(readers, minutes=minutes if asked.minutes is None else asked.minutes),
    }
    rows: list[dict[str, Any]] = []
    for part in asked.parts:
        with tempfile.TemporaryDirectory(prefix="durability-") as folder:
            rows += parts[part](Path(folder))
    table = Table("figure", "ours", "peer", "peer is", "ratio", "goal", "met", title="Durability")
    for each in rows:
        numbers = ["" if each[k] is None else f"{each[k]:,.4g}" if abs(each[k]) < 1e4 else f"{each[k]:,.0f}"
                   for k in ("ours", "peer", "ratio")]  # fmt: skip
        met = "yes" if each["met"] else "no"
        table.add_row(escape(each["name"]), numbers[0], numbers[1], each["peer_name"], numbers[2], each["goal"], met)
    Console().print(table)
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
