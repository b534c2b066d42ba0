"""Facts in a memory: statements go into the record log, answers come from an index that follows it."""

from __future__ import annotations

import contextlib
import json
import math
import threading
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import networkx as nx

from embmem.errors import StoreError
from embmem.facts.belief import Spell, hidden_spells, without
from embmem.facts.fact_index import FactIndex
from embmem.facts.graph import fact_graph
from embmem.facts.lines import ASSERTION, ONE_OF_MANY, RETRACTION, Said
from embmem.facts.statements import KINDS, Fact, Statement, said_by, what_of
from embmem.store import RecordStore
from embmem.store.schema import Connection
from embmem.store.writer import CommitTicket

_STATE = """SELECT (SELECT coalesce(max(id), 0) FROM records),
    (SELECT value FROM meta WHERE name = 'amendments'), (SELECT value FROM meta WHERE name = 'removals')"""
_COLUMNS = "id, kind, t_ingest, source, payload, confidence, valid_from, valid_to FROM records"
_ALL = f"SELECT {_COLUMNS} WHERE kind IN {KINDS} ORDER BY id"
_NEW = f"SELECT {_COLUMNS} WHERE id > ? AND +kind IN {KINDS} ORDER BY id"  # +: by id, not by kind
_DERIVED = "SELECT EXISTS(SELECT 1 FROM links WHERE record_id > ? AND relation = 'from')"  # may be hidden from birth


class FactMemory:
    """What is said of entities, on two clocks (M8 of Zep: Rasmussen et al., arXiv 2501.13956).

    Statements are records of the log and nothing is ever written over. What contradicts what, and when a fact ended,
    follows from the statements that are believed: withdrawing, correcting or purging a record changes the answers, and
    brings back what it had closed. `embmem.facts.fact_index` has the rule.
    """

    def __init__(self, store: RecordStore, *, many_valued: Collection[str] = ()) -> None:
        """On a store, which may hold other records as well.

        Args:
            store: the log; one that is read only can be asked.
            many_valued: predicates of which a subject may have many at a time, e.g. "next to". The log keeps that
                with every statement. All others are single-valued, and the last one holds.
        """
        self.store, self._declared = store, frozenset(many_valued)
        self._lock = threading.RLock()
        self._index, self._seen = FactIndex(), (0, 0, 0)
        self._rows: dict[int, int] = {}  # by record id
        self._created: list[float] = []  # by row, ingest time
        self._many: dict[str, bool] = {}  # by predicate, as far as it was asked for

    def assert_fact(
        self,
        subject: str,
        predicate: str,
        object: str | None = None,
        *,
        valid_at: float,
        value: Any = None,
        until: float = math.inf,
        source: str = "robot",
        confidence: float = 1.0,
        evidence: Iterable[int] = (),
    ) -> CommitTicket:
        """Say that something holds from `valid_at` [s] on; returns the ticket of the record.

        Args:
            subject: an entity, e.g. "mug-3".
            predicate: e.g. "in".
            object: another entity, e.g. "kitchen"; or else
            value: a JSON value.
            valid_at: event time [s].
            until: event time [s] up to which it holds, exclusive, where that is known.
            source: who says so.
            confidence: [0, 1]; decides between contradictions about the same moment.
            evidence: ids of records that it was derived from; if they are withdrawn or purged, so is this.

        Raises:
            ValueError: if something in it is not fit to be stored, or a predicate that was single-valued so far is
                declared many-valued now.
        """
        statement = Statement(subject, predicate, object, value, valid_at, until, source, confidence, tuple(evidence))
        return self.store.write(statement.record(is_many=self.is_many(predicate)))

    def retract(
        self,
        subject: str,
        predicate: str,
        object: str | None = None,
        *,
        valid_at: float,
        value: Any = None,
        source: str = "robot",
        confidence: float = 1.0,
        evidence: Iterable[int] = (),
    ) -> CommitTicket:
        """Say that something does not hold any more from `valid_at` [s] on; returns the ticket of the record.

        Without object and value it ends all that the predicate says of the subject. That it held before stays: what
        was never true is withdrawn (`embmem.store.amend`).

        Raises:
            ValueError: if something in it is not fit to be stored.
        """
        statement = Statement(
            subject, predicate, object, value, valid_at, math.inf, source, confidence, tuple(evidence),
            is_retraction=True,
        )  # fmt: skip
        return self.store.write(statement.record())

    def write_all(self, statements: Iterable[Statement]) -> list[int]:
        """Write many at once; the ids of their records, which are all acknowledged when this returns, or none is.

        Raises:
            ValueError: if one of them is not fit to be stored.
        """
        records = [
            statement.record(is_many=not statement.is_retraction and self.is_many(statement.predicate))
            for statement in statements
        ]
        return self.store.write_all(records)

    def facts(
        self,
        subject: str | None = None,
        predicate: str | None = None,
        object: str | None = None,
        *,
        value: Any = None,
        event_time: float = math.inf,
        belief_time: float = math.inf,
    ) -> list[Fact]:
        """What held at an event time [s] as it was believed at an ingest time [s]; by subject, predicate and object.

        Without `event_time`: what has begun and was not ended; without `belief_time`: as it is believed now.
        """
        _check_times(event_time, belief_time)
        with self._followed() as index:
            keys = index.keys(subject, predicate, what_of(object, value) or None)
            found = index.holding(keys, event_time, belief_time)
            return sorted((f for f in found if _is_about(f, object, value)), key=_by_name)

    def history(
        self,
        subject: str | None = None,
        predicate: str | None = None,
        object: str | None = None,
        *,
        value: Any = None,
        belief_time: float | None = None,
    ) -> list[Fact]:
        """Every version of every fact, by event time; or only what is believed at an ingest time [s], inf = now.

        At each point of both clocks that lies in a version's two intervals, and nowhere else, `facts` returns it.
        """
        _check_times(0.0, 0.0 if belief_time is None else belief_time)
        with self._followed() as index:
            keys = index.keys(subject, predicate, what_of(object, value) or None)
            found = index.versions(keys, belief_time)
            wanted = [f for f in found if _is_about(f, object, value)]
        return sorted(wanted, key=lambda f: (f.valid_at, *_by_name(f), f.ids, f.created_at))

    def is_many(self, predicate: str) -> bool:
        """Whether a subject may have many of a predicate: as the log has it, else as it is declared.

        Raises:
            ValueError: if the log has it as single-valued, and it is declared many-valued.
        """
        if predicate not in self._many:  # else asking the log would wait for the disk
            with self._followed() as index:
                known = index.is_many(predicate)
            if known is False and predicate in self._declared:
                raise ValueError(f"{predicate!r} has been single-valued in this memory so far; give it another name")
            self._many[predicate] = predicate in self._declared if known is None else known
        return self._many[predicate]

    def as_networkx(self, *, event_time: float = math.inf, belief_time: float = math.inf) -> nx.MultiDiGraph:
        """What `facts` returns as a graph; see `embmem.facts.fact_graph`."""
        return fact_graph(self.facts(event_time=event_time, belief_time=belief_time))

    def stats(self) -> dict[str, float]:
        """Counts of statements, of facts that hold now, and of what they are about."""
        with self._followed() as index:
            n_open = sum(end == math.inf for end in index.invalid_at)
            return {"statements": float(len(index.columns)), "open": float(n_open), "lines": float(index.n_lines)}

    @contextlib.contextmanager
    def _followed(self) -> Iterator[FactIndex]:
        """The index with all that is in the log by now."""
        with self._lock, self.store.reading() as db:
            if self.store.path is None:
                self._follow(db)
            else:
                db.execute("BEGIN")
                try:
                    self._follow(db)
                finally:
                    db.execute("ROLLBACK")
            yield self._index

    def _follow(self, db: Connection) -> None:
        """Read what is new in the log, then put it into the index: an error on the way leaves that as it was."""
        last, amendments, removals = (int(v or 0) for v in db.execute(_STATE).fetchone())
        if (last, amendments, removals) == self._seen:
            return
        if removals != self._seen[2] or last < self._seen[0]:
            self._index, self._seen, self._rows, self._created, self._many = FactIndex(), (0, 0, 0), {}, [], {}
        first = self._seen[0]
        rows = db.execute(_NEW, (first,)) if first else db.execute(_ALL)
        new = [said for row in rows if (said := _said(row)) is not None]
        is_amended = amendments and (amendments != self._seen[1] or db.execute(_DERIVED, (first,)).fetchone()[0])
        hidden = hidden_spells(db) if is_amended else None
        self._rows |= {said.id: i for i, said in enumerate(new, len(self._created))}
        self._created += [said.created for said in new]
        self._index.add_all(new)
        if hidden is not None:
            self._hide(hidden)
        self._seen = (last, amendments, removals)

    def _hide(self, by_record: dict[int, list[Spell]]) -> None:
        """Take over when each record was hidden."""
        hidden = {self._rows[i]: gaps for i, gaps in by_record.items() if i in self._rows}
        spells = {row: tuple(without([(self._created[row], math.inf)], gaps)) for row, gaps in hidden.items()}
        known = self._index.columns.spells
        changed = {row: spells[row] for row in spells if known.get(row) != spells[row]}
        self._index.set_spells(changed, {row: self._created[row] for row in known if row not in spells})


