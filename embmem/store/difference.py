"""What two memories do not have in common."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from embmem.store.rows import COLUMNS
from embmem.store.schema import Connection
from embmem.store.sqlite import RecordStore

TOP = 10  # names that a summary counts
_AMONG = "IN (SELECT value FROM json_each(?))"
_CONTENT = ", ".join(column for column in COLUMNS.split(", ") if column not in ("id", "t_ingest"))


@dataclass(frozen=True, eq=False)
class Group:
    """Some records of one memory."""

    ids: np.ndarray  # (n,) int64, ascending
    kinds: dict[str, int]
    sources: dict[str, int]
    entities: dict[str, int]  # the most frequent
    places: dict[str, int]


@dataclass(frozen=True)
class LayerChange:
    """A layer that is not the same in both."""

    role: str
    kind: str
    what: tuple[str, ...]  # "only in a", "only in b", "version", "params", "size", "arrays"


@dataclass(frozen=True, eq=False)
class Difference:
    """What sets a memory `b` apart from `a`."""

    is_same_memory: bool  # copies of one memory are compared by id, others by what their records say
    n_common: int
    only_a: Group
    only_b: Group
    changed: Group  # same id, different content; of `a`
    hidden_a: Group  # in both, hidden in `a` alone; ids of `a`
    hidden_b: Group  # in both, hidden in `b` alone; ids of `b`
    layers: tuple[LayerChange, ...]

    @property
    def is_none(self) -> bool:
        """True if the memories hold and believe the same."""
        groups = (self.only_a, self.only_b, self.changed, self.hidden_a, self.hidden_b)
        return not self.layers and not any(len(group.ids) for group in groups)


def difference(a: RecordStore, b: RecordStore) -> Difference:
    """What is only in one of two memories, what differs, and what only one of them believes.

    Copies of one memory share ids: there, records of one id should be the same. Records of two memories match if they
    say the same, whenever they were taken in.

    Raises:
        StoreError: if one of them cannot be read.
    """
    is_same = a.uuid == b.uuid
    with a.reading() as db_a, b.reading() as db_b:
        ids_a, ids_b = (_by_id if is_same else _by_content)(db_a, db_b)
        common = (ids_a > 0) & (ids_b > 0)
        matched_a, matched_b = ids_a[common], ids_b[common]
        is_hidden_a, is_hidden_b = (np.isin(m, _hidden(db)) for m, db in ((matched_a, db_a), (matched_b, db_b)))
        changed = _changed(db_a, db_b, matched_a) if is_same else matched_a[:0]
        return Difference(
            is_same_memory=is_same,
            n_common=int(common.sum()),
            only_a=_group(db_a, ids_a[ids_b == 0]),
            only_b=_group(db_b, ids_b[ids_a == 0]),
            changed=_group(db_a, changed),
            hidden_a=_group(db_a, matched_a[is_hidden_a & ~is_hidden_b]),
            hidden_b=_group(db_b, matched_b[is_hidden_b & ~is_hidden_a]),
            layers=_layers(db_a, db_b),
        )


def _by_id(a: Connection, b: Connection) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of ids, 0 where one of the memories has no such record."""
    here, there = (_column(db, "SELECT id FROM records ORDER BY id") for db in (a, b))
    union = np.union1d(here, there)
    return np.where(np.isin(union, here), union, 0), np.where(np.isin(union, there), union, 0)


def _by_content(a: Connection, b: Connection) -> tuple[np.ndarray, np.ndarray]:
    """The same, of records that say the same; equal ones are paired in the order of their ids."""
    here, there = _contents(a), _contents(b)
    left: list[int] = []
    right: list[int] = []
    for content in sorted(here.keys() | there.keys()):
        mine, theirs = here.get(content, []), there.get(content, [])
        n = max(len(mine), len(theirs))
        left += mine + [0] * (n - len(mine))
        right += theirs + [0] * (n - len(theirs))
    return np.array(left, np.int64), np.array(right, np.int64)


def _contents(db: Connection) -> dict[tuple[int, int], list[int]]:
    """Ids by two checksums of what the records say, their embeddings and blobs among it."""
    found: dict[tuple[int, int], list[int]] = {}
    sql = f"""SELECT records.id, vectors.data, blobs.data,
        (SELECT json_group_array(name) FROM (SELECT name FROM entities WHERE record_id = records.id ORDER BY name)),
        (SELECT json_group_array(key) FROM (SELECT key FROM keys WHERE record_id = records.id ORDER BY key)), {_CONTENT}
        FROM records LEFT JOIN vectors ON vectors.record_id = records.id
        LEFT JOIN blobs ON blobs.record_id = records.id ORDER BY records.id"""
    for record_id, vector, blob, *facts in db.execute(sql):
        said = repr(facts).encode()
        content = (zlib.crc32(vector or b"", zlib.crc32(said)), zlib.crc32(blob or b"", zlib.adler32(said)))
        found.setdefault(content, []).append(record_id)
    return found


def _changed(a: Connection, b: Connection, ids: np.ndarray) -> np.ndarray:
    """Those of the common ids (ascending) whose records differ."""
    sql = f"SELECT checksum FROM records WHERE id {_AMONG} ORDER BY id"
    here, there = (_column(db, sql, json.dumps(ids.tolist())) for db in (a, b))
    return ids[here != there]


def _hidden(db: Connection) -> np.ndarray:
    return _column(db, "SELECT DISTINCT record_id FROM hidden ORDER BY 1")


def _column(db: Connection, sql: str, *values: str) -> np.ndarray:
    return np.fromiter((row[0] for row in db.execute(sql, values)), dtype=np.int64)


def _group(db: Connection, ids: np.ndarray) -> Group:
    ids = np.sort(ids)
    among = json.dumps(ids.tolist())
    rows = db.execute(f"SELECT kind, source, place FROM records WHERE id {_AMONG}", (among,)).fetchall()
    names = db.execute(f"SELECT name FROM entities WHERE record_id {_AMONG}", (among,)).fetchall()
    return Group(
        ids,
        kinds=_counts(row[0] for row in rows),
        sources=_counts(row[1] for row in rows),
        entities=_counts(row[0] for row in names),
        places=_counts(row[2] for row in rows if row[2] is not None),
    )


def _counts(names: Iterable[str]) -> dict[str, int]:
    """The most frequent, most first; ties by name."""
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0]))[:TOP])


def _layers(a: Connection, b: Connection) -> tuple[LayerChange, ...]:
    sql = "SELECT role, kind, version, params, size, checksum FROM layers WHERE role IN ('base', 'latest')"
    here, there = ({(role, kind): rest for role, kind, *rest in db.execute(sql)} for db in (a, b))
    changes = []
    for role, kind in sorted(here.keys() | there.keys()):
        mine, theirs = here.get((role, kind)), there.get((role, kind))
        if mine is None or theirs is None:
            changes.append(LayerChange(role, kind, ("only in b" if mine is None else "only in a",)))
        elif mine != theirs:
            names = ("version", "params", "size", "arrays")
            what = tuple(name for name, x, y in zip(names, mine, theirs, strict=True) if x != y)
            changes.append(LayerChange(role, kind, what))
    return tuple(changes)
