"""Ten robots' memories merged in every way: is the state the same to the byte, and how long does a merge take.

    python benchmarks/merge.py [--partitions N] [--quick] [--json FILE]

Ten robots look at their surroundings, make notes, derive, correct and withdraw; two have purged a source that others
still hold. Their operations are dealt at random to two to eight replicas, some to several, and the replicas are merged
two by two in random order, now and then through a file. What comes out is compared by SHA-256 of the memory file, and
now and then of the layers that are replayed from it. The peer for the state is to append what arrives in the order of
its arrival, each record once; the peer for time is SQLite's own copy of the two files (VACUUM INTO).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from embmem.geometry import camera_pose
from embmem.maps import durable_memory
from embmem.maps.spatial_memory import LAYERS
from embmem.merge.files import merge_files
from embmem.merge.log import OperationLog, union
from embmem.merge.operations import Origin
from embmem.merge.reading import read_log
from embmem.merge.writing import write_log
from embmem.records import Link, Query, Record
from embmem.replay.restoring import restore_known
from embmem.store import RecordStore
from embmem.store.amend import correct, withdraw
from embmem.store.purge import purge
from embmem.store.schema import open_read_only
from embmem.testing import wall_ahead

ROBOTS = 10
DIM = 64
THROUGH_A_FILE = 0.1  # of the merges
LAYERS_EVERY = 25  # partitions


def make_robot(path: Path, number: int) -> None:
    """A robot that looks around, writes, derives, corrects and withdraws."""
    rng = np.random.default_rng(number)
    with durable_memory(path, 0.1, snapshot_seconds=1e9) as memory:
        for i in range(4):
            pose = camera_pose(rng.uniform([-0.5, -0.5, 0.9], [0.5, 0.5, 1.1]), float(rng.uniform(-3, 3)))
            memory.observe(replace(wall_ahead(float(rng.uniform(0, 2)) + 3.0 * i), T_map_camera=pose))
        store = memory.store
        notes = [
            Record("note", float(rng.uniform(0, 20)), "operator" if i % 3 else "guest", text=f"note {i} of {number}",
                   position=rng.normal(size=3), embedding=rng.normal(size=DIM).astype(np.float32))
            for i in range(12)
        ]  # fmt: skip
        ids = store.write_all(notes)
        first, second, third, fourth = (int(i) for i in rng.choice(ids, 4, replace=False))
        store.write_all([Record("summary", 30.0, "mind", links=(Link("from", first), Link("from", second)))])
        correct(store, third, text="corrected", embedding=rng.normal(size=DIM).astype(np.float32)).wait()
        withdraw(store, [fourth])


def make_logs(folder: Path, held: ExitStack) -> list[OperationLog]:
    """What the robots wrote, and what two of them had before they purged a source."""
    files = [folder / f"robot{i}.embmem" for i in range(ROBOTS)]
    for i, file in enumerate(files):
        make_robot(file, i)
    merge_files(files[:2], folder / "before.embmem", name="before")
    for file in files[:2]:
        with RecordStore(file) as store:
            purge(store, "guest")
    stores = [RecordStore(file, read_only=True) for file in [*files, folder / "before.embmem"]]
    logs = [read_log(held.enter_context(store)) for store in stores]
    for log in logs:
        for origin, op in log.operations.items():
            log.operations[origin] = replace(op, read_blob=_giving(op.read_blob()))
    return logs


def _giving(blob: bytes | None) -> Callable[[], bytes | None]:
    return lambda: blob


def deal(logs: Sequence[OperationLog], rng: np.random.Generator) -> list[OperationLog]:
    """Replicas that hold random parts of what the logs hold, together all of it."""
    n = int(rng.integers(2, 9))
    replicas = [OperationLog() for _ in range(n)]
    for log in logs:
        home = replicas[int(rng.integers(n))]
        home.vector |= {m: max(seq, home.vector.get(m, 0)) for m, seq in log.vector.items()}
        home.layers |= log.layers
        home.same |= log.same
        home.purged |= log.purged
        for origin, parents in log.lineage.items():
            home.lineage[origin] = home.lineage.get(origin, frozenset()) | parents
        for origin, op in log.operations.items():
            for replica in rng.choice(n, 1 + int(rng.random() < 0.2), replace=False):
                replicas[int(replica)].operations[origin] = op
    return replicas


def merge_at_random(replicas: list[OperationLog], rng: np.random.Generator, folder: Path) -> OperationLog:
    """Two by two until one is left, now and then through a file."""
    waiting = list(replicas)
    with ExitStack() as held:
        while len(waiting) > 1:
            i, j = (int(x) for x in rng.choice(len(waiting), 2, replace=False))
            both = union([waiting[i], waiting[j]])
            if rng.random() < THROUGH_A_FILE:
                path = folder / f"part{len(waiting)}.embmem"
                path.unlink(missing_ok=True)
                write_log(path, both)
                both = read_log(held.enter_context(RecordStore(path, read_only=True)))
                both.operations = {
                    o: replace(op, read_blob=_giving(op.read_blob())) for o, op in both.operations.items()
                }
            waiting = [log for k, log in enumerate(waiting) if k not in (i, j)] + [both]
    return waiting[0]


def digest(path: Path, log: OperationLog) -> str:
    """SHA-256 of the file that a log becomes."""
    path.unlink(missing_ok=True)
    write_log(path, log, name="merged")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def layers_digest(path: Path) -> str:
    """SHA-256 of the layers that are replayed from a file."""
    found = hashlib.sha256()
    with closing(open_read_only(path)) as db:
        for layer in restore_known(str(path), db, LAYERS).layers:
            state = layer.save()
            found.update(json.dumps(state.params, sort_keys=True).encode())
            for name in sorted(state.arrays):
                found.update(np.ascontiguousarray(state.arrays[name]).tobytes())
    return found.hexdigest()


def in_order_of_arrival(replicas: Sequence[OperationLog], rng: np.random.Generator) -> str:
    """What comes of appending each record once, as it arrives."""
    arrived: dict[Origin, bytes] = {}
    for i in rng.permutation(len(replicas)):
        for origin, op in replicas[int(i)].operations.items():
            arrived.setdefault(origin, op.digest)
    return hashlib.sha256(b"".join(arrived.values())).hexdigest()


def partitions(n: int, folder: Path) -> dict[str, int]:
    """How many states come of n ways to merge."""
    states: set[str] = set()
    layers: set[str] = set()
    arrivals: set[str] = set()
    rng = np.random.default_rng(0)
    with ExitStack() as held:
        logs = make_logs(folder, held)
        n_operations = len(union(logs).operations)
        for i in track(range(n), description="merging", transient=True):
            replicas = deal(logs, rng)
            arrivals.add(in_order_of_arrival(replicas, rng))
            states.add(digest(folder / "state.embmem", merge_at_random(replicas, rng, folder)))
            if i % LAYERS_EVERY == 0:
                layers.add(layers_digest(folder / "state.embmem"))
    return {
        "operations": n_operations, "states": len(states), "layers": len(layers), "arrivals": len(arrivals),
        "checked layers": len(range(0, n, LAYERS_EVERY)),
    }  # fmt: skip


def cost(n_records: int, folder: Path) -> dict[str, float]:
    """CPU seconds and bytes of merging two files, and of SQLite copying them."""
    files = [folder / f"large{i}.embmem" for i in range(2)]
    rng = np.random.default_rng(1)
    for i, file in enumerate(files):
        with RecordStore(file) as store:
            for start in range(0, n_records, 5000):
                store.write_all(
                    Record("view", float(start + j), "camera", position=rng.normal(size=3), entities=("mug",),
                           embedding=rng.normal(size=DIM).astype(np.float32), blob=rng.bytes(2000), text=f"{i} {j}")
                    for j in range(min(5000, n_records - start))
                )  # fmt: skip
    clock = time.process_time()
    for i, file in enumerate(files):
        with RecordStore(file, read_only=True) as store:
            store.copy_to(folder / f"copy{i}.embmem")
    copied = time.process_time() - clock
    clock = time.process_time()
    merge_files(files, folder / "large.embmem")
    merged = time.process_time() - clock
    with RecordStore(folder / "large.embmem", read_only=True) as store:
        n_found = len(store.read(Query(k=4 * n_records)))
    size = (folder / "large.embmem").stat().st_size
    return {"merge": merged, "copy": copied, "records": float(n_found), "bytes": float(size)}


def rows_of(n: int, found: dict[str, int], costs: dict[str, float]) -> list[dict[str, Any]]:
    """The rows of the report."""
    megabytes, thousands = costs["bytes"] / 1e6, costs["records"] / 1e3
    checked = found["checked layers"]
    arrival, copy = "records in order of arrival", "SQLite's copy of both files"
    return [
        _row(f"states of {n} partitions of {found['operations']} operations", found["states"], found["arrivals"],
             arrival, "1", found["states"] == 1),
        _row(f"states of layers of {checked} of them", found["layers"], None, "", "1", found["layers"] == 1),
        _row("CPU seconds a thousand records", costs["merge"] / thousands, costs["copy"] / thousands, copy, "", True),
        _row("CPU seconds a MB", costs["merge"] / megabytes, costs["copy"] / megabytes, copy, "", True),
    ]  # fmt: skip


def _row(name: str, ours: float, peer: float | None, peer_name: str, goal: str, met: bool) -> dict[str, Any]:
    ratio = ours / peer if peer else None
    return {"name": name, "ours": ours, "peer": peer, "peer_name": peer_name, "ratio": ratio, "goal": goal, "met": met}


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--partitions", type=int, default=1000)
    parser.add_argument("--records", type=int, default=20_000, help="of each of the two files that are timed")
    parser.add_argument("--quick", action="store_true", help="50 partitions, files of 2,000 records")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    n, n_records = (50, 2000) if arguments.quick else (arguments.partitions, arguments.records)
    with tempfile.TemporaryDirectory() as folder:
        found = partitions(n, Path(folder))
        rows = rows_of(n, found, cost(n_records, Path(folder)))
    table = Table("what", "ours", "peer", "which peer", "goal", "met", title="merge")
    for row in rows:
        peer = "" if row["peer"] is None else f"{row['peer']:.3g}"
        table.add_row(
            row["name"], f"{row['ours']:.3g}", peer, row["peer_name"], row["goal"], "yes" if row["met"] else "no"
        )
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
