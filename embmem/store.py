"""The record store: append-only, in one SQLite database, in RAM or in a file."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from embmem.records import Query, Record

SCHEMA = """
CREATE TABLE records (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, t_event REAL NOT NULL, t_ingest REAL NOT NULL, source TEXT NOT NULL,
    place TEXT, x REAL, y REAL, z REAL, pose BLOB, text TEXT NOT NULL, payload TEXT NOT NULL,
    confidence REAL NOT NULL, valid_from REAL NOT NULL, valid_to REAL NOT NULL
);
CREATE TABLE entities (name TEXT NOT NULL, record_id INTEGER NOT NULL, PRIMARY KEY (name, record_id)) WITHOUT ROWID;
CREATE INDEX records_by_time ON records (t_event);
CREATE INDEX entities_by_record ON entities (record_id);
"""
INSERT = "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
# Ascending by time of writing; a query on any of the fields that are set, NULL where not.
SELECT = """
SELECT id, kind, t_event, t_ingest, source, place, pose, text, payload, confidence, valid_from, valid_to FROM records
WHERE t_event >= :since AND t_event < :until
  AND (:kind IS NULL OR kind = :kind) AND (:place IS NULL OR place = :place)
  AND (:entity IS NULL OR id IN (SELECT record_id FROM entities WHERE name = :entity))
  AND (:x IS NULL OR (x - :x) * (x - :x) + (y - :y) * (y - :y) + (z - :z) * (z - :z) <= :radius * :radius)
ORDER BY t_event DESC, id DESC LIMIT :k
"""


class RecordStore:
    """Records in SQLite.

    Args:
        path: a file, created if missing, or ":memory:".
        clock: gives `t_ingest` [s] to records that have none.
    """

    def __init__(self, path: str | Path = ":memory:", *, clock: Callable[[], float] = time.time) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._clock = clock
        self._db.execute("PRAGMA synchronous = FULL")
        if not self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'records'").fetchone():
            self._db.executescript(SCHEMA)

    @property
    def connection(self) -> sqlite3.Connection:
        """The open database, for saving it together with the layers."""
        return self._db

    def write(self, record: Record) -> int:
        """The id given to the record; it is stored when this returns.

        Raises:
            ValueError: if the record already has an id, or a stamp or pose that is not finite.
        """
        return self.write_all([record])[0]

    def write_all(self, records: Iterable[Record]) -> list[int]:
        """The ids given to the records, which are stored together or not at all."""
        self._db.execute("BEGIN")
        try:
            ids = [self._insert(record) for record in records]
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        return ids

    def read(self, query: Query) -> list[Record]:
        """At most `query.k` records that match every set field, newest event first; ties newest id first.

        Records are not embedded: a query by `text` or `embedding` has no answer here.
        """
        if query.text is not None or query.embedding is not None:
            return []
        x, y, z = (None, None, None) if query.near is None else (float(v) for v in query.near)
        values = {
            "since": query.since, "until": query.until, "kind": query.kind, "place": query.place,
            "entity": query.entity, "x": x, "y": y, "z": z, "radius": query.radius, "k": query.k,
        }  # fmt: skip
        rows = self._db.execute(SELECT, values).fetchall()
        names = self._entities([row[0] for row in rows])
        return [_record(row, names.get(row[0], ())) for row in rows]

    def __len__(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM records").fetchone()[0])

    def close(self) -> None:
        """Release the file."""
        self._db.close()

    def _insert(self, record: Record) -> int:
        if record.id is not None:
            raise ValueError(f"record {record.id} is stored already; the store gives ids")
        if not np.isfinite(record.t_event):
            raise ValueError(f"t_event must be finite, got {record.t_event}")
        position: tuple[float | None, ...] = (None, None, None)
        pose = None
        if record.T_map_obs is not None:
            T = np.ascontiguousarray(record.T_map_obs, dtype="<f8")
            if T.shape != (4, 4) or not np.isfinite(T).all():
                raise ValueError(f"T_map_obs must be a finite (4, 4) matrix, got {T}")
            position, pose = tuple(T[:3, 3].tolist()), T.tobytes()
        t_ingest = self._clock() if record.t_ingest is None else record.t_ingest
        payload = json.dumps(record.payload, allow_nan=False)
        row = (None, record.kind, record.t_event, t_ingest, record.source, record.place, *position, pose)
        cursor = self._db.execute(INSERT, (*row, record.text, payload, record.confidence, *record.valid))
        record_id = int(cursor.lastrowid or 0)
        pairs = [(record_id, name) for name in dict.fromkeys(record.entities)]
        self._db.executemany("INSERT INTO entities (record_id, name) VALUES (?, ?)", pairs)
        return record_id

    def _entities(self, ids: list[int]) -> dict[int, tuple[str, ...]]:
        found: dict[int, tuple[str, ...]] = {}
        asked = json.dumps(ids)
        sql = (
            "SELECT record_id, name FROM entities WHERE record_id IN (SELECT value FROM json_each(?)) "
            "ORDER BY record_id, name"
        )
        for record_id, name in self._db.execute(sql, (asked,)):
            found[record_id] = (*found.get(record_id, ()), name)
        return found


def _record(row: tuple[Any, ...], entities: tuple[str, ...]) -> Record:
    record_id, kind, t_event, t_ingest, source, place, pose, text, payload, confidence, start, end = row
    return Record(
        kind=kind, t_event=t_event, source=source, id=record_id, t_ingest=t_ingest, place=place,
        T_map_obs=None if pose is None else np.frombuffer(pose, dtype="<f8").reshape(4, 4),
        entities=entities, text=text, payload=json.loads(payload), confidence=confidence, valid=(start, end),
    )  # fmt: skip
