"""Which index is asked first: counts that stop early tell which terms few records pass.

A term whose index knows its records ("entity", "ball", "text" ...) can be gathered: the ids are read from the index
alone and the sets are intersected (Graefe, Query evaluation techniques, ACM Computing Surveys 1993, section 5). What no
index says, or too many records pass, is checked on the rows of those that are left.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from embmem.store.schema import Connection
from embmem.store.select import Conditions, Source, Term

GLANCE = 1024  # records up to which a term is certainly worth gathering
GATHER = 1 << 14  # records up to which it may be; counting further costs more than it tells
HANDFUL = 256  # the same where an index reads in the order that is asked for, so that the first few suffice
_WORTH = 6  # so many ids are read from an index in the time in which one row is checked
_TIMED = frozenset({"kind", "place", "source", "entity", "key"})  # whose indexes also hold the event time


@dataclass
class Plan:
    """What was done, a line a step, with the time that each took."""

    lines: list[str] = field(default_factory=list)
    _last: float = field(default_factory=time.perf_counter)

    def note(self, step: str) -> None:
        """One more step, which ends now."""
        now = time.perf_counter()
        self.lines.append(f"{step} ({(now - self._last) * 1e3:.2f} ms)")
        self._last = now


@dataclass
class Gathered:
    """The ids that may pass, ascending (None: any), and the terms that are still to be checked."""

    ids: np.ndarray | None
    checks: list[Term]
    counts: dict[str, int]  # by term that an index knows; what is above the limit of counting is the limit + 1


@dataclass(frozen=True)
class Gathering:
    """What may be gathered."""

    limit: int = GATHER  # records above which a term is not
    beside: frozenset[str] = frozenset()  # terms that are not, since a ranking's own index knows them
    drive: str | None = None  # this term only, whatever it costs; "" is none


def gather(db: Connection, found: Conditions, plan: Plan, gathering: Gathering) -> Gathered:
    """Read and intersect the ids of the terms that few records pass."""
    limit, drive = gathering.limit, gathering.drive
    sources = {term.name: term.source for term in found.terms if term.source is not None}
    sources = {name: source for name, source in sources.items() if drive == name or name not in gathering.beside}
    counts = _counts(db, found, sources, limit) if drive is None else dict.fromkeys(sources.keys() & {drive}, 0)
    ids: np.ndarray | None = None
    known: set[str] = set()
    steps = []
    for name in sorted(counts, key=lambda name: (counts[name], name)):
        if counts[name] > (limit if ids is None else min(limit, _WORTH * len(ids))):
            break
        if name == "time" and known & _TIMED:
            continue
        own = _read_ids(db, sources[name], found)
        ids = own if ids is None else np.intersect1d(ids, own, assume_unique=True)
        steps.append(f"{name} {len(own)}")
        if sources[name].is_exact:
            known |= {name, "time"} if name in _TIMED else {name}
    if steps:
        plan.note(f"read from indexes: {', '.join(steps)} -> {0 if ids is None else len(ids)} records")
    elif counts:
        counted = ", ".join(f"{name} > {limit}" if n > limit else f"{name} {n}" for name, n in counts.items())
        plan.note(f"no index narrows much: {counted}")
    return Gathered(ids, [term for term in found.terms if term.name not in known], counts)


def _counts(db: Connection, found: Conditions, sources: dict[str, Source], limit: int) -> dict[str, int]:
    """At a glance; only if nothing is rare, up to the limit."""
    glance = min(GLANCE, limit)
    counts = {name: _count(db, source, found, glance) for name, source in sources.items()}
    if counts and min(counts.values()) > glance and limit > glance:
        counts = {name: _count(db, source, found, limit) for name, source in sources.items()}
    elif limit > glance:
        counts = {name: limit + 1 if n > glance else n for name, n in counts.items()}
    return counts


def _count(db: Connection, source: Source, found: Conditions, limit: int) -> int:
    """Records in a source, counted to limit + 1 at most."""
    sql = f"SELECT count(*) FROM (SELECT 1 FROM {source.table} WHERE {source.where} LIMIT {limit + 1})"
    return int(db.execute(sql, found.values).fetchone()[0])


def _read_ids(db: Connection, source: Source, found: Conditions) -> np.ndarray:
    rows = db.execute(source.ids(), found.values).fetchall()
    return np.sort(np.fromiter((row[0] for row in rows), np.int64, len(rows)))
