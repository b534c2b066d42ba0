"""The records that pass a query's filters, in the order of their event time or of their distance."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from typing import NamedTuple

import numpy as np

from embmem.records import Query
from embmem.search.plan import HANDFUL, Gathered, Gathering, Plan, gather
from embmem.store.frustum import sees
from embmem.store.schema import Connection
from embmem.store.select import Conditions, Source, Term

BLOCK = 64  # rows checked together at first; later blocks are larger
FIRST_BLOCK = 16  # the same, of the places that are nearest, at least
MAX_BLOCK = 4096
PATIENCE = 1 << 14  # rows read in vain before the plan is changed
IN_WINDOW = frozenset({"ball", "box", "view", "time"})  # filters that the vector index knows itself
MOST = 1 << 18  # records that are gathered then
FIRST_RADIUS = 0.25  # [m]
READ, READ_PLACE = 0.1, 0.7  # cost of a row of an index, of a place of the R*Tree; to check a row costs 1
LAST_RADIUS = 1e6  # [m]; beyond, all that has a place is looked at
_ALL = Source("records AS by_event INDEXED BY records_by_event", "1", "by_event.id", "by_event.t_event")
_IN_BOX = " AND ".join(f"{axis}1 >= :{axis}0 AND {axis}0 <= :{axis}1" for axis in "xyz")
_GAPS = ", ".join(f"max({axis}0 - :{axis}, :{axis} - {axis}1, 0.0) AS d{axis}" for axis in "xyz")  # [m] to a place
_PLACES = f"""SELECT id, dx * dx + dy * dy + dz * dz AS square FROM (SELECT id, {_GAPS} FROM places WHERE {_IN_BOX})
    ORDER BY square"""
_COUNT = f"SELECT count(*) FROM places WHERE {_IN_BOX}"


class Facts(NamedTuple):
    """What rankings need to know of a record."""

    stamp: float  # [s]
    where: tuple[float, float, float] | None  # [m]
    confidence: float


class Finder:
    """The records that pass one query's filters, in one state of the database.

    `is_meant` is asked of what passes them, and may refuse more: (n,) ids -> (n,) bool.
    """

    def __init__(self, db: Connection, found: Conditions, plan: Plan, gathering: Gathering) -> None:
        self.db = db
        self.plan = plan
        self.is_meant: Callable[[np.ndarray], np.ndarray] | None = None
        self.n_checked = 0
        self._found = found
        self._gathered: Gathered = gather(db, found, plan, gathering)
        self._facts: dict[int, Facts | None] = {}
        self._passing: np.ndarray | None = None  # all that pass, once that is known
        self._may_widen = gathering.drive is None

    @property
    def ids(self) -> np.ndarray | None:
        """Ascending; every record that passes is among them, if they are known."""
        return self._gathered.ids

    def knows(self, name: str) -> bool:
        """True where `ids` settles the filter of that name."""
        return all(term.name != name for term in self._gathered.checks)

    @property
    def is_settled(self) -> bool:
        """True where few of `ids`, or of all records, fail to pass."""
        return {term.name for term in self._gathered.checks} <= {"belief"} | IN_WINDOW and self._found.frustum is None

    def forget_checks(self) -> None:
        """Check everything anew, since `is_meant` has changed."""
        self._facts = {}
        self._passing = None

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
        if not self._is_handful(n):
            chosen, n_read = np.zeros(0, np.int64), 0
            for block in self._blocks_by_time():
                chosen, n_read = np.concatenate([chosen, self.admit(block)]), n_read + len(block)
                if len(chosen) >= n or self._is_detour(n_read, READ):
                    break
            if len(chosen) >= n or self.ids is None or not self._is_detour(n_read, READ):
                self.plan.note(f"newest first: {n_read} read for {len(chosen[:n])}")
                return chosen[:n]
        ids = self._all()
        return ids[np.lexsort((-ids, -self.stamps(ids)))][:n]

    def nearest(self, query: Query, n: int) -> tuple[np.ndarray, np.ndarray]:
        """The n nearest to `query.near` that pass, and their distances [m]; ties newest id first."""
        near = np.asarray(query.near, dtype=np.float64)
        radius, n_read = min(FIRST_RADIUS, query.radius), 0
        while not self._is_short() and not self._is_detour(n_read, READ_PLACE):
            is_all = radius >= query.radius or radius == np.inf
            ids, distances, n_places = self._within(near, radius, n, is_all=is_all)
            n_read += n_places
            if len(ids) >= n or is_all:
                self.plan.note(f"R*Tree to {radius:.2f} m: {n_read} read for {len(ids)}")
                return ids, distances
            grown = radius * (4.0 if not len(ids) else min(4.0, max(1.3, (1.5 * n / len(ids)) ** (1.0 / 3.0))))
            radius = min(query.radius, grown if grown < LAST_RADIUS else np.inf)
        ids = self._all()
        return nearest_first(ids, self.distances(ids, near), n)

    def all_if_short(self) -> np.ndarray | None:
        """Everything that passes, where that is cheap to know."""
        return self._all() if self._is_short() else None

    def distances(self, ids: np.ndarray, near: np.ndarray) -> np.ndarray:
        """(n,) [m] of admitted ids; NaN without a place."""
        places = [self.facts(i).where or (np.nan,) * 3 for i in ids.tolist()]
        return np.sqrt(((np.array(places).reshape(-1, 3) - near) ** 2).sum(axis=1))

    def stamps(self, ids: np.ndarray) -> np.ndarray:
        """(n,) [s] of admitted ids."""
        return np.array([self.facts(i).stamp for i in ids.tolist()], dtype=np.float64)

    def _is_handful(self, n: int) -> bool:
        """True where all that may pass are so few that no order is needed to find the first n."""
        return self.ids is not None and len(self.ids) <= max(HANDFUL, 4 * n)

    def _is_short(self) -> bool:
        """True where to check all that may pass is cheap; how much of the R*Tree it takes to find some is not known."""
        return self.ids is not None and len(self.ids) <= PATIENCE

    def _is_detour(self, n_read: int, cost: float) -> bool:
        """True where it were cheaper to check all that may pass; if that is unknown, changes the plan once."""
        if self.ids is None and n_read > PATIENCE and self._may_widen:
            self._may_widen = False
            self.plan.note(f"{n_read} read, few pass: the plan is changed")
            gathered = gather(self.db, self._found, self.plan, Gathering(limit=MOST))
            self._gathered = self._gathered if gathered.ids is None else gathered
        return self.ids is not None and n_read * cost > len(self.ids)

    def _all(self) -> np.ndarray:
        if self._passing is None:
            self._passing = np.zeros(0, np.int64) if self.ids is None else self.admit(self.ids)
            n_ids = 0 if self.ids is None else len(self.ids)
            self.plan.note(f"all {n_ids} checked: {len(self._passing)} pass")
        return self._passing

    def _check(self, ids: np.ndarray) -> None:
        """Learn which of these pass, and their facts."""
        self.n_checked += len(ids)
        asked_of_rows = [term for term in self._gathered.checks if term.name != "text" or self.is_meant is None]
        where = " AND ".join(f"({term.check})" for term in asked_of_rows) or "1"
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
            while rows := list(islice(cursor, size)):
                yield np.array([row[0] for row in rows], np.int64)
                size = min(2 * size, MAX_BLOCK)

    def _length(self, term: Term) -> tuple[int, bool, str]:
        return self._gathered.counts.get(term.name, 0), term.name == "time", term.name

    def _within(self, near: np.ndarray, radius: float, n: int, *, is_all: bool) -> tuple[np.ndarray, np.ndarray, int]:
        """The n nearest that pass within a radius, `is_all` where no other can pass; and how many places were read."""
        reach = radius * (1.0 + 1e-12) + 1e-12 * float(np.abs(near).max())
        box: dict[str, float] = {}
        for axis, middle in zip("xyz", near.tolist(), strict=True):
            box |= {axis: middle, f"{axis}0": middle - reach, f"{axis}1": middle + reach}
        ids, distances = np.zeros(0, np.int64), np.zeros(0)
        n_places = int(self.db.execute(_COUNT, box).fetchone()[0])
        size = max(FIRST_BLOCK, 2 * n) if self.is_meant is None else MAX_BLOCK  # a block is one more look at the words
        with closing(self.db.execute(_PLACES, box)) as cursor:
            while n_places and (rows := cursor.fetchmany(size)):
                least = np.sqrt([row[1] for row in rows]) * (1.0 - 1e-12)
                candidates = np.array([row[0] for row in rows], np.int64)[least <= reach]
                admitted = self.admit(candidates)
                ids = np.concatenate([ids, admitted])
                distances = np.concatenate([distances, self.distances(admitted, near)])
                if least[-1] > reach or np.count_nonzero(distances < least[-1]) >= n:
                    break
                size = min(2 * size, MAX_BLOCK)
        is_inside = (distances <= radius) | is_all
        return *nearest_first(ids[is_inside], distances[is_inside], n), n_places


def nearest_first(ids: np.ndarray, distances: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The n with the least distance, ties newest id first; what has none is left out."""
    is_placed = np.isfinite(distances)
    ids, distances = ids[is_placed], distances[is_placed]
    order = np.lexsort((-ids, distances))[:n]
    return ids[order], distances[order]
