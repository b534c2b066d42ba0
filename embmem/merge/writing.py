"""A merged memory as a file."""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path

from embmem.errors import InputError
from embmem.merge.frames import placements
from embmem.merge.log import OperationLog, ordered
from embmem.merge.operations import Operation, Origin, Placed, row_of
from embmem.merge.reading import META, meta_of
from embmem.store import hidden
from embmem.store.rows import Row, body_checksum, insert
from embmem.store.schema import prepare
from embmem.store.snapshots import write_layers

BATCH = 200  # records whose blobs are in RAM at once


def write_log(path: Path, log: OperationLog, *, name: str | None = None) -> None:
    """Write the operations to a new memory file, in their one order.

    Two files of equal logs and names are equal to the byte.

    Args:
        path: where there is no file.
        log: what several memories wrote.
        name: uuid of the new memory; a new one if not given.

    Raises:
        InputError: if the records do not fit together (embeddings of different lengths, links in a circle).
    """
    ops = ordered(log)
    _check_embeddings(ops)
    placed = placements(ops, log.same)
    ids, absent = _numbered(log, ops)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = OFF")  # who makes a new file syncs it when it is whole
        prepare(str(path), db)
        db.execute("BEGIN")
        db.execute("UPDATE meta SET value = ? WHERE name = 'uuid'", (name or str(uuid.uuid4()),))
        db.execute("INSERT INTO meta VALUES (?, ?)", (META, meta_of(log, absent)))
        for start in range(0, len(ops), BATCH):
            insert(db, [_row(op, ids, placed.get(op.origin)) for op in ops[start : start + BATCH]])
        lineage = [(ids[origin], ids[parent]) for origin in log.lineage for parent in log.lineage[origin]]
        db.executemany("INSERT INTO links VALUES (?, 'from', ?)", sorted(lineage))
        db.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'records'", (len(ids),))
        hidden.rebuild(db)
        layers = sorted(log.layers.values(), key=lambda layer: (layer.position, layer.state.kind))
        settings = {layer.state.kind: layer.settings for layer in layers}
        write_layers(db, [layer.state for layer in layers], 0, settings=settings)
        db.execute("COMMIT")
        db.execute("VACUUM")


def _numbered(log: OperationLog, ops: Sequence[Operation]) -> tuple[dict[Origin, int], dict[Origin, int]]:
    """(ids of all, those of them that have no record); what is linked to comes before what links to it."""
    ids: dict[Origin, int] = {}
    absent: dict[Origin, int] = {}

    def number(origins: Iterable[Origin]) -> None:
        found: set[Origin] = set()
        waiting = list(origins)
        while waiting:
            origin = waiting.pop()
            if origin not in ids and origin not in log.operations and origin not in found:
                found.add(origin)
                waiting += log.lineage.get(origin, ())
        for origin in sorted(found):
            ids[origin] = absent[origin] = len(ids) + 1

    for op in ops:
        if op.links:
            number(to for _, to in op.links)
        ids[op.origin] = len(ids) + 1
    number(log.lineage)
    return ids, absent


def _row(op: Operation, ids: dict[Origin, int], placed: Placed | None) -> Row:
    row = row_of(op, ids[op.origin], ids, placed)
    row.blob = op.read_blob() if op.blob_digest is not None else None
    if op.blob_digest is not None and row.blob is None:
        raise InputError(f"record {op.origin.seq} of memory {op.origin.memory} was removed meanwhile; merge again")
    row.body_checksum = body_checksum(row)
    return row


def _check_embeddings(ops: Sequence[Operation]) -> None:
    lengths = sorted({len(op.vector) // 2 for op in ops if op.vector is not None})
    if len(lengths) > 1:
        raise InputError(f"the memories have embeddings of {lengths} numbers; a memory has one length")
