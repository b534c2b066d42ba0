"""One process writes, four read, for as long as it is told; what they saw. Part of benchmarks/durability.py.

python benchmarks/durability_readers.py FILE write|read|linger SECONDS     one of the processes
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from survival import batch, record, same

from embmem.records import Query
from embmem.store import RecordStore

RATE = 1000.0  # records a second that the writer writes
SIZE = 20  # records of a batch


def run(path: Path, seconds: float) -> dict[str, Any]:
    """What one writer and four readers saw, one of which keeps each state for seconds; sizes in MB."""
    RecordStore(path).close()
    modes = ("write", "read", "read", "read", "linger")
    command = [sys.executable, __file__, str(path)]
    processes = [
        subprocess.Popen([*command, mode, str(seconds)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for mode in modes
    ]
    log, largest = path.with_name(path.name + "-wal"), 0
    while any(process.poll() is None for process in processes):
        largest = max(largest, log.stat().st_size if log.exists() else 0)
        time.sleep(0.2)
    told, errors = [], []
    for process in processes:
        out, error = process.communicate()
        if process.returncode or error:
            errors.append(error.strip().splitlines()[-1] if error.strip() else f"status {process.returncode}")
        else:
            told.append(json.loads(out))
    return {
        "errors": errors,
        "records": max((t["records"] for t in told), default=0),
        "queries": sum(t["queries"] for t in told),
        "growth_mb": max((t["rss_end"] - t["rss_start"] for t in told), default=0.0),
        "log_mb": largest / 1e6,
    }


def _write(path: Path, end: float) -> dict[str, Any]:
    start, n, rss = time.monotonic(), 0, _rss()
    with RecordStore(path) as store:
        while (now := time.monotonic()) < end:
            if n > RATE * (now - start):
                time.sleep(0.005)
                continue
            for one in batch(n + 1, SIZE):
                store.write(one)
            n += SIZE
            if n % 2000 < SIZE:
                record.cache_clear()
            if rss is None or now - start < 0.2 * (end - start):
                rss = _rss()
    return {"records": n, "queries": 0, "rss_start": rss, "rss_end": _rss()}


def _read(path: Path, end: float, *, lingers: float) -> dict[str, Any]:
    """Ask again and again; every state that is seen has whole records in whole groups of one transaction."""
    rng, n, start = np.random.default_rng(int(1e6 * end) % 1000), 0, time.monotonic()
    rss, highest = _rss(), 0
    with RecordStore(path, read_only=True) as store:
        while (now := time.monotonic()) < end:
            known = store.last_id
            if known < highest:
                raise AssertionError(f"record {highest} was there and is not any more")
            highest = known
            if highest:
                for one in store.get((rng.integers(1, highest + 1, 20)).tolist()):
                    first = one.payload["first"]
                    if not same(one, record(one.id or 0, first, first + SIZE - 1)):
                        raise AssertionError(f"record {one.id} says something else")
                store.read(Query(entity="mug", near=rng.normal(size=3), radius=0.5, k=5))
            if lingers:
                with store.reading() as db:
                    db.execute("BEGIN")
                    counted = [db.execute("SELECT count(*), max(id) FROM records").fetchone()]
                    time.sleep(min(lingers, max(0.0, end - time.monotonic())))
                    counted.append(db.execute("SELECT count(*), max(id) FROM records").fetchone())
                    db.execute("ROLLBACK")
                if counted[0] != counted[1] or counted[0][0] != (counted[0][1] or 0):
                    raise AssertionError(f"one state of the memory was two: {counted}")
            n += 2
            record.cache_clear()
            if now - start < 0.2 * (end - start):
                rss = _rss()
    return {"records": 0, "queries": n, "rss_start": rss, "rss_end": _rss()}


def _rss() -> float:
    """[MB] of RAM that this process holds."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmRSS"))


if __name__ == "__main__":
    file, mode, until = Path(sys.argv[1]), sys.argv[2], time.monotonic() + float(sys.argv[3])
    told = _write(file, until) if mode == "write" else _read(file, until, lingers=3.0 if mode == "linger" else 0.0)
    print(json.dumps(told))
