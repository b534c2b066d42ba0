"""The `.embmem` file: one SQLite database with the records and the state of every layer.

The file is untrusted input: its schema must be exactly ours (no views, triggers or virtual tables that would run
something), arrays are safetensors, parameters JSON, and a newer version is refused.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from embmem.errors import FileVersionError, InputError, OutputExistsError
from embmem.protocols import LayerState, Store
from embmem.records import Query
from embmem.store import SCHEMA, RecordStore

APPLICATION_ID = 0x656D6265  # "embe": `file` and SQLite tools show whose database it is
VERSION = 1
LAYERS_TABLE = (
    "CREATE TABLE layers (kind TEXT PRIMARY KEY, position INTEGER NOT NULL, version INTEGER NOT NULL, "
    "params TEXT NOT NULL, arrays BLOB NOT NULL)"
)


def write_memory_file(path: Path, store: Store, states: Sequence[LayerState], *, overwrite: bool = False) -> None:
    """Write the records and the layers to `path`, whole or not at all.

    Raises:
        OutputExistsError: if `path` exists and `overwrite` is not set.
        InputError: if the folder does not exist.
    """
    if path.exists() and (not overwrite or not path.is_file()):
        raise OutputExistsError(f"{path} exists; choose another name or set overwrite=true")
    if not path.parent.is_dir():
        raise InputError(f"{path.parent} is not a folder; create it first")
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    try:
        _write_part(part, store, states)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read_memory_file(path: Path, *, known: set[str]) -> tuple[RecordStore, list[LayerState]]:
    """The records, copied to RAM, and the states of the layers.

    Raises:
        InputError: if the file is missing or damaged, or a layer's kind is not in `known`.
        FileVersionError: if it is no memory file, or of a newer version.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file; build a memory first, e.g. with: embmem build")
    store = RecordStore()
    try:
        with contextlib.closing(_open_read_only(path)) as source:
            _check_header(path, source)
            source.backup(store.connection)
        states = list(_layer_states(path, store.connection))
    except sqlite3.DatabaseError as error:
        raise InputError(f"{path} is damaged or not a memory file: {error}") from error
    unknown = sorted({state.kind for state in states} - known)
    if unknown:
        raise InputError(f"{path} holds layers that are not known here: {unknown}")
    store.connection.execute("DROP TABLE layers")
    return store, states


def _write_part(part: Path, store: Store, states: Sequence[LayerState]) -> None:
    target = RecordStore(part)
    try:
        db = target.connection
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {VERSION}")
        records = store.read(Query(k=len(store)))
        target.write_all(replace(record, id=None) for record in sorted(records, key=lambda r: r.id or 0))
        db.execute(LAYERS_TABLE)
        for position, state in enumerate(states):
            # safetensors writes the buffer of a non-contiguous array as it lies, not as it reads.
            dense = {name: np.ascontiguousarray(array) for name, array in state.arrays.items()}
            row = (
                state.kind,
                position,
                state.version,
                json.dumps(state.params, allow_nan=False),
                save(dense),
            )
            db.execute("INSERT INTO layers VALUES (?, ?, ?, ?, ?)", row)
    finally:
        target.close()


def _open_read_only(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    db.execute("PRAGMA trusted_schema = OFF")
    return db


def _check_header(path: Path, db: sqlite3.Connection) -> None:
    application_id = db.execute("PRAGMA application_id").fetchone()[0]
    if application_id != APPLICATION_ID:
        raise FileVersionError(f"{path} is a database, but not a memory file (application id {application_id:#x})")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if not 1 <= version <= VERSION:
        raise FileVersionError(f"{path} is of version {version}, this embmem reads up to {VERSION}; update embmem")
    if _schema(db) != _expected_schema():
        raise InputError(f"{path} does not have the tables of a version {version} memory file")
    problem = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise InputError(f"{path} is damaged: {problem}")


def _schema(db: sqlite3.Connection) -> set[tuple[str, str, str]]:
    rows = db.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master").fetchall()
    return {(kind, name, " ".join(sql.split())) for kind, name, sql in rows}


def _expected_schema() -> set[tuple[str, str, str]]:
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        db.executescript(SCHEMA)
        db.execute(LAYERS_TABLE)
        return _schema(db)


def _layer_states(path: Path, db: sqlite3.Connection) -> Iterator[LayerState]:
    for kind, version, params, arrays in db.execute(
        "SELECT kind, version, params, arrays FROM layers ORDER BY position"
    ):
        try:
            state = LayerState(kind, version, json.loads(params), load(arrays))
        except (SafetensorError, ValueError, TypeError) as error:
            raise InputError(f"{path}: layer {kind!r} is damaged: {error}") from error
        if not isinstance(state.params, dict):
            raise InputError(f"{path}: the parameters of layer {kind!r} are not a JSON object")
        yield state
