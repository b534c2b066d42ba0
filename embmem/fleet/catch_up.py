"""Offline robots catch up: what a robot's file holds and the fleet does not is sent, in order."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

from embmem.errors import InputError
from embmem.fleet.log import known_memory, take
from embmem.fleet.postgres import PostgresStore
from embmem.fleet.rows import Outgoing, add_words, outgoing
from embmem.store import RecordStore
from embmem.store.rows import select_records
from embmem.store.schema import Connection

# Targets of links whose records are gone, and what is known of what those were derived from.
_GONE = """WITH RECURSIVE gone(id) AS (
    SELECT target FROM links WHERE record_id IN (SELECT value FROM json_each(:ids))
        AND target NOT IN (SELECT id FROM records)
    UNION
    SELECT target FROM links JOIN gone ON record_id = gone.id
        WHERE relation = 'from' AND target NOT IN (SELECT id FROM records)
) SELECT gone.id, target FROM gone LEFT JOIN links ON record_id = gone.id AND relation = 'from' ORDER BY 1, 2"""


def catch_up(
    local: RecordStore,
    fleet: PostgresStore,
    *,
    batch: int = 1000,
    on_progress: Callable[[int, int], None] | None = None,
) -> int:
    """Send the fleet what a robot's memory has taken in since the last time; returns how many records went.

    They keep their event times, what the robot believed when (`origins` has the local ingest times) and their links,
    translated to the fleet's ids; the fleet takes them in now, by its own clock. Each batch is one transaction that
    also notes how far this memory has come: it may be stopped at any point and run again, also twice at once, and
    nothing is sent twice or left out. What either side has removed is not sent again and not removed on the other.

    Args:
        local: the robot's memory.
        fleet: where its records go, under the fleet object's robot.
        batch: records a transaction.
        on_progress: told (records sent, records to send) after each batch.

    Raises:
        InputError: if the memory is another robot's, has embeddings of another length than the fleet's, or is not the
            one that was sent before but a copy that has gone its own way.
        StoreError: if the server is away; what was sent until then is there.
    """
    if batch < 1:
        raise ValueError(f"batch must be at least 1, got {batch}")
    memory, n_sent = local.uuid, 0
    position = _position(local, fleet, memory)
    with local.reading() as db:
        n_all = int(db.execute("SELECT count(*) FROM records WHERE id > ?", (position,)).fetchone()[0])
    while True:
        rows, gone, witness = _next(local, position, batch)
        if not rows:
            return n_sent
        add_words(rows)
        with fleet.changing() as db:
            take(db, memory, fleet.robot, rows, gone=gone, witness=witness)
        position, n_sent = rows[-1].local_id, n_sent + len(rows)
        if on_progress is not None:
            on_progress(n_sent, max(n_all, n_sent))


def _position(local: RecordStore, fleet: PostgresStore, memory: str) -> int:
    """The last id of the memory that the fleet has."""
    with fleet.reading() as db:
        known = known_memory(db, memory, fleet.robot)
    if known is None:
        return 0
    _, position, witness = known
    with local.reading() as db:
        own = db.execute("SELECT checksum FROM records WHERE id = ?", (position,)).fetchone()
        last = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'records'").fetchone()
    if (own is not None and own[0] != witness) or last is None or last[0] < position:
        raise InputError(
            f"memory {memory} is not the one that the fleet knows up to record {position}: an older copy of it was"
            " written to; go on with the newer copy"
        )
    return position


def _next(
    local: RecordStore, position: int, batch: int
) -> tuple[list[Outgoing], dict[int, tuple[int, ...]], int | None]:
    """Records after a position as rows, the targets of their links that are gone, and the checksum of the last."""
    with local.reading() as db:
        sql = "SELECT id, checksum FROM records WHERE id > ? ORDER BY id LIMIT ?"
        found = db.execute(sql, (position, batch)).fetchall()
        ids = [row[0] for row in found]
        records = select_records(db, ids)
        gone = _gone(db, ids)
    rows = []
    for record in records:
        row = outgoing(replace(record, id=None, t_ingest=None))
        row.local_id, row.t_local = record.id or 0, record.t_ingest
        rows.append(row)
    return rows, gone, found[-1][1] if found else None


def _gone(db: Connection, ids: list[int]) -> dict[int, tuple[int, ...]]:
    gone: dict[int, tuple[int, ...]] = {}
    for record_id, parent in db.execute(_GONE, {"ids": json.dumps(ids)}):
        gone[record_id] = (*gone.get(record_id, ()), *([] if parent is None else [parent]))
    return gone
