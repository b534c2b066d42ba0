"""Rows of the log as they lie in a file that may be damaged, beside the checksums that they were written with."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from embmem.records import Link
from embmem.store.rows import COLUMNS, Row, body_checksum
from embmem.store.schema import Connection

STEP = 500  # ids that are read at once
Progress = Callable[[int, int], None]  # how much is done, of how much


class Found(NamedTuple):
    """A row and the checksum that stands beside it."""

    row: Row
    stored: Any

    @property
    def is_sound(self) -> bool:
        """True if everything that the record says is what was written."""
        try:
            return bool(self.row.checksum == self.stored)
        except (TypeError, ValueError, struct.error):  # a column holds what it cannot hold
            return False


def make_row(facts: tuple[Any, ...], parts: dict[str, Any]) -> Found:
    """A row from the columns of `records`, checksum last, and what the other tables say of it ("vector", ...)."""
    record_id, kind, t_event, t_ingest, *rest, stored = facts
    row = Row(
        (kind, t_event, *rest), tuple(parts.get("entities", ())), tuple(parts.get("keys", ())),
        tuple(parts.get("links", ())), parts.get("vector"), parts.get("blob"), 0, t_ingest, record_id,
    )  # fmt: skip
    try:
        row.body_checksum = body_checksum(row)
    except (TypeError, ValueError):
        return Found(row, None)
    return Found(row, stored)


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
        sqlite3.DatabaseError: if not even the highest id can be told.
    """
    highest = last_id(db)
    for low in range(1, highest + 1, STEP):
        high = min(low + STEP - 1, highest)
        yield from _read_around_damage(db, low, high)
        if progress is not None:
            progress(high, highest)


def last_id(db: Connection) -> int:
    """The highest id that was ever given."""
    given = 0
    problems = []
    for sql in (
        "SELECT seq FROM sqlite_sequence WHERE name = 'records'",
        "SELECT coalesce(max(id), 0) FROM records",
    ):
        try:
            row = db.execute(sql).fetchone()
            given = max(given, int(row[0]) if row else 0)
        except (sqlite3.DatabaseError, ValueError, TypeError) as error:
            problems.append(error)
    if len(problems) == 2:
        raise sqlite3.DatabaseError(str(problems[0]))
    return min(given, (1 << 62))


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