def _check_times(event_time: float, belief_time: float) -> None:
    if math.isnan(event_time) or math.isnan(belief_time):
        raise ValueError(f"times must be stamps [s], got event_time={event_time}, belief_time={belief_time}")


def _is_about(fact: Fact, object: str | None, value: Any) -> bool:
    return (object is None and value is None) or what_of(fact.object, fact.value) == what_of(object, value)


def _by_name(fact: Fact) -> tuple[str, str, str]:
    return fact.subject, fact.predicate, what_of(fact.object, fact.value)


def _said(row: tuple[Any, ...]) -> Said | None:
    """A row of the log as the index takes it; None if it only looks like a statement.

    Raises:
        StoreError: if it holds what `embmem.store` cannot have written.
    """
    record_id, kind, created, source, text, confidence, start, end = row
    try:
        payload = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreError(f"record {record_id} is damaged: {error}; see: embmem verify") from error
    if not all(type(v) is float for v in (created, confidence, start, end)) or type(source) is not str:
        raise StoreError(f"record {record_id} is damaged: a column holds what it cannot hold; see: embmem verify")
    is_retraction = kind == "retraction"
    said = said_by(payload, is_retraction=is_retraction)
    if said is None:
        return None
    subject, predicate, what, is_many = said
    form = RETRACTION if is_retraction else ONE_OF_MANY if is_many else ASSERTION
    return Said(record_id, subject, predicate, what, form, start, end, created, source, confidence)
