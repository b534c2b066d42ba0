"""The embeddings of a record store, in RAM as far as a search needs them: loaded at the first use, then kept up."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from embmem.errors import StoreError
from embmem.store.schema import Connection

if TYPE_CHECKING:
    from embmem.search.vectors import VectorIndex
    from embmem.store import RecordStore

BATCH = 1 << 14  # rows read at once
_TAIL = """SELECT record_id, data, t_event, x, y, z FROM vectors JOIN records ON id = record_id
    WHERE record_id > ? ORDER BY record_id LIMIT ?"""


class Embeddings:
    """The vector index of one store, loaded when it is first needed, as its compiled code is.

    The store keeps the originals; RAM holds codes, places and times.
    It may be used by several threads at once. It is derived: `save` puts it beside the file, where `index` finds it
    again; without that, it is read from the store.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._index: VectorIndex | None = None
        self._changing = threading.Lock()
        self._n_removals = 0
        self._local = threading.local()

    @property
    def is_loaded(self) -> bool:
        """True once a search has needed the index."""
        return self._index is not None

    def index(self, db: Connection) -> VectorIndex | None:
        """With all that this state of the database holds; None if it holds no embedding."""
        self._local.db = db
        with self._changing:
            if self._index is None:
                self._index = self._load(db)
            if self._index is not None:
                self._append(db, self._index)
                self._remove(db, self._index)
            return self._index

    def cosines(self, db: Connection, unit: np.ndarray, ids: np.ndarray) -> dict[int, float]:
        """Of those that have an embedding, read from the store."""
        from embmem.search import vector_kernels as kernels

        found, halves = _originals(db, ids)
        if halves.shape[1:] != unit.shape:
            return {}
        return dict(zip(found.tolist(), kernels.exact_of(halves, unit).tolist(), strict=True))

    def save(self, store: RecordStore, *, with_graph: bool = False) -> bool:
        """Put the index beside the file; False if there is none or it cannot be written, which loses only time.

        Args:
            store: The store that this belongs to.
            with_graph: First link rows into a graph for approximate search, where they are many; extra `index`.
        """
        from embmem.search import sidecar

        with store.reading() as db:
            index, identity = self.index(db), _identity(db)
            if index is None or self._path is None:
                return False
            covers = index.last_id
            is_saved = sidecar.save(
                _beside(self._path, "vectors"), index, identity=identity, covers=covers, witness=_witness(db, covers)
            )
        if with_graph and index.grow_graph():
            is_saved &= sidecar.save_graph(_beside(self._path, "graph"), index, identity=identity)
        return is_saved

    def discard(self) -> None:
        """Forget the index and remove its files, for instance because records were purged."""
        from embmem.search import sidecar

        with self._changing:
            self._index = None
        if self._path is not None:
            for name in ("vectors", "graph"):
                sidecar.discard(_beside(self._path, name))

    def _load(self, db: Connection) -> VectorIndex | None:
        from embmem.search import sidecar
        from embmem.search.vectors import VectorIndex

        row = db.execute("SELECT length(data) FROM vectors LIMIT 1").fetchone()
        if row is None:
            return None
        if self._path is not None:
            identity = _identity(db)
            newest = db.execute("SELECT max(id) FROM records").fetchone()[0]
            saved = sidecar.load(
                _beside(self._path, "vectors"), identity=identity, newest=newest, fetch=self._fetch,
                witness=lambda covers: _witness(db, covers),
            )  # fmt: skip
            if saved is not None:
                sidecar.load_graph(_beside(self._path, "graph"), saved[0], identity=identity)
                return saved[0]
        return VectorIndex(row[0] // 2, fetch=self._fetch)

    def _append(self, db: Connection, index: VectorIndex) -> None:
        while rows := db.execute(_TAIL, (index.last_id, BATCH)).fetchall():
            ids, data, stamps, *places = zip(*rows, strict=True)
            halves = np.frombuffer(b"".join(data), "<f2").reshape(len(rows), index.dim)
            index.append(np.array(ids), halves, np.array(stamps, float), np.array(places, float).T)

    def _remove(self, db: Connection, index: VectorIndex) -> None:
        """Erase what the store no longer has."""
        from embmem.search.window import EVERYWHERE

        row = db.execute("SELECT value FROM meta WHERE name = 'removals'").fetchone()
        n_removals = int(row[0]) if row else 0
        if n_removals != self._n_removals:
            there = db.execute("SELECT record_id FROM vectors").fetchall()
            held = index.select(EVERYWHERE)[0]
            index.remove(np.setdiff1d(held, np.fromiter((row[0] for row in there), np.int64, len(there))), erase=True)
            self._n_removals = n_removals

    def _fetch(self, ids: np.ndarray) -> np.ndarray:
        """The originals, for the thread that searches; zeros for what is not in the state of the database it sees."""
        found, halves = _originals(self._local.db, ids)
        index = self._index
        fetched = np.zeros((len(ids), halves.shape[1] if index is None else index.dim), np.uint16)
        order = np.argsort(ids, kind="stable")
        if len(found):
            fetched[order[np.searchsorted(ids[order], found)]] = halves
        return fetched.view(np.float16)


def unit_of(embedding: np.ndarray) -> np.ndarray:
    """(d,) float64 of unit length.

    Raises:
        ValueError: if the embedding is not one finite vector with a direction.
    """
    from embmem.search import vector_kernels as kernels
    from embmem.search.slabs import stride_of

    embedding = np.asarray(embedding, np.float64)
    if embedding.ndim != 1 or not np.isfinite(embedding).all() or not embedding.any():
        raise ValueError(f"an embedding must be one finite vector, not all 0, got one of shape {embedding.shape}")
    unit: np.ndarray = kernels.prepare(embedding, stride_of(len(embedding)))[0]
    return unit


def _originals(db: Connection, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ids (m,) ascending of those that have an embedding, and its bits (m, d) uint16."""
    sql = "SELECT record_id, data FROM vectors WHERE record_id IN (SELECT value FROM json_each(?)) ORDER BY record_id"
    rows = db.execute(sql, (json.dumps(ids.tolist()),)).fetchall()
    lengths = {len(row[1]) if isinstance(row[1], bytes) else -1 for row in rows}
    if len(lengths) > 1 or any(n % 2 for n in lengths):
        raise StoreError(f"embeddings of records {ids[:3].tolist()} ... are damaged; see: embmem verify")
    found = np.array([row[0] for row in rows], np.int64)
    halves = np.frombuffer(b"".join(row[1] for row in rows), "<u2")
    return found, halves.reshape(len(rows), -1) if rows else np.zeros((0, 0), np.uint16)


def _beside(path: Path, name: str) -> Path:
    return path.with_name(f"{path.name}.{name}")


def _identity(db: Connection) -> str:
    return str(db.execute("SELECT value FROM meta WHERE name = 'uuid'").fetchone()[0])


def _witness(db: Connection, covers: int) -> str:
    row = db.execute("SELECT checksum FROM records WHERE id = ?", (covers,)).fetchone()
    return str(row)
