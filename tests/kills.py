"""Kill -9 at random moments: start a writer, read its promises, kill it, look what is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from survival import survivors

from embmem.store import RecordStore
from embmem.store.schema import open_read_only
from embmem.store.snapshots import list_snapshots, read_state

CHILD = Path(__file__).with_name("crash_child.py")


@dataclass
class Toll:
    """What a series of kills cost."""

    n_kills: int = 0
    n_acknowledged: int = 0
    reopening: list[float] = field(default_factory=list)  # [s]
    problems: list[str] = field(default_factory=list)


def kill_often(path: Path, mode: str, n: int, *, seed: int, longest: float = 0.4) -> Toll:
    """Kill a writer `n` times, each within `longest` [s] of being ready, the first time of its first promise.

    Args:
        path: the file; what earlier kills left in it is kept, and must stay.
        mode: what the child does, see crash_child.py.
        n: kills.
        seed: of the moments.
        longest: the moments are uniform in [0, longest].
    """
    rng, toll, promised = np.random.default_rng(seed), Toll(), 0
    for _ in range(n):
        command = [sys.executable, str(CHILD), str(path), mode]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONWARNINGS": "ignore"}) as child:
            assert child.stdout is not None
            first = [child.stdout.readline() for _ in range(1 if toll.n_kills else 2)]
            time.sleep(rng.uniform(0.0, longest))
            child.send_signal(signal.SIGKILL)
            lines = b"".join([*first, child.stdout.read()]).decode().splitlines(keepends=True)
        said = [int(line) for line in lines if line.endswith("\n") and line.strip() != "ready"]
        promised = max([promised if mode != "save" else 0, *said])
        toll.n_kills += 1
        toll.n_acknowledged += 8 * len(said)
        try:
            toll.reopening.append(_look(path, mode, promised))
        except Exception as error:
            toll.problems.append(f"kill {toll.n_kills} of {mode}: {type(error).__name__}: {error}")
    return toll


def _look(path: Path, mode: str, promised: int) -> float:
    """Open what is left and check it; returns how long opening took [s].

    Raises:
        AssertionError: if something that was promised is not there.
    """
    if mode == "migrate":
        return max(_look_at_migrated(file) for file in path.parent.glob(f"{path.stem}.[0-2]"))
    if mode == "save" and not path.exists():
        if promised:
            raise AssertionError("the file is gone")
        return 0.0
    start = time.perf_counter()
    RecordStore(path).close()
    elapsed = time.perf_counter() - start
    ids = survivors(path)
    if not ids.issuperset(range(1, promised + 1)):
        raise AssertionError(f"{len(set(range(1, promised + 1)) - ids)} acknowledged records are gone")
    if mode != "write":
        _look_at_layers(path, promised)
    return elapsed


def _look_at_layers(path: Path, promised: int) -> None:
    with closing(open_read_only(path)) as db:
        snapshots = list_snapshots(db, "base")
        for snapshot in snapshots:
            state = read_state(str(path), db, snapshot)
            numbers = {float(x) for array in state.arrays.values() for x in np.unique(array)}
            if numbers != {state.params["number"]} or snapshot.covers != state.params["number"] + 7:
                raise AssertionError(f"a layer is mixed of {numbers}")
            if snapshot.covers < promised:
                raise AssertionError(f"the layer covers {snapshot.covers}, {promised} was promised")
    if promised and not snapshots:
        raise AssertionError("the layer is gone")


def _look_at_migrated(path: Path) -> float:
    start = time.perf_counter()
    store = RecordStore(path)
    elapsed = time.perf_counter() - start
    with store, store.reading() as db:
        if not len(store) or db.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
            raise AssertionError("the migrated file lost its records")
        if not list_snapshots(db, "base"):
            raise AssertionError("the migrated file lost its layers")
    return elapsed
