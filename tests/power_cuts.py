"""Power cuts under the store: one run is written down as the disk sees it, then cut at many moments in many ways."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from faulty_files import Disk, Event, FileLayer
from survival import batch, survivors

from embmem.protocols import LayerState
from embmem.store import RecordStore
from embmem.store.snapshots import write_layers

NAME = "memory.embmem"


def write_down(folder: Path, *, n_batches: int, seed: int) -> list[Event]:
    """What the disk is told while a store takes batches, some snapshots of a layer, and is closed and opened again."""
    rng = np.random.default_rng(seed)
    layer = FileLayer(checkpoint_after=30)  # often, so that cuts hit that too
    next_id = 1
    for part in np.array_split(np.arange(n_batches), 3):
        with closing(RecordStore(folder / NAME, connect=layer.connect, max_delay=0.0)) as store:
            for number in part:
                n = int(rng.integers(1, 30))
                store.write_all(batch(next_id, n))
                layer.tell(Event("acknowledged", data=json.dumps([next_id, next_id + n - 1]).encode()))
                next_id += n
                if number % 5 == 0:
                    with store.changing() as db:
                        write_layers(db, [_state(rng, int(number))], next_id - 1)
    return layer.events


def cuts(events: Sequence[Event], n: int, seed: int) -> Iterator[str]:
    """Try `n` power cuts, at moments spread over the run; yields what went wrong, if anything does."""
    rng = np.random.default_rng(seed)
    moments = np.sort(rng.integers(0, len(events) + 1, n))
    disk, done = Disk(), 0
    acknowledged: set[int] = set()
    for moment in moments:
        for event in events[done:moment]:
            disk.tell(event)
            if event.what == "acknowledged":
                first, last = json.loads(event.data)
                acknowledged.update(range(first, last + 1))
        done = int(moment)
        folder = Path(tempfile.mkdtemp(prefix="cut-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        try:
            disk.cut(folder, rng)
            lost = acknowledged - (survivors(folder / NAME) if (folder / NAME).exists() else set())
            if lost:
                yield f"cut before event {moment}: {len(lost)} acknowledged records are gone, {min(lost)} first"
        except Exception as error:
            yield f"cut before event {moment}: {type(error).__name__}: {error}"
        finally:
            shutil.rmtree(folder)


def _state(rng: np.random.Generator, number: int) -> LayerState:
    return LayerState("grid", 1, {"number": number}, {"cells": rng.normal(size=(20, 40))})
