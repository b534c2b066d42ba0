"""The tables of a memory file, their versions, and what makes a file one of ours.

The log (records, vectors, blobs, entities, keys, links, and the layers of the role "base") is the truth; everything
else is derived from it. A file is untrusted input: its schema must be exactly ours (no views, triggers or virtual
tables that would run something).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import struct
import uuid
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from embmem.errors import FileVersionError, InputError, StoreError

APPLICATION_ID = 0x656D6265  # "embe": `file` and SQLite tools show whose database it is
VERSION = 2

_V1 = """
CREATE TABLE records (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, t_event REAL NOT NULL, t_ingest REAL NOT NULL, source TEXT NOT NULL,
    place TEXT, x REAL, y REAL, z REAL, pose BLOB, text TEXT NOT NULL, payload TEXT NOT NULL,
    confidence REAL NOT NULL, valid_from REAL NOT NULL, valid_to REAL NOT NULL
);
CREATE TABLE entities (name TEXT NOT NULL, record_id INTEGER NOT NULL, PRIMARY KEY (name, record_id)) WITHOUT ROWID;
CREATE INDEX records_by_time ON records (t_event);
CREATE INDEX entities_by_record ON entities (record_id);
CREATE TABLE layers (
    kind TEXT PRIMARY KEY, position INTEGER NOT NULL, version INTEGER NOT NULL, params TEXT NOT NULL,
    arrays BLOB NOT NULL
);
"""
LOG_TABLES = """
CREATE TABLE records (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, t_event REAL NOT NULL, t_ingest REAL NOT NULL,
    source TEXT NOT NULL, place TEXT, x REAL, y REAL, z REAL, pose BLOB, text TEXT NOT NULL, payload TEXT NOT NULL,
    confidence REAL NOT NULL, valid_from REAL NOT NULL, valid_to REAL NOT NULL, checksum INTEGER NOT NULL
);
CREATE TABLE vectors (record_id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE blobs (record_id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE entities (
    name TEXT NOT NULL, t_event REAL NOT NULL, record_id INTEGER NOT NULL, PRIMARY KEY (name, t_event, record_id)
) WITHOUT ROWID;
CREATE TABLE keys (
    key TEXT NOT NULL, t_event REAL NOT NULL, record_id INTEGER NOT NULL, PRIMARY KEY (key, t_event, record_id)
) WITHOUT ROWID;
CREATE TABLE links (
    record_id INTEGER NOT NULL, relation TEXT NOT NULL, target INTEGER NOT NULL,
    PRIMARY KEY (record_id, relation, target)
) WITHOUT ROWID;
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
DERIVED_TABLES = """
CREATE INDEX records_by_event ON records (t_event);
CREATE INDEX records_by_ingest ON records (t_ingest);
CREATE INDEX records_by_kind ON records (kind, t_event);
CREATE INDEX records_by_source ON records (source, t_event);
CREATE INDEX records_by_place ON records (place, t_event) WHERE place IS NOT NULL;
CREATE INDEX entities_by_record ON entities (record_id);
CREATE INDEX keys_by_record ON keys (record_id);
CREATE INDEX links_by_target ON links (target, relation);
CREATE VIRTUAL TABLE places USING rtree(id, x0, x1, y0, y1, z0, z1);
CREATE VIRTUAL TABLE texts USING fts5(text, names, content='', tokenize='porter unicode61 remove_diacritics 2');
CREATE INDEX links_that_amend ON links (record_id) WHERE relation IN ('withdraws', 'corrects');
CREATE TABLE hidden (record_id INTEGER NOT NULL, amendment INTEGER NOT NULL, PRIMARY KEY (record_id, amendment))
    WITHOUT ROWID;
CREATE INDEX hidden_by_amendment ON hidden (amendment);
CREATE TABLE uses (record_id INTEGER PRIMARY KEY, reads INTEGER NOT NULL, last REAL NOT NULL);
CREATE TABLE layers (
    role TEXT NOT NULL, kind TEXT NOT NULL, position INTEGER NOT NULL, version INTEGER NOT NULL, params TEXT NOT NULL,
    settings TEXT NOT NULL, covers INTEGER NOT NULL, frames INTEGER NOT NULL, size INTEGER NOT NULL,
    checksum INTEGER NOT NULL, PRIMARY KEY (role, kind)
);
CREATE TABLE layer_chunks (
    role TEXT NOT NULL, kind TEXT NOT NULL, number INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (role, kind, number)
);
"""


@runtime_checkable
class Connection(Protocol):
    """The part of `sqlite3.Connection` that the store uses, so that its file layer can be replaced."""

    def execute(self, sql: str, parameters: Any = (), /) -> Any:
        """A cursor over the rows."""

    def executemany(self, sql: str, parameters: Any, /) -> Any:
        """Run once for each set of parameters."""

    def close(self) -> None:
        """Release the file."""


def run_script(db: Connection, script: str) -> None:
    """Run statements one by one, inside the transaction that is open (`executescript` would commit it)."""
    for statement in script.split(";\n"):
        if statement.strip():
            db.execute(statement)


def prepare(path: str, db: Connection) -> None:
    """Make the tables of a new memory, or bring an older file to this version; one transaction.

    Raises:
        FileVersionError: if it is a database of somebody else, or was written by a newer embmem.
        InputError: if its tables are not those of its version.
        StoreError: if this Python's SQLite lacks full-text search or the R*Tree.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        if db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
            _create(db)
        else:
            version = check_header(path, db)
            if version < VERSION:
                _from_v1(db)
        db.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(Exception):
            db.execute("ROLLBACK")
        raise


def check_size(path: Path) -> None:
    """Refuse a file that lost its end: SQLite reads zeros where its last page is cut.

    A write-ahead log may hold pages that the file does not have yet; then SQLite alone can tell.

    Raises:
        InputError: if the file is shorter than its header says.
    """
    with path.open("rb") as file:
        header = file.read(100)
    if header and (len(header) < 100 or not header.startswith(b"SQLite format 3\0")):  # SQLite may start it anew
        raise InputError(f"{path} is damaged or not a memory file: it does not begin as a database does")
    log = path.with_name(path.name + "-wal")
    if not header or (log.is_file() and log.stat().st_size):
        return
    page_size, n_pages = struct.unpack(">H10xI", header[16:32])
    expected = (65536 if page_size == 1 else page_size) * n_pages
    if path.stat().st_size < expected:
        raise InputError(f"{path} is damaged: it has {path.stat().st_size} bytes and should have {expected}")


def check_header(path: str, db: Connection) -> int:
    """The version of a memory file, whose tables are those of that version.

    Raises:
        FileVersionError: if it is a database of somebody else, or was written by a newer embmem.
        InputError: if its tables are not those of its version.
    """
    application_id = db.execute("PRAGMA application_id").fetchone()[0]
    if application_id != APPLICATION_ID:
        raise FileVersionError(f"{path} is a database, but not a memory file (application id {application_id:#x})")
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if not 1 <= version <= VERSION:
        raise FileVersionError(f"{path} is of version {version}, this embmem reads up to {VERSION}; update embmem")
    if _schema(db) != _expected_schema(version):
        raise InputError(f"{path} does not have the tables of a version {version} memory file")
    return version


def is_older(path: Path) -> bool:
    """Whether a file says that it is a memory file of an older version; False for what is no database at all."""
    with path.open("rb") as file:
        header = file.read(100)
    if len(header) < 100 or struct.unpack(">I", header[68:72])[0] != APPLICATION_ID:
        return False
    return int(struct.unpack(">I", header[60:64])[0]) < VERSION


def _create(db: Connection) -> None:
    try:
        run_script(db, LOG_TABLES + DERIVED_TABLES)
    except sqlite3.OperationalError as error:
        if "no such module" not in str(error):
            raise
        raise StoreError(
            f"this Python's SQLite {sqlite3.sqlite_version} was built without what is needed: {error}"
        ) from error
    db.execute("INSERT INTO meta VALUES ('uuid', ?)", (str(uuid.uuid4()),))
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {VERSION}")


def _from_v1(db: Connection) -> None:
    """Version 1 had no vectors, blobs, keys, links, checksums or text index, and layers in one piece."""
    from embmem.store.rows import insert, rows_of_v1
    from embmem.store.snapshots import Snapshot, write_snapshot

    rows = rows_of_v1(db)
    layers = db.execute("SELECT kind, version, params, arrays FROM layers ORDER BY position").fetchall()
    for table in ("records", "entities", "layers"):
        db.execute(f"DROP TABLE {table}")
    _create(db)
    insert(db, rows)
    covers = rows[-1].id if rows else 0
    for position, (kind, version, params, arrays) in enumerate(layers):
        write_snapshot(db, Snapshot("base", kind, position, version, params, params, covers), arrays)


def _schema(db: Connection) -> set[tuple[str, str, str]]:
    rows = db.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master").fetchall()
    return {(kind, name, "".join(sql.split())) for kind, name, sql in rows if not name.startswith("sqlite_stat")}


def _expected_schema(version: int) -> set[tuple[str, str, str]]:
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        run_script(db, _V1 if version == 1 else LOG_TABLES + DERIVED_TABLES)
        return _schema(db)


def open_read_only(path: Path) -> sqlite3.Connection:
    """A connection that cannot change the file."""
    address = f"{path.resolve().as_uri()}?mode=ro"
    log = path.with_name(path.name + "-wal")
    if not os.access(path.parent, os.W_OK) and not log.exists():
        address += "&immutable=1"  # SQLite would make files beside it to share it; here nobody can write to it
    db = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute("PRAGMA query_only = ON")
    return db
