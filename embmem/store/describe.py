"""What a memory file holds: counts, times, bytes and layers."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any

from embmem.store.schema import VERSION, Connection
from embmem.store.sqlite import RecordStore

_HIDDEN = "id IN (SELECT record_id FROM hidden)"
_COUNTED = ("vectors", "blobs", "links")
# Bytes of what lies in a table where SQLite was built without a table that tells its pages.
_ESTIMATES = {
    "records": """SELECT coalesce(sum(120 + length(kind) + length(source) + length(text) + length(payload)
        + coalesce(length(pose), 0)), 0) FROM records""",
    "vectors": "SELECT coalesce(sum(8 + length(data)), 0) FROM vectors",
    "blobs": "SELECT coalesce(sum(8 + length(data)), 0) FROM blobs",
    "entities": "SELECT coalesce(sum(24 + length(name)), 0) FROM entities",
    "keys": "SELECT coalesce(sum(24 + length(key)), 0) FROM keys",
    "links": "SELECT coalesce(sum(16 + length(relation)), 0) FROM links",
    "layers": "SELECT coalesce(sum(length(data)), 0) FROM layer_chunks",
}


@dataclass(frozen=True)
class Group:
    """Records that have a kind or a source in common."""

    n: int
    n_hidden: int
    first: float  # [s] event time
    last: float


@dataclass(frozen=True)
class LayerRow:
    """A layer in the file."""

    role: str  # "base" or "latest"
    kind: str
    version: int
    covers: int  # id of the last record that it knows
    size: int  # bytes before compression


@dataclass(frozen=True)
class Description:
    """A memory in figures."""

    uuid: str
    version: int
    n_records: int
    n_hidden: int
    last_id: int
    by_kind: dict[str, Group]
    by_source: dict[str, Group]
    event: tuple[float, float] | None  # [s] first and last
    ingest: tuple[float, float] | None
    n_entities: int  # different names
    n_keys: int
    counts: dict[str, int]  # records with a vector or a blob; links
    dim: int  # of the embeddings; 0 if there are none
    layers: tuple[LayerRow, ...]
    file_bytes: int  # with the write-ahead log; 0 in RAM
    table_bytes: dict[str, int]  # with their indexes, largest first
    is_estimate: bool  # of `table_bytes`


def describe(store: RecordStore) -> Description:
    """Everything about a memory that takes a scan, but no look at what its records say.

    Raises:
        StoreError: if the store is closed or cannot be read.
    """
    with store.reading() as db:
        n, event0, event1, ingest0, ingest1 = db.execute(
            "SELECT count(*), min(t_event), max(t_event), min(t_ingest), max(t_ingest) FROM records"
        ).fetchone()
        row = db.execute("SELECT length(data) / 2 FROM vectors LIMIT 1").fetchone()
        table_bytes, is_estimate = _table_bytes(db)
        layers = db.execute("SELECT role, kind, version, covers, size FROM layers ORDER BY role, position").fetchall()
        return Description(
            uuid=store.uuid, version=VERSION, n_records=n, last_id=store.last_id,
            n_hidden=_one(db, f"SELECT count(*) FROM records WHERE {_HIDDEN}"),
            by_kind=_groups(db, "kind"), by_source=_groups(db, "source"),
            event=(event0, event1) if n else None, ingest=(ingest0, ingest1) if n else None,
            n_entities=_one(db, "SELECT count(DISTINCT name) FROM entities"),
            n_keys=_one(db, "SELECT count(DISTINCT key) FROM keys"),
            counts={table: _one(db, f"SELECT count(*) FROM {table}") for table in _COUNTED},
            dim=row[0] if row else 0, layers=tuple(LayerRow(*row) for row in layers),
            file_bytes=_file_bytes(store), table_bytes=table_bytes, is_estimate=is_estimate,
        )  # fmt: skip


def _one(db: Connection, sql: str) -> int:
    return int(db.execute(sql).fetchone()[0])


def _groups(db: Connection, column: str) -> dict[str, Group]:
    """Most records first."""
    sql = f"""SELECT {column}, count(*), sum({_HIDDEN}), min(t_event), max(t_event) FROM records
        GROUP BY 1 ORDER BY 2 DESC, 1"""
    return {name: Group(*row) for name, *row in db.execute(sql)}


def _file_bytes(store: RecordStore) -> int:
    if store.path is None:
        return 0
    files = (store.path, store.path.with_name(store.path.name + "-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


def _table_bytes(db: Connection) -> tuple[dict[str, int], bool]:
    """Bytes by table, and whether they are an estimate."""
    try:
        pages: list[Any] = db.execute("SELECT name, pgsize FROM dbstat WHERE aggregate = TRUE").fetchall()
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):
            raise
        found = {table: _one(db, sql) for table, sql in _ESTIMATES.items()}
        return dict(sorted(found.items(), key=lambda item: -item[1])), True
    owners = dict(db.execute("SELECT name, tbl_name FROM sqlite_master"))
    sizes: dict[str, int] = {}
    for name, size in pages:
        table = owners.get(name, name)
        whole = table if table in ("layer_chunks", "sqlite_schema") else table.partition("_")[0]
        sizes[whole] = sizes.get(whole, 0) + size
    return dict(sorted(sizes.items(), key=lambda item: -item[1])), False
