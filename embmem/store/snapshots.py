"""Layers in a memory file: derived state, compressed, with the log position that it covers."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from embmem.errors import InputError
from embmem.protocols import LayerState
from embmem.store.schema import Connection

CHUNK = 4 << 20  # bytes before compression; SQLite holds a chunk in RAM while it writes it
MAX_SIZE = 64 << 30  # bytes of one layer


class Snapshot(NamedTuple):
    """The row of a layer."""

    kind: str
    position: int  # among the layers
    version: int
    params: str  # JSON
    covers: int  # id of the last record that is in it


def write_layers(db: Connection, states: Sequence[LayerState], covers: int) -> None:
    """Put these layers in the place of those in the file, inside the transaction that is open."""
    for table in ("layers", "layer_chunks"):
        db.execute(f"DELETE FROM {table}")
    for position, state in enumerate(states):
        # safetensors writes the buffer of a non-contiguous array as it lies, not as it reads.
        dense = {name: np.ascontiguousarray(array) for name, array in state.arrays.items()}
        params = json.dumps(state.params, allow_nan=False)
        write_snapshot(db, Snapshot(state.kind, position, state.version, params, covers), save(dense))


def write_snapshot(db: Connection, snapshot: Snapshot, arrays: bytes) -> None:
    """Write one layer, its arrays in compressed chunks."""
    kind, position, version, params, covers = snapshot
    checksum = zlib.crc32(arrays)
    row = (kind, position, version, params, covers, len(arrays), checksum)
    db.execute("INSERT INTO layers VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    view = memoryview(arrays)
    for number, start in enumerate(range(0, len(arrays), CHUNK)):
        data = zlib.compress(view[start : start + CHUNK], 1)
        db.execute("INSERT INTO layer_chunks VALUES (?, ?, ?)", (kind, number, data))


def read_layers(path: str, db: Connection) -> tuple[list[LayerState], int]:
    """The layers in their order, and the id of the last record that they cover.

    Raises:
        InputError: if a layer is damaged.
    """
    rows = db.execute("SELECT kind, version, params, covers, size, checksum FROM layers ORDER BY position").fetchall()
    states = []
    for kind, version, params, _, size, checksum in rows:
        arrays = _read_chunks(path, db, kind, size)
        try:
            if zlib.crc32(arrays) != checksum:
                raise InputError("its checksum is another")
            state = LayerState(kind, version, json.loads(params), load(arrays))
        except (SafetensorError, ValueError, TypeError, InputError) as error:
            raise InputError(f"{path}: layer {kind!r} is damaged: {error}") from error
        if not isinstance(state.params, dict):
            raise InputError(f"{path}: the parameters of layer {kind!r} are not a JSON object")
        states.append(state)
    return states, min((row[3] for row in rows), default=0)


def _read_chunks(path: str, db: Connection, kind: str, size: int) -> bytes:
    """The arrays of a layer, never more than `size` bytes whatever the chunks claim."""
    if not 0 <= size <= MAX_SIZE:
        raise InputError(f"{path}: layer {kind!r} claims {size} bytes")
    parts = []
    left = size
    for (data,) in db.execute("SELECT data FROM layer_chunks WHERE kind = ? ORDER BY number", (kind,)):
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
