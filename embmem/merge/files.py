"""Memory files of several sessions and robots become one."""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embmem.errors import InputError
from embmem.merge.frames import ALIGNMENT, SOURCE, alignment, root_of
from embmem.merge.log import OperationLog, share_frame, union
from embmem.merge.operations import Origin, operation
from embmem.merge.reading import read_log
from embmem.merge.writing import write_log
from embmem.replay.restoring import restore_known
from embmem.store import RecordStore
from embmem.store.maintenance import replacing
from embmem.store.rows import encode
from embmem.store.snapshots import list_snapshots, write_layers


@dataclass(frozen=True, eq=False)
class Aligned:
    """How the map frame of one file lies in that of another."""

    T_a_b: np.ndarray  # (4, 4)
    confidence: float
    why: str


Align = Callable[[Path, Path], Aligned]  # raises InputError where it cannot tell


@dataclass(frozen=True)
class Merged:
    """What became of a merge."""

    n_records: int
    n_memories: int  # that robots wrote, not those that an alignment was noted by
    n_purged: int  # records that stay away because one of the memories has purged them
    aligned: tuple[str, ...]  # a line for each file that was moved


def same_frame(a: Path, b: Path) -> Aligned:
    """For memories that are in one map frame already."""
    return Aligned(np.eye(4), 1.0, "said to be in one frame")


def merge_files(
    files: Sequence[Path],
    to: Path,
    *,
    align: Align = same_frame,
    layer_types: Sequence[type[Any]] = (),
    with_layers: bool = True,
    name: str | None = None,
    overwrite: bool = False,
) -> Merged:
    """Write the union of what several memory files hold to a new file, whole or not at all.

    Records keep both clocks and their provenance, links follow them, and what one of the memories has withdrawn,
    corrected or purged is so in the merged one. The order of the files does not matter, nor do files that were merged
    before. Layers are replayed from the frames of all, in the order of `merge.log.ordered`.

    Args:
        files: two or more; they are only read.
        to: the new file.
        align: how the frame of a file lies in that of an earlier one that it has nothing in common with.
        layer_types: classes of the layers, which are replayed here then, else when the file is opened.
        with_layers: False merges the records alone.
        name: uuid of the new memory; a new one if not given.
        overwrite: whether `to` may be there.

    Raises:
        InputError: if a file is damaged or missing, its layers cannot be replayed, or it cannot be aligned.
        OutputExistsError: if `to` exists and `overwrite` is not set.
    """
    if len(files) < 2:
        raise ValueError(f"it takes two files to merge, got {len(files)}")
    with contextlib.ExitStack() as held:
        part = held.enter_context(replacing(to, overwrite=overwrite))
        stores = [held.enter_context(RecordStore(file, read_only=True)) for file in files]
        logs = [read_log(store, with_layers=with_layers) for store in stores]
        links, told = _aligned(files, logs, align)
        log = union([*logs, links])
        write_log(part, log, name=name)
        _replay(part, to, layer_types)
    aligners = {op.origin.memory for op in log.operations.values() if op.kind == ALIGNMENT and op.source == SOURCE}
    return Merged(len(log.operations), len(log.vector.keys() - aligners), len(log.purged), tuple(told))


def _aligned(files: Sequence[Path], logs: Sequence[OperationLog], align: Align) -> tuple[OperationLog, list[str]]:
    """How the frames of the files hang together where nothing says so yet, and what was aligned."""
    links, told = OperationLog(), []
    known = [set(log.vector) for log in logs]
    for i, log in enumerate(logs[1:], start=1):
        if any(_hang_together(set(log.vector), set(other.vector), known) for other in logs[:i]):
            continue
        at, found = _first_that_fits(files[i], files[:i], align)
        names = (_root(log), _root(logs[files.index(at)]))
        _link(links, names, found, log)
        known.append(set(names))
        told.append(f"{files[i]} in {at}: {found.why}")
    return links, told


def _hang_together(a: set[str], b: set[str], known: Sequence[set[str]]) -> bool:
    """Whether the sets link two of them."""
    reached, n = set(a), -1
    while len(reached) > n:
        n = len(reached)
        reached |= set().union(*(each for each in known if each & reached))
    return bool(reached & b)


def _root(log: OperationLog) -> str:
    return root_of(list(log.operations.values()), log.same, log.vector)


def _first_that_fits(file: Path, earlier: Sequence[Path], align: Align) -> tuple[Path, Aligned]:
    refusals = []
    for each in earlier:
        try:
            return each, align(each, file)
        except InputError as error:
            refusals.append(f"in {each}: {error}")
    raise InputError(f"{file} was not found in the frame of another file ({'; '.join(refusals)})")


def _link(links: OperationLog, names: tuple[str, str], found: Aligned, log: OperationLog) -> None:
    """Note how the frame of the first of two memories lies in that of the second."""
    memory, to = names
    if np.array_equal(found.T_a_b, np.eye(4)):
        share_frame(links.same, {memory: min(names), to: min(names)})
        return
    author, stamp = str(uuid.uuid4()), max((op.t_event for op in log.operations.values()), default=0.0)
    record = alignment(memory, to, found.T_a_b, t_event=stamp, confidence=found.confidence, why=found.why)
    row = encode(record)
    row.id, row.t_ingest = 1, stamp
    links.operations[Origin(author, 1)] = operation(row, author, {}, {}, lambda: None)
    links.vector[author] = 1


def _replay(part: Path, to: Path, layer_types: Sequence[type[Any]]) -> None:
    """Bring the layers up to the end of the log, so that opening the file need not."""
    if not layer_types:
        return
    with contextlib.closing(sqlite3.connect(part, isolation_level=None)) as db:
        if not list_snapshots(db, "base"):
            return
        restored = restore_known(str(to), db, layer_types)
        db.execute("BEGIN")
        states = [layer.save() for layer in restored.layers]
        write_layers(db, states, restored.last_id, role="latest", frames=restored.checksum, settings=restored.settings)
        db.execute("COMMIT")
        db.execute("VACUUM")
