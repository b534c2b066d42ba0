"""The records that pass a query's filters, in the order of their event time or of their distance."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import NamedTuple

import numpy as np

from embmem.records import Query
from embmem.search.plan import Gathered, Plan, gather
from embmem.store.frustum import sees
from embmem.store.schema import Connection
from embmem.store.select import Conditions, Source, Term

BLOCK = 64  # rows checked together at first; later blocks are larger
MAX_BLOCK = 4096
PATIENCE = 1 << 14  # rows checked in vain before the plan is changed
MOST = 1 << 18  # records that are gathered then
FIRST_RADIUS = 0.25  # [m]
LAST_RADIUS = 1e6  # [m]; beyond, all that has a place is looked at
_ALL = Source("records AS by_event INDEXED BY records_by_event", "1", "by_event.id", "by_event.t_event")
_PLACES = """SELECT id, x0, x1, y0, y1, z0, z1 FROM places
    WHERE x1 >= ? AND x0 <= ? AND y1 >= ? AND y0 <= ? AND z1 >= ? AND z0 <= ?"""


class Facts(NamedTuple):
    """What rankings need to know of a record."""

    stamp: float  # [s]
    where: tuple[float, float, float] | None  # [m]
    confidence: float


class Finder:
    """The records that pass one query's filters, in one state of the database.

    `is_meant` is asked of what passes them, and may refuse more: (n,) ids -> (n,) bool.
    """

    def __init__(self, db: Connection, found: Conditions, plan: Plan, *, drive: str | None = None) -> None:
        self.db = db
        self.plan = plan
        self.is_meant: Callable[[np.ndarray], np.ndarray] | None = None
        self.n_checked = 0
        self._found = found
        self._gathered: Gathered = gather(db, found, plan, drive=drive)
        self._facts: dict[int, Facts | None] = {}
        self._may_widen = drive is None

    @property
    def ids(self) -> np.ndarray | None:
        """Ascending; every record that passes is among them, if they are known."""
        return self._gathered.ids

    def knows(self, name: str) -> bool:
        """True where `ids` settles the filter of that name."""
        return all(term.name != name for term in self._gathered.checks)

    def forget_checks(self) -> None:
        """Check everything anew, since `is_meant` has changed."""
        self._facts = {}

    def facts(self, record_id: int) -> Facts:
        """Of a record that was admitted."""
        facts = self._facts[record_id]
        if facts is None:
            raise KeyError(record_id)
        return facts

    def admit(self, ids: np.ndarray) -> np.ndarray:
        """Those of the ids (different from each other) that pass, in the same order."""
        if self._gathered.ids is not None:
            ids = ids[np.isin(ids, self._gathered.ids)]
        new = np.array([i for i in ids.tolist() if i not in self._facts], np.int64)
        if len(new):
            self._check(new)
        return np.array([i for i in ids.tolist() if self._facts[i] is not None], np.int64)

    def newest(self, n: int) -> np.ndarray:
        """The n newest that pass, newest event first; ties newest id first."""
        if self.ids is not None and len(self.ids) <= PATIENCE:
            return self._by_time(self.admit(self.ids))[:n]
        chosen = np.zeros(0, np.int64)
        n_before = self.n_checked
        for block in self._blocks_by_time():
            chosen = np.concatenate([chosen, self.admit(block)])
            if len(chosen) >= n:
                break
            if self.n_checked - n_before > PATIENCE and self._widen():
                return self.newest(n)
        self.plan.note(f"newest first: {self.n_checked - n_before} rows checked for {len(chosen[:n])}")
        return chosen[:n]

    def nearest(self, query: Query, n: int) -> tuple[np.ndarray, np.ndarray]:
        """The n nearest to `query.near` that pass, and their distances [m]; ties newest id first."""
        near = np.asarray(query.near, dtype=np.float64)
        if self.ids is not None and len(self.ids) <= PATIENCE:
            ids = self.admit(self.ids)
            return nearest_first(ids, self.distances(ids, near), n)
        radius, n_before = min(FIRST_RADIUS, query.radius), self.n_checked
        while True:
            ids, distances = self._within(near, radius, n, is_all=radius >= query.radius)
            if len(ids) >= n or radius >= query.radius or radius == np.inf:
                break
            if self.n_checked - n_before > PATIENCE and self._widen():
                return self.nearest(query, n)
            grown = radius * (4.0 if not len(ids) else min(4.0, max(1.3, (1.5 * n / len(ids)) ** (1.0 / 3.0))))
            radius = min(query.radius, grown if grown < LAST_RADIUS else np.inf)
        self.plan.note(f"R*Tree to {radius:.2f} m: {self.n_checked - n_before} rows checked for {len(ids)}")
        return ids, distances

    def distances(self, ids: np.ndarray, near: np.ndarray) -> np.ndarray:
        """(n,) [m] of admitted ids; NaN without a place."""
        places = [self.facts(i).where or (np.nan,) * 3 for i in ids.tolist()]
        return np.sqrt(((np.array(places).reshape(-1, 3) - near) ** 2).sum(axis=1))

    def stamps(self, ids: np.ndarray) -> np.ndarray:
        """(n,) [s] of admitted ids."""
        return np.array([self.facts(i).stamp for i in ids.tolist()], dtype=np.float64)

    def _by_time(self, ids: np.ndarray) -> np.ndarray:
        return ids[np.lexsort((-ids, -self.stamps(ids)))]

    def _check(self, ids: np.ndarray) -> None:
        """Learn which of these pass, and their facts."""
        self.n_checked += len(ids)
        where = " AND ".join(f"({term.check})" for term in self._gathered.checks) or "1"
        sql = f"""SELECT records.id, t_event, x, y, z, confidence FROM json_each(:asked) AS asked
            CROSS JOIN records ON records.id = asked.value WHERE {where}"""
        rows = self.db.execute(sql, {**self._found.values, "asked": json.dumps(ids.tolist())}).fetchall()
        if self._found.frustum is not None and rows:
            points = np.array([row[2:5] for row in rows], dtype=np.float64)
            rows = [row for row, is_seen in zip(rows, sees(self._found.frustum, points), strict=True) if is_seen]
        if self.is_meant is not None and rows:
            meant = self.is_meant(np.array([row[0] for row in rows], np.int64))
            rows = [row for row, is_meant in zip(rows, meant, strict=True) if is_meant]
        self._facts |= dict.fromkeys(ids.tolist())
        for i, stamp, x, y, z, confidence in rows:
            self._facts[i] = Facts(stamp, None if x is None else (x, y, z), confidence)

    def _blocks_by_time(self) -> Iterator[np.ndarray]:
        """Ids of the index in order of time that is the shortest, newest first."""
        timed = [term for term in self._found.terms if term.source is not None and term.source.time is not None]
        shortest = min(timed, key=self._length, default=None)
        source = _ALL if shortest is None or shortest.source is None else shortest.source
        sql = f"{source.ids()} ORDER BY {source.time} DESC, {source.id} DESC"
        size = BLOCK
        with closing(self.db.execute(sql, self._found.values)) as cursor:
            while rows := cursor.fetchmany(size):
                yield np.array([row[0] for row in rows], np.int64)
                size = min(2 * size, MAX_BLOCK)

    def _length(self, term: Term) -> tuple[int, bool, str]:
        return self._gathered.counts.get(term.name, 0), term.name == "time", term.name

    def _widen(self) -> bool:
        """Gather more than seemed worth it, since the rows that come first do not pass; once."""
        if self.ids is not None or not self._may_widen:
            return False
        self._may_widen = False
        self.plan.note(f"{self.n_checked} rows checked, few pass: the plan is changed")
        gathered = gather(self.db, self._found, self.plan, limit=MOST)
        if gathered.ids is not None:
            self._gathered = gathered
        return gathered.ids is not None

    def _within(self, near: np.ndarray, radius: float, n: int, *, is_all: bool) -> tuple[np.ndarray, np.ndarray]:
        """The n nearest that pass within a radius, which may be infinite; `is_all` where no other can pass."""
        reach = radius * (1.0 + 1e-12) + 1e-12 * float(np.abs(near).max())
        box = [v for x in near.tolist() for v in (x - reach, x + reach)]
        rows = np.array(self.db.execute(_PLACES, box).fetchall(), dtype=np.float64).reshape(-1, 7)
        low, high = rows[:, 1::2], rows[:, 2::2]
        least = np.sqrt((np.maximum(np.maximum(low - near, near - high), 0.0) ** 2).sum(axis=1)) * (1.0 - 1e-12)
        rows, least = rows[least <= reach], least[least <= reach]
        order = np.argsort(least, kind="stable")
        candidates, least = rows[order, 0].astype(np.int64), least[order]
        ids, distances, start, size = np.zeros(0, np.int64), np.zeros(0), 0, max(BLOCK, n)
        while start < len(candidates):
            admitted = self.admit(candidates[start : start + size])
            ids = np.concatenate([ids, admitted])
            distances = np.concatenate([distances, self.distances(admitted, near)])
            start, size = start + size, min(2 * size, MAX_BLOCK)
            if start < len(candidates) and np.count_nonzero(distances < least[start]) >= n:
                break
        is_inside = (distances <= radius) | is_all
        return nearest_first(ids[is_inside], distances[is_inside], n)


def nearest_first(ids: np.ndarray, distances: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The n with the least distance, ties newest id first; what has none is left out."""
    is_placed = np.isfinite(distances)
    ids, distances = ids[is_placed], distances[is_placed]
    order = np.lexsort((-ids, distances))[:n]
    return ids[order], distances[order]
