"""The operations of a memory file, its own and those that were merged into it."""

from __future__ import annotations

import json
import sqlite3
from functools import partial
from typing import Any

from embmem.errors import InputError
from embmem.merge.frames import root_of
from embmem.merge.log import EmptyLayer, OperationLog, share_frame
from embmem.merge.operations import MERGED_FROM, Origin, checked_horizon, checked_origin, operation
from embmem.store import RecordStore
from embmem.store.audit import given_ids, read_all
from embmem.store.schema import Connection
from embmem.store.snapshots import list_snapshots, read_state

META = "merged"  # the row of `meta` of a merged file
FORMAT = 1
MAX_PURGED = 1 << 24  # records; what claims more is damaged
_ORIGINS = f"""SELECT id, json_extract(payload, '$.{MERGED_FROM}.memory'), json_extract(payload, '$.{MERGED_FROM}.seq')
    FROM records WHERE payload LIKE '%"{MERGED_FROM}"%' AND json_type(payload, '$.{MERGED_FROM}') IS NOT NULL"""
_LINEAGE = """SELECT record_id, target FROM links WHERE relation = 'from' AND record_id NOT IN (SELECT id FROM records)
    ORDER BY 1, 2"""


def read_log(store: RecordStore, *, with_layers: bool = True) -> OperationLog:
    """What the memory holds as operations; blobs are read again when they are needed, the store must stay open.

    Args:
        store: the memory.
        with_layers: False leaves out its layers, of which the past may be in no log.

    Raises:
        InputError: if anything in the file is damaged, or does not say where it comes from.
    """
    name, memory = str(store.path or ":memory:"), store.uuid
    try:
        with store.reading() as db:
            problem = db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if problem != "ok":
                raise InputError(f"it is damaged: {problem}")
            return _read(store, db, memory, with_layers=with_layers)
    except (InputError, sqlite3.DatabaseError) as error:
        raise InputError(f"{name} cannot be merged: {error}") from error


def _read(store: RecordStore, db: Connection, memory: str, *, with_layers: bool) -> OperationLog:
    log = OperationLog()
    absent = _read_meta(db, log)
    origins = {i: checked_origin(m, seq) for i, m, seq in db.execute(_ORIGINS)} | absent
    if len(set(origins.values())) < len(origins) or any(origin.memory == memory for origin in origins.values()):
        raise InputError("two of its records were merged from the same one")
    vector = dict(log.vector)
    for rows in read_all(db):
        if isinstance(rows, int) or any(found.row is None for found in rows):
            broken = rows if isinstance(rows, int) else next(found.id for found in rows if found.row is None)
            raise InputError(f"record {broken} is damaged; see: embmem recover")
        for found in rows:
            if found.row is not None:
                read_blob = partial(_read_blob, store, found.id)
                op = operation(found.row, memory, origins, vector, read_blob)
                log.operations[op.origin] = op
    for record_id, target in db.execute(_LINEAGE):
        origin = origins.get(record_id, Origin(memory, record_id))
        parent = origins.get(target, Origin(memory, target))
        log.lineage[origin] = log.lineage.get(origin, frozenset()) | {parent}
    own = max((o.seq for o in log.operations if o.memory == memory), default=0)
    is_merged = db.execute("SELECT 1 FROM meta WHERE name = ?", (META,)).fetchone() is not None
    if own or not is_merged:
        log.vector[memory] = given_ids(db)
    if own and is_merged:  # what is written into a merged file lies in its frame
        root = root_of(list(log.operations.values()), log.same, vector)
        share_frame(log.same, {memory: min(memory, root), root: min(memory, root)})
    if with_layers:
        _read_layers(str(store.path), db, log)
    return log


def _read_layers(name: str, db: Connection, log: OperationLog) -> None:
    for snapshot in list_snapshots(db, "base"):
        if snapshot.covers:
            raise InputError(
                f"its layer {snapshot.kind!r} holds frames that are in no log, so it cannot be replayed; merge without "
                "layers (layers=false), or memories that are kept by durable_memory within their disk budget"
            )
        try:
            json.loads(snapshot.settings)
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(f"the settings of its layer {snapshot.kind!r} are damaged: {error}") from error
        log.layers[snapshot.kind] = EmptyLayer(snapshot.position, snapshot.settings, read_state(name, db, snapshot))


def _read_meta(db: Connection, log: OperationLog) -> dict[int, Origin]:
    """Reads what a merged file says of itself into the log; returns the origins of ids without a record."""
    found = db.execute("SELECT value FROM meta WHERE name = ?", (META,)).fetchone()
    if found is None:
        return {}
    try:
        told = json.loads(found[0])
        if told["format"] != FORMAT:
            raise ValueError(f"its format is {told['format']!r}, this embmem reads {FORMAT}")
        log.vector = dict(checked_horizon(m, seq) for m, seq in told["vector"].items())
        ranges = [(m, int(first), int(last)) for m, some in told["purged"].items() for first, last in some]
        if sum(max(last - first, 0) for _, first, last in ranges) > MAX_PURGED:
            raise ValueError(f"more than {MAX_PURGED} purged records")
        log.purged = {checked_origin(m, seq) for m, first, last in ranges for seq in range(first, last + 1)}
        log.same = {checked_origin(m, 1).memory: checked_origin(first, 1).memory for m, first in told["same"].items()}
        if any(log.same.get(first) != first or first > m for m, first in log.same.items()):
            raise ValueError("memories share a frame with one that is not there")
        absent = {int(i): checked_origin(m, seq) for i, m, seq in told["absent"]}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise InputError(f"what it says of the memories in it is damaged: {error!r}") from error
    return absent


def meta_of(log: OperationLog, absent: dict[Origin, int]) -> str:
    """What a merged file says of itself."""
    ranges: dict[str, list[list[int]]] = {}
    for memory, seq in sorted(log.purged):
        mine = ranges.setdefault(memory, [])
        if mine and mine[-1][1] == seq - 1:
            mine[-1][1] = seq
        else:
            mine.append([seq, seq])
    told: dict[str, Any] = {
        "format": FORMAT, "vector": dict(sorted(log.vector.items())), "purged": ranges,
        "same": dict(sorted(log.same.items())), "absent": sorted([i, *origin] for origin, i in absent.items()),
    }  # fmt: skip
    return json.dumps(told)


def _read_blob(store: RecordStore, record_id: int) -> bytes | None:
    with store.reading() as db:
        row = db.execute("SELECT data FROM blobs WHERE record_id = ?", (record_id,)).fetchone()
    return None if row is None else bytes(row[0])
