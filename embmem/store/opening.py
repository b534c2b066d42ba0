"""Opening the database of a store."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from embmem.errors import InputError
from embmem.store.schema import Connection, check_header, prepare


def connect_file(path: Path) -> Connection:
    """A connection that may write."""
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)


def open_to_write(path: str, connect: Callable[[Path], Connection], copy_of: sqlite3.Connection | None) -> Connection:
    """A connection that may write to a file of this version, made or brought up to date if need be."""
    with damage_named(path):
        db = connect(Path(path))
        try:
            if copy_of is not None and isinstance(db, sqlite3.Connection):
                copy_of.backup(db)
            db.execute("PRAGMA trusted_schema = OFF")
            if db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                check_header(path, db)  # before anything in a foreign file is changed
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            prepare(path, db)
        except BaseException:
            db.close()
            raise
    return db


def counters(db: Connection) -> tuple[int, int, float]:
    """Length of the embeddings (0 = none yet), the next id and the latest ingest time."""
    row = db.execute("SELECT length(data) FROM vectors LIMIT 1").fetchone()
    dim = row[0] // 2 if row else 0
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'records'").fetchone()
    latest = db.execute("SELECT max(t_ingest) FROM records").fetchone()[0]
    if not isinstance(latest, float | None) or not isinstance(row[0] if row else 0, int):
        raise sqlite3.DataError(f"the last id is {row[0]!r} and the last ingest time {latest!r}")
    return dim, 1 + (row[0] if row else 0), -np.inf if latest is None else latest


@contextlib.contextmanager
def damage_named(path: str) -> Iterator[None]:
    """SQLite's complaint as ours, with the file's name."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise InputError(f"{path} is damaged or not a memory file: {error}") from error
