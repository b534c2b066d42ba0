"""Layers in a memory file, compressed, with the log position that they cover.

A layer of the role "base" is part of the truth: it stands for what is not in the log. One of the role "latest" is
derived from the base and the log.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from embmem.errors import InputError
from embmem.protocols import LayerState
from embmem.store.schema import Connection

CHUNK = 4 << 20  # bytes before compression; SQLite holds a chunk in RAM while it writes it
MAX_SIZE = 64 << 30  # bytes of one layer


class Snapshot(NamedTuple):
    """The row of a layer, without size and checksum."""

    role: str  # "base" or "latest"
    kind: str
    position: int  # among the layers
    version: int
    params: str  # JSON
    settings: str  # JSON, the parameters that the layer had when it was empty
    covers: int  # id of the last record that it knows
    frames: int = 0  # checksum of the ids of the observations after the base that are in it


def write_layers(
    db: Connection,
    states: Sequence[LayerState],
    covers: int,
    *,
    role: str = "base",
    frames: int = 0,
    settings: Mapping[str, str] | None = None,
) -> None:
    """Put these layers in the place of those of that role, inside the transaction that is open.

    The base is truth: it holds what the log does not, or no longer. What was derived from it and the log ("latest")
    goes with the old base.

    Args:
        db: where to.
        states: the layers.
        covers: id of the last record that they know.
        role: "base" or "latest".
        frames: checksum of the ids of the observations after the base that are in them.
        settings: parameters of the empty layers by kind, as JSON; those of `states` if not given.
    """
    for table in ("layers", "layer_chunks"):
        db.execute(f"DELETE FROM {table} WHERE role IN (?, 'latest')", (role,))
    for position, state in enumerate(states):
        params = json.dumps(state.params, allow_nan=False)
        begun = params if settings is None else settings[state.kind]
        snapshot = Snapshot(role, state.kind, position, state.version, params, begun, covers, frames)
        write_snapshot(db, snapshot, _arrays(state))


def holds(db: Connection, states: Sequence[LayerState], role: str) -> bool:
    """Whether the layers of a role are these, by their checksums."""
    saved = {row[0]: row[1:] for row in db.execute(
        "SELECT kind, version, params, size, checksum FROM layers WHERE role = ?", (role,)
    )}  # fmt: skip
    if set(saved) != {state.kind for state in states}:
        return False
    for state in states:
        arrays = _arrays(state)
        if saved[state.kind] != (state.version, json.dumps(state.params), len(arrays), zlib.crc32(arrays)):
            return False
    return True


def _arrays(state: LayerState) -> bytes:
    # safetensors writes the buffer of a non-contiguous array as it lies, not as it reads.
    return bytes(save({name: np.ascontiguousarray(array) for name, array in state.arrays.items()}))


def write_snapshot(db: Connection, snapshot: Snapshot, arrays: bytes) -> None:
    """Write one layer, its arrays in compressed chunks."""
    row = (*snapshot, len(arrays), zlib.crc32(arrays))
    db.execute("INSERT INTO layers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    view = memoryview(arrays)
    for number, start in enumerate(range(0, len(arrays), CHUNK)):
        data = zlib.compress(view[start : start + CHUNK], 1)
        db.execute("INSERT INTO layer_chunks VALUES (?, ?, ?, ?)", (snapshot.role, snapshot.kind, number, data))


def list_snapshots(db: Connection, role: str) -> list[Snapshot]:
    """The layers of a role in their order, without their content."""
    columns = ", ".join(Snapshot._fields)
    return [
        Snapshot(*row) for row in db.execute(f"SELECT {columns} FROM layers WHERE role = ? ORDER BY position", (role,))
    ]


def read_state(path: str, db: Connection, snapshot: Snapshot) -> LayerState:
    """The content of a layer.

    Raises:
        InputError: if it is damaged.
    """
    kind = snapshot.kind
    sql = "SELECT size, checksum FROM layers WHERE role = ? AND kind = ?"
    size, checksum = db.execute(sql, (snapshot.role, kind)).fetchone()
    arrays = _read_chunks(path, db, snapshot, size)
    try:
        if zlib.crc32(arrays) != checksum:
            raise InputError("its checksum is another")
        state = LayerState(kind, snapshot.version, json.loads(snapshot.params), load(arrays))
    except (SafetensorError, ValueError, TypeError, InputError) as error:
        raise InputError(f"{path}: layer {kind!r} is damaged: {error}") from error
    if not isinstance(state.params, dict):
        raise InputError(f"{path}: the parameters of layer {kind!r} are not a JSON object")
    return state


def invalidate(db: Connection) -> None:
    """Drop what was derived from the log, inside the transaction that is open; opening the memory derives it again.

    Whoever hides or removes observations calls it. The base stays: no log holds what went into it.
    """
    for table in ("layers", "layer_chunks"):
        db.execute(f"DELETE FROM {table} WHERE role = 'latest'")


def _read_chunks(path: str, db: Connection, snapshot: Snapshot, size: Any) -> bytes:
    """The arrays of a layer, never more than `size` bytes whatever the chunks claim."""
    kind = snapshot.kind
    if not isinstance(size, int) or not 0 <= size <= MAX_SIZE:
        raise InputError(f"{path}: layer {kind!r} claims {size} bytes")
    parts = []
    left = size
    sql = "SELECT data FROM layer_chunks WHERE role = ? AND kind = ? ORDER BY number"
    for (data,) in db.execute(sql, (snapshot.role, kind)):
        expand = zlib.decompressobj()
        try:
            part = expand.decompress(data, min(left, CHUNK) + 1)
        except (zlib.error, TypeError) as error:
            raise InputError(f"{path}: layer {kind!r} is damaged: {error}") from error
        left -= len(part)
        if left < 0 or not expand.eof:
            raise InputError(f"{path}: layer {kind!r} is damaged: a chunk is not of its size")
        parts.append(part)
    if left:
        raise InputError(f"{path}: layer {kind!r} is damaged: {left} bytes are missing")
    return b"".join(parts)
