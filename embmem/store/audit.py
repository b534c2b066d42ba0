"""Rows of the log as they lie in a file that may be damaged, beside the checksums that they were written with."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from embmem.records import Link
from embmem.store.rows import COLUMNS, Row, body_checksum
from embmem.store.schema import Connection

STEP = 500  # ids that are read at once
MAX_UNREADABLE = 100_000  # ids that are told one by one
# Types of the columns that are never NULL: id, kind, t_event, t_ingest, source, text, payload ... checksum.
_COLUMNS = {0: int, 1: str, 2: float, 3: float, 4: str, 10: str, 11: str, 12: float, 13: float, 14: float, 15: int}
Progress = Callable[[int, int], None]  # how much is done, of how much


class Found(NamedTuple):
    """What stands in the file for an id; `row` if everything it says is what was written, as the checksum tells."""

    id: int
    row: Row | None


def make_row(facts: tuple[Any, ...], parts: dict[str, Any]) -> Found:
    """A row from the columns of `records`, checksum last, and what the other tables say of it ("vector", ...)."""
    record_id, kind, t_event, t_ingest, *rest, stored = facts
    if not _fits(facts, parts):
        return Found(record_id, None)
    row = Row(
        (kind, t_event, *rest), tuple(parts.get("entities", ())), tuple(parts.get("keys", ())),
        tuple(parts.get("links", ())), parts.get("vector"), parts.get("blob"), 0, t_ingest, record_id,
    )  # fmt: skip
    row.body_checksum = body_checksum(row)
    return Found(record_id, row if row.checksum == stored else None)


def _fits(facts: tuple[Any, ...], parts: dict[str, Any]) -> bool:
    """False if a column holds what it cannot hold: SQLite takes anything anywhere."""
    place, x, y, z, pose = facts[5:10]
    optional = ((place, str), (x, float), (y, float), (z, float), (pose, bytes))
    return (
        [type(facts[i]) for i in _COLUMNS] == list(_COLUMNS.values())
        and all(value is None or type(value) is kind for value, kind in optional)
        and all(type(name) is str for name in (*parts.get("entities", ()), *parts.get("keys", ())))
        and all(type(relation) is str and type(to) is int for relation, to in parts.get("links", ()))
        and all(type(parts.get(name)) in (bytes, type(None)) for name in ("vector", "blob"))
    )


def read_rows(db: Connection, low: int, high: int) -> list[Found]:
    """The rows of the ids from `low` to `high`, ascending."""
    between, asked = "BETWEEN ? AND ?", (low, high)
    parts: dict[int, dict[str, Any]] = {}
    facts = db.execute(f"SELECT {COLUMNS}, checksum FROM records WHERE id {between} ORDER BY id", asked).fetchall()
    for name, table in (("vector", "vectors"), ("blob", "blobs")):
        for record_id, data in db.execute(f"SELECT record_id, data FROM {table} WHERE record_id {between}", asked):
            parts.setdefault(record_id, {})[name] = data
    for table, column in (("entities", "name"), ("keys", "key")):
        sql = f"SELECT record_id, {column} FROM {table} WHERE record_id {between} ORDER BY 1, 2"
        for record_id, name in db.execute(sql, asked):
            parts.setdefault(record_id, {}).setdefault(table, []).append(name)
    sql = f"SELECT record_id, relation, target FROM links WHERE record_id {between} ORDER BY 1, 2, 3"
    for record_id, relation, target in db.execute(sql, asked):
        parts.setdefault(record_id, {}).setdefault("links", []).append(Link(relation, target))
    return [make_row(row, parts.get(row[0], {})) for row in facts]


def read_all(db: Connection, progress: Progress | None = None) -> Iterator[list[Found] | int]:
    """Every row that can be read, in lists, and between them each id at which the file cannot be read.

    Raises:
        sqlite3.DatabaseError: if not even the highest id can be told, or too much cannot be read.
    """
    highest, low, n_unreadable = last_id(db), 1, 0
    while low <= highest:
        try:
            sql = "SELECT id FROM records WHERE id >= ? ORDER BY id LIMIT 1 OFFSET ?"
            beyond = db.execute(sql, (low, STEP)).fetchone()
            high = highest if beyond is None else beyond[0] - 1
        except sqlite3.DatabaseError:
            high = min(low + STEP - 1, highest)
        for part in _read_around_damage(db, low, high):
            n_unreadable += isinstance(part, int)
            if n_unreadable > MAX_UNREADABLE:
                raise sqlite3.DatabaseError(
                    f"more than {MAX_UNREADABLE} ids cannot be read, {part} is the last of them"
                )
            yield part
        low = high + 1
        if progress is not None:
            progress(high, highest)


def last_id(db: Connection) -> int:
    """The highest id in the log; if the log cannot tell, the highest that was given.

    Raises:
        sqlite3.DatabaseError: if neither can be read.
    """
    try:
        found = db.execute("SELECT coalesce(max(id), 0) FROM records").fetchone()[0]
    except sqlite3.DatabaseError:
        found = given_ids(db)
        if not found:
            raise
    return int(found)


def given_ids(db: Connection) -> int:
    """The highest id that was ever given, 0 if the file does not tell."""
    with contextlib.suppress(sqlite3.DatabaseError):
        row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'records'").fetchone()
        if row is not None and type(row[0]) is int:
            return int(row[0])
    return 0


def _read_around_damage(db: Connection, low: int, high: int) -> Iterator[list[Found] | int]:
    """Halve a range until what cannot be read stands alone."""
    try:
        yield read_rows(db, low, high)
    except sqlite3.DatabaseError:
        if low == high:
            yield low
            return
        middle = (low + high) // 2
        yield from _read_around_damage(db, low, middle)
        yield from _read_around_damage(db, middle + 1, high)


def names_of(parts: list[str]) -> str:
    """For a message: the first few, and how many more."""
    return ", ".join(parts[:10]) + (f" and {len(parts) - 10} more" if len(parts) > 10 else "")
