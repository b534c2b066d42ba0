"""Records whose content follows from their id, so that whoever finds some after a crash knows what they must say."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from functools import cache
from pathlib import Path

import numpy as np

from embmem.records import Link, Record
from embmem.store import RecordStore

WORDS = ("mug", "table", "door", "lamp", "chair", "shelf", "plant", "robot")


@cache
def record(i: int, first: int, last: int) -> Record:
    """The record that gets id `i`, written in one batch with those from `first` to `last`."""
    rng = np.random.default_rng(i)
    words = " ".join(rng.choice(WORDS, 6))
    size = int(rng.choice([0, 40, 700, 6000], p=[0.5, 0.3, 0.15, 0.05]))
    return Record(
        kind="note" if i % 3 else "view", t_event=float(i), source=f"robot {i % 4}", t_ingest=1000.0 + i,
        place=None if i % 5 else "kitchen", position=rng.normal(size=3) if i % 2 else None,
        T_map_obs=None if i % 4 else np.eye(4), entities=tuple(sorted(set(words.split()))), keys=(f"voxel:{i % 7}",),
        text=words, embedding=rng.normal(size=16).astype(np.float16), payload={"first": first, "last": last},
        blob=rng.bytes(size) if size else None, links=(Link("from", i - 1),) if i > 1 and i % 6 == 0 else (),
    )  # fmt: skip


def batch(first: int, n: int) -> list[Record]:
    """`n` records that are written together."""
    return [record(i, first, first + n - 1) for i in range(first, first + n)]


def changed(sound: Path, to: Path, *statements: str) -> Path:
    """A copy `to` of a file in which somebody else executed SQL."""
    shutil.copy(sound, to)
    with contextlib.closing(sqlite3.connect(to, isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)
    return to


def survivors(path: Path) -> set[int]:
    """The ids in a file, after everything that can be told about it from outside was found right.

    Raises:
        AssertionError: if the file is damaged, a record says anything else than it must, or a batch is there in part.
    """
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        _expect(db.execute("PRAGMA integrity_check").fetchall() == [("ok",)], "the database is damaged")
    with RecordStore(path) as store:
        with store.reading() as db:
            ids = {row[0] for row in db.execute("SELECT id FROM records")}
            n_texts = db.execute("SELECT count(*) FROM texts_docsize").fetchone()[0]
            n_places = db.execute("SELECT count(*) FROM places").fetchone()[0]
        found = store.get(sorted(ids))
    for one in found:
        i, batch_of = one.id or 0, one.payload
        _expect(same(one, record(i, batch_of["first"], batch_of["last"])), f"record {i} says something else")
        _expect(ids.issuperset(range(batch_of["first"], batch_of["last"] + 1)), f"record {i} lacks its batch")
    _expect(n_texts == len(ids), "texts are not those of the log")
    _expect(n_places == sum(one.where is not None for one in found), "places are not those of the log")
    return ids


def same(a: Record, b: Record) -> bool:
    """True if two records say the same, bit for bit, but for the id."""
    arrays = ((a.position, b.position), (a.T_map_obs, b.T_map_obs), (a.embedding, b.embedding))
    names = (
        "kind",
        "t_event",
        "t_ingest",
        "source",
        "place",
        "text",
        "payload",
        "blob",
        "confidence",
        "valid",
        "links",
    )
    return (
        all(getattr(a, name) == getattr(b, name) for name in names)
        and (sorted(a.entities), sorted(a.keys)) == (sorted(b.entities), sorted(b.keys))
        and all(y is None if x is None else y is not None and np.array_equal(x, y) for x, y in arrays)
    )


def _expect(is_so: bool, what: str) -> None:
    if not is_so:
        raise AssertionError(what)
