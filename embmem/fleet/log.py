"""How the fleet's log grows: records go in one after the other, each exactly once.

Who writes locks the one row of `head`. The records of a memory (a robot's file, or a store object that writes to the
fleet directly) come in the order of their ids there, and `memories` keeps how far it has come: what was sent before is
known again. Nothing is ever overwritten.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from embmem.errors import InputError
from embmem.fleet import hidden
from embmem.fleet.rows import Outgoing, escaped, insert, unescaped
from embmem.fleet.server import Database
from embmem.records import Link
from embmem.store.rows import body_checksum

_HEAD = "SELECT last_id, last_ingest, extract(epoch FROM clock_timestamp())::float8, dim FROM head FOR UPDATE"
_GROW = """UPDATE head SET last_id = %s, last_ingest = %s, dim = %s, n_records = n_records + %s,
    n_documents = n_documents + %s, n_words = n_words + %s"""
_ORIGINS = """SELECT id, robot, uuid::text, local_id, t_local FROM origins JOIN memories ON number = memory
    WHERE id = ANY(%s::bigint[])"""


class Origin(NamedTuple):
    """Where a record of the fleet comes from."""

    robot: str
    memory: str  # uuid of the robot's memory, or of the `PostgresStore` that it was written through
    local_id: int  # in that memory
    t_ingest: float | None  # [s] when that memory took it in; None if it was written to the fleet directly


class Memory(NamedTuple):
    """What the fleet knows of a memory."""

    number: int
    last_local: int  # all up to this id was taken in
    witness: int | None  # checksum of that record there


def take(
    db: Database,
    memory: str,
    robot: str,
    rows: Sequence[Outgoing],
    *,
    gone: Mapping[int, tuple[int, ...]] | None = None,
    witness: int | None = None,
) -> list[int]:
    """Store what is new among rows of one memory, inside the transaction that is open; returns the ids of all rows.

    Args:
        db: where.
        memory: uuid of the memory that they come from.
        robot: whose it is.
        rows: ascending by `local_id`, with their words.
        gone: None if links hold ids of the fleet. If they hold ids of that memory: the targets whose records it no
            longer has, and what those were derived from, so that what is hidden can still be followed.
        witness: checksum, in that memory, of the last of the rows.

    Raises:
        InputError: if an embedding is of another length than the fleet's, or the memory is another robot's.
    """
    last_id, last_ingest, now, dim = db.execute(_HEAD).fetchone()
    known = known_memory(db, memory, robot) or _new_memory(db, memory, robot)
    new = [row for row in rows if row.local_id > known.last_local]
    if new:
        dim = _common_dim(dim, new)
        last_ingest = max(last_ingest, now)
        if gone is not None:
            new = _with_ids_of_the_fleet(db, known.number, new, gone, last_id)
        for i, row in enumerate(new, last_id + 1):
            row.id = i if gone is None else row.id
            row.t_ingest = last_ingest if row.t_given is None else row.t_given
        insert(db, new, known.number)
        _add_origins(db, known.number, [(row.id, row.local_id, row.t_local) for row in new])
        hidden.follow(db, new, last_id + 1)
        lengths = [sum(row.words.values()) for row in new if row.is_document]
        db.execute(_GROW, (new[-1].id, last_ingest, dim, len(new), len(lengths), sum(lengths)))
        sql = "UPDATE memories SET last_local = %s, witness = %s WHERE number = %s"
        db.execute(sql, (new[-1].local_id, witness, known.number))
    ids = _ids_of(db, known.number, [row.local_id for row in rows])
    return [ids[row.local_id] for row in rows]


def known_memory(db: Database, memory: str, robot: str) -> Memory | None:
    """What the fleet knows of a memory, if it knows it.

    Raises:
        InputError: if it belongs to another robot.
    """
    row = db.execute("SELECT number, last_local, witness, robot FROM memories WHERE uuid = %s", (memory,)).fetchone()
    if row is None:
        return None
    *known, owner = row
    if unescaped(owner) != robot:
        raise InputError(f"memory {memory} is that of robot {unescaped(owner)!r}, not of {robot!r}")
    return Memory(*known)


def _new_memory(db: Database, memory: str, robot: str) -> Memory:
    number = db.execute("SELECT coalesce(max(number), 0) + 1 FROM memories").fetchone()[0]
    db.execute("INSERT INTO memories VALUES (%s, %s, %s, 0, NULL)", (number, memory, escaped(robot)))
    return Memory(number, 0, None)


def origins_of(db: Database, ids: Sequence[int]) -> dict[int, Origin]:
    """Where these records come from, by id."""
    rows = db.execute(_ORIGINS, (list(ids),)).fetchall()
    return {i: Origin(unescaped(robot), memory, local, t) for i, robot, memory, local, t in rows}


def _common_dim(dim: int, rows: Sequence[Outgoing]) -> int:
    for row in rows:
        if row.vector is not None:
            dim = dim or len(row.vector) // 2
            if len(row.vector) != 2 * dim:
                raise InputError(f"this fleet has embeddings of {dim} numbers, got {len(row.vector) // 2}")
    return dim


def _with_ids_of_the_fleet(
    db: Database, number: int, rows: Sequence[Outgoing], gone: Mapping[int, tuple[int, ...]], last_id: int
) -> list[Outgoing]:
    """Rows with ids, whose links hold ids of the fleet.

    A target whose record the memory has forgotten before the fleet saw it gets an id without a record, just before the
    first record that links to it, so that ids do not depend on how the records are divided into batches.
    """
    targets = {link.to for row in rows for link in row.links} | {i for each in gone.values() for i in each}
    ids = _ids_of(db, number, targets | set(gone))
    absent: list[int] = []
    translated = []
    for row in rows:
        for i in _absent(row, gone, ids):
            absent.append(i)
            ids[i] = last_id = last_id + 1
        ids[row.local_id] = last_id = last_id + 1
        links = tuple(Link(relation, ids[to]) for relation, to in row.links)
        translated.append(replace(row, id=last_id, links=links))
        translated[-1].body_checksum = body_checksum(translated[-1])
    _add_origins(db, number, [(ids[i], i, None) for i in absent])
    with db.cursor() as cursor, cursor.copy("COPY links FROM STDIN") as copy:
        for i in absent:
            for parent in gone[i]:
                copy.write_row((ids[i], "from", ids[parent]))
    return translated


def _absent(row: Outgoing, gone: Mapping[int, tuple[int, ...]], ids: Mapping[int, int]) -> list[int]:
    """What the row links to and that was derived from, as far as neither side has it; ascending."""
    found: set[int] = set()
    waiting = [link.to for link in row.links]
    while waiting:
        i = waiting.pop()
        if i in gone and i not in ids and i not in found:
            found.add(i)
            waiting += gone[i]
    return sorted(found)


def _ids_of(db: Database, number: int, local_ids: Iterable[int]) -> dict[int, int]:
    sql = "SELECT local_id, id FROM origins WHERE memory = %s AND local_id = ANY(%s::bigint[])"
    return dict(db.execute(sql, (number, list(local_ids))).fetchall())


def _add_origins(db: Database, number: int, rows: Sequence[tuple[int, int, float | None]]) -> None:
    with db.cursor() as cursor, cursor.copy("COPY origins (id, memory, local_id, t_local) FROM STDIN") as copy:
        for record_id, local_id, t_local in rows:
            copy.write_row((record_id, number, local_id, t_local))
