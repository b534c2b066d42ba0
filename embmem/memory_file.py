"""The `.embmem` file of a whole memory: the record store's database with the state of every layer in it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from embmem.errors import InputError
from embmem.protocols import Layer, LayerState, Store
from embmem.records import Query
from embmem.replay.restoring import restore_known
from embmem.store import RecordStore
from embmem.store.maintenance import replacing
from embmem.store.schema import check_header, check_size, open_read_only
from embmem.store.snapshots import write_layers


def write_memory_file(path: Path, store: Store, states: Sequence[LayerState], *, overwrite: bool = False) -> None:
    """Write the records and the layers to `path`, whole or not at all.

    Raises:
        OutputExistsError: if `path` exists and `overwrite` is not set.
        InputError: if the folder does not exist.
        StoreBusyError: if somebody writes to the memory at `path`.
    """
    with replacing(path, overwrite=overwrite) as part:
        _write_part(part, store, states)


def read_memory_file(path: Path, layer_types: Sequence[type[Any]]) -> tuple[RecordStore, list[Layer]]:
    """The records, copied to RAM, and the layers with all that was logged for them.

    Raises:
        InputError: if the file is missing or damaged, or a layer is none of `layer_types`.
        FileVersionError: if it is no memory file, or of a newer version.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file; build a memory first, e.g. with: embmem build")
    try:
        with contextlib.closing(open_read_only(path)) as source:
            check_size(path)
            check_header(str(path), source)
            problem = source.execute("PRAGMA quick_check(1)").fetchone()[0]
            if problem != "ok":
                raise InputError(f"{path} is damaged: {problem}")
            store = RecordStore(copy_of=source)
    except sqlite3.DatabaseError as error:
        raise InputError(f"{path} is damaged or not a memory file: {error}") from error
    with store.changing() as db:
        layers = restore_known(str(path), db, layer_types).layers
        write_layers(db, [], 0)
    return store, layers


def _write_part(part: Path, store: Store, states: Sequence[LayerState]) -> None:
    if isinstance(store, RecordStore):
        store.copy_to(part)
    else:
        with RecordStore(part) as target:
            records = sorted(store.read(Query(k=len(store), with_hidden=True)), key=lambda r: r.id or 0)
            target.write_all(replace(record, id=None) for record in records)
    with contextlib.closing(sqlite3.connect(part, isolation_level=None)) as db:
        db.execute("BEGIN")
        write_layers(db, states, covers=db.execute("SELECT coalesce(max(id), 0) FROM records").fetchone()[0])
        db.execute("COMMIT")
