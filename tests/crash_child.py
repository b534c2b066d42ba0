"""A process that writes at full load and says what is acknowledged, until it is killed.

`python crash_child.py FILE MODE`; modes: write, change (layers beside the log), save (a whole file is replaced),
migrate (a version 1 file is brought up to date). Every line it prints is a promise.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections import deque
from itertools import count
from pathlib import Path

import numpy as np
from survival import batch

from embmem.memory_file import write_memory_file
from embmem.protocols import LayerState
from embmem.store import RecordStore
from embmem.store.snapshots import write_layers


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def state(number: int) -> LayerState:
    """A layer that shows when two of them are mixed."""
    return LayerState("grid", 1, {"number": number}, {"cells": np.full(30_000, number), "more": np.full(9, number)})


def write(path: Path) -> None:
    """Single records, a hundred and more of them on their way at any time; a promise every eight."""
    with RecordStore(path, max_delay=0.002, max_batch=200) as store:
        say("ready")
        waiting: deque[tuple[int, object]] = deque()
        for first in count(store.last_id + 1, 8):
            tickets = [store.write(batch(i, 1)[0]) for i in range(first, first + 8)]
            waiting.append((tickets[-1].id, tickets[-1]))
            while len(waiting) > 20 or (waiting and waiting[0][1].is_acknowledged):  # type: ignore[attr-defined]
                last, ticket = waiting.popleft()
                ticket.wait()  # type: ignore[attr-defined]
                say(str(last))


def change(path: Path) -> None:
    """Records and snapshots of a layer in turn."""
    with RecordStore(path, max_delay=0.001) as store:
        say("ready")
        for first in count(store.last_id + 1, 8):
            store.write_all(batch(first, 8))
            with store.changing() as db:
                write_layers(db, [state(first)], first + 7)
            say(str(first + 7))


def save(path: Path) -> None:
    """A file that is written anew again and again."""
    store = RecordStore()
    say("ready")
    for first in count(1, 8):
        store.write_all(batch(first, 8))
        write_memory_file(path, store, [state(first)], overwrite=True)
        say(str(first + 7))


def migrate(path: Path) -> None:
    """Copies of a version 1 file, each opened for writing."""
    say("ready")
    for number in count():
        shutil.copy(path, path.with_suffix(".copy"))
        path.with_suffix(".copy").replace(path.with_suffix(f".{number % 3}"))
        with RecordStore(path.with_suffix(f".{number % 3}")) as store:
            say(str(store.last_id))


if __name__ == "__main__":
    {"write": write, "change": change, "save": save, "migrate": migrate}[sys.argv[2]](Path(sys.argv[1]))
