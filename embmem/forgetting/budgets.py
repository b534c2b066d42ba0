"""Holding a memory within its bytes: which records are candidates, and how room is made on the disk and in RAM."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from embmem.errors import StoreError
from embmem.forgetting.policies import ForgettingPolicy, Remembered
from embmem.replay.observation_log import entry_ids
from embmem.store import RecordStore
from embmem.store.purge import remove_records
from embmem.store.schema import Connection

# What tells of what is not believed any more, or not there; without one fact another would seem to hold.
PROTECTED = ("withdrawal", "correction", "purge", "fact", "retraction")
SLACK = 0.9  # of the budget is left when room was made
_ROUNDS = 3
_MOST_LOOKS = 256 << 20  # bytes of embeddings that are looked at; where there are more, places and times decide
_ROW_BYTES, _NAME_BYTES = 300, 80  # of a record, and of an entity or key, with its indexes (measured, rounded up)
_CANDIDATES = f"""SELECT id, t_event, x, y, z, kind, text,
    {_ROW_BYTES} + 2 * length(text) + length(payload) + coalesce(length(pose), 0)
    + coalesce((SELECT length(data) FROM vectors WHERE record_id = id), 0)
    + coalesce((SELECT length(data) FROM blobs WHERE record_id = id), 0)
    + {_NAME_BYTES} * (SELECT count(*) FROM keys WHERE record_id = id)
    FROM records WHERE kind NOT IN (SELECT value FROM json_each(?)) AND json_extract(payload, '$.log') IS NULL
    AND json_extract(payload, '$.pinned') IS NOT TRUE ORDER BY id"""


@dataclass
class Uses:
    """How often records were part of an answer, and when last."""

    reads: dict[int, tuple[int, float]] = field(default_factory=dict)  # by id: how often, last [s]
    is_changed: bool = False  # since it was read or written

    def count(self, ids: Iterable[int], stamp: float) -> None:
        """One more use of each."""
        for each in ids:
            self.is_changed = True
            n, last = self.reads.get(each, (0, -np.inf))
            self.reads[each] = (n + 1, max(last, stamp))

    def write(self, db: Connection) -> None:
        """Keep the counts in the file, inside the transaction that is open."""
        rows = [(each, n, last) for each, (n, last) in sorted(self.reads.items())]
        db.execute("DELETE FROM uses")
        db.executemany("INSERT INTO uses SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM records WHERE id = ?1)", rows)
        self.is_changed = False

    @classmethod
    def read(cls, db: Connection) -> Uses:
        """The counts in the file."""
        return cls({row[0]: (row[1], row[2]) for row in db.execute("SELECT record_id, reads, last FROM uses")})


def used_bytes(db: Connection) -> int:
    """Of the file without its free pages: what it can be compacted to, or less."""
    n_pages, n_free, size = (
        db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((n_pages - n_free) * size)


def candidates(db: Connection, uses: Uses, protected: Iterable[str] = PROTECTED) -> Remembered:
    """What may be forgotten: all but the log of observations, amendments, protected kinds and what is pinned.

    A record is pinned by `{"pinned": true}` in its payload. Records with the same words about the same one thing have
    one topic; those of several things at once, as views are, have the topic of their kind.
    """
    rows = db.execute(_CANDIDATES, (json.dumps(list(protected)),)).fetchall()
    names: dict[int, list[str]] = {}
    for record_id, name in db.execute("SELECT record_id, name FROM entities ORDER BY 1, 2"):
        names.setdefault(record_id, []).append(name)
    topics: dict[tuple[str, str, str], int] = {}
    of = np.zeros(len(rows), dtype=np.int64)
    n_bytes = np.zeros(len(rows), dtype=np.int64)
    for i, (record_id, _, _, _, _, kind, text, size) in enumerate(rows):
        things = names.get(record_id, [])
        topic = (kind, things[0] if len(things) == 1 else "", text)
        of[i] = topics.setdefault(topic, len(topics))
        n_bytes[i] = size + _NAME_BYTES * len(things)
    ids = np.array([row[0] for row in rows], dtype=np.int64)
    read = [uses.reads.get(each, (0, -np.inf)) for each in ids.tolist()]
    return Remembered(
        ids=ids, n_bytes=n_bytes, stamps=np.array([row[1] for row in rows], dtype=np.float64),
        positions=np.array([row[2:5] for row in rows], dtype=np.float64).reshape(-1, 3), topics=of,
        embeddings=_looks(db, ids), reads=np.array([n for n, _ in read], dtype=np.int64),
        last_read=np.array([last for _, last in read], dtype=np.float64),
    )  # fmt: skip


def forget_entries(db: Connection, until: int, n_bytes: int) -> int:
    """Remove the oldest entries of the log of observations up to an id, as many as take so many bytes; returns those.

    Nothing but a base that covers them makes that safe; it is inside the transaction that is open.
    """
    gone, freed = [], 0
    for entry_id in entry_ids(db, until):
        if freed >= n_bytes:
            break
        row = db.execute("SELECT length(data) FROM blobs WHERE record_id = ?", (entry_id,)).fetchone()
        freed += _ROW_BYTES + (row[0] if row else 0)
        gone.append(entry_id)
    remove_records(db, gone)
    return freed


def forget_records(store: RecordStore, uses: Uses, policy: ForgettingPolicy, n_bytes: int) -> int:
    """Remove what the policy chooses; how many records went."""
    with store.changing() as db:
        remembered = candidates(db, uses)
        rows = policy.choose(remembered, n_bytes)
        ids = np.sort(remembered.ids[rows]).tolist()
        n = remove_records(db, ids)
        for each in ids:
            uses.reads.pop(each, None)
    return n


def make_room(store: RecordStore, uses: Uses, policy: ForgettingPolicy, budget: int) -> int:
    """Where the file is over its budget, forget records until it takes `SLACK` of it; how many went.

    Removed rows leave pages half empty and their words in the text index, so the file is written anew before anything
    is forgotten for want of room.
    """
    n_gone = 0
    for _ in range(_ROUNDS):
        with store.reading() as db:
            is_over = used_bytes(db) > budget
        if not is_over:
            break
        _compact(store)
        with store.reading() as db:
            excess = used_bytes(db) - int(SLACK * budget)
        gone = forget_records(store, uses, policy, excess)
        n_gone += gone
        if not gone:
            break
    return n_gone


def _compact(store: RecordStore) -> None:
    with store.changing() as db:
        db.execute("INSERT INTO texts(texts) VALUES ('optimize')")
    with contextlib.suppress(StoreError):  # a reader holds the file; then what is half empty counts
        store.rewrite()


def index_bytes(store: RecordStore) -> int:
    """RAM of the index of embeddings."""
    if not store.embeddings.is_loaded:
        return 0
    with store.reading() as db:
        index = store.embeddings.index(db)
    return 0 if index is None else index.nbytes


def make_room_in_ram(store: RecordStore, uses: Uses, policy: ForgettingPolicy, most: int) -> int:
    """Forget records with embeddings until their index takes at most so many bytes; how many went."""
    n_gone = 0
    for _ in range(_ROUNDS):
        n_bytes = index_bytes(store)
        if n_bytes <= most:
            break
        with store.changing() as db:
            embedded = {row[0] for row in db.execute("SELECT record_id FROM vectors")}
            table = candidates(db, uses)
            table = table.rows(np.array([each in embedded for each in table.ids.tolist()], dtype=np.bool_))
            rows = policy.choose(table, math.ceil((1.0 - most / n_bytes) * int(table.n_bytes.sum())))
            gone = remove_records(db, np.sort(table.ids[rows]).tolist())
        n_gone += gone
        store.embeddings.discard()
        with store.reading() as db:
            store.embeddings.index(db)  # what is left, without the rows of what went
        if not gone:
            break
    return n_gone


def _looks(db: Connection, ids: np.ndarray) -> np.ndarray:
    """(n, d) float32 of unit length, zeros where there is none; d = 0 if there are none, or too many."""
    row = db.execute("SELECT length(data) / 2, (SELECT count(*) FROM vectors) FROM vectors LIMIT 1").fetchone()
    if row is None or 4 * row[0] * len(ids) > _MOST_LOOKS:
        return np.zeros((len(ids), 0), dtype=np.float32)
    looks = np.zeros((len(ids), row[0]), dtype=np.float32)
    at = {record_id: i for i, record_id in enumerate(ids.tolist())}
    for record_id, data in db.execute("SELECT record_id, data FROM vectors"):
        if record_id in at:
            looks[at[record_id]] = np.frombuffer(data, dtype="<f2")
    norm = np.linalg.norm(looks, axis=1, keepdims=True)
    return looks / np.where(norm > 0, norm, 1.0)
