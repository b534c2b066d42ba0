"""What facts must be: a full resolve of all statements by brute force, and streams of statements to try it on."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from embmem.facts import Fact, FactMemory, Statement
from embmem.records import Link, Record
from embmem.store import RecordStore

INF = math.inf
MANY = "next to"
Rectangle = tuple[Any, ...]  # subject, predicate, what, valid_at, invalid_at, source, confidence


@dataclass(frozen=True)
class Told:
    """A record of a stream: a statement, or a withdrawal of earlier records."""

    said: dict[str, Any] | None
    t_ingest: float
    links: tuple[Link, ...] = ()

    @property
    def statement(self) -> Statement | None:
        return None if self.said is None else Statement(**self.said)


def rank(statement: Statement) -> tuple[Any, ...]:
    s = statement
    return s.valid_at, s.confidence, s.source, not s.is_retraction, s.what, s.until


def resolved(statements: Iterable[Statement]) -> set[Rectangle]:
    """What held from when to when, from all that is believed at once."""
    order = sorted(statements, key=rank)
    found = set()
    for i, x in enumerate(order):
        ends = [
            y.valid_at
            for y in order[i + 1 :]
            if (y.subject, y.predicate) == (x.subject, x.predicate)
            and (y.what in ("", x.what) or (not y.is_retraction and y.predicate != MANY))
        ]
        end = min([x.until, *ends])
        if not x.is_retraction and end > x.valid_at:
            found.add((x.subject, x.predicate, x.what, x.valid_at, end, x.source, x.confidence))
    return found


def believed(stream: list[Told], i: int, t: float) -> bool:
    """Whether record i + 1 is there at a belief time, and neither it nor what it was derived from is withdrawn."""
    by = [j for j, told in enumerate(stream) if Link("withdraws", i + 1) in told.links]
    sources = [link.to - 1 for link in stream[i].links if link.relation == "from"]
    return (
        stream[i].t_ingest <= t
        and not any(believed(stream, j, t) for j in by)
        and not any(gone(stream, k, t) for k in sources)
    )


def gone(stream: list[Told], i: int, t: float) -> bool:
    """Whether record i + 1, or what it was derived from, is withdrawn at a time, whether or not it is there yet."""
    by = [j for j, told in enumerate(stream) if Link("withdraws", i + 1) in told.links]
    sources = [link.to - 1 for link in stream[i].links if link.relation == "from"]
    return any(believed(stream, j, t) for j in by) or any(gone(stream, k, t) for k in sources)


def rectangle(fact: Fact) -> Rectangle:
    what = Statement("s", "p", fact.object, fact.value, 0.0).what
    return (fact.subject, fact.predicate, what, fact.valid_at, fact.invalid_at, fact.source, fact.confidence)


def covers(start: float, end: float, t: float) -> bool:
    return start <= t and (t < end or end == INF)


clocks = st.integers(0, 8).map(float)


@st.composite
def statements(draw: st.DrawFn) -> dict[str, Any]:
    """What `Statement` takes; made outside, since the type checks of the tests draw random numbers."""
    start = draw(clocks)
    is_retraction = draw(st.integers(0, 3)) == 0
    what: dict[str, Any] = draw(
        st.sampled_from([{"object": "kitchen"}, {"object": "hall"}, {"value": 1}] + ([{}] if is_retraction else []))
    )
    return {
        "subject": draw(st.sampled_from(["mug", "key"])), "predicate": draw(st.sampled_from(["in", MANY])), **what,
        "valid_at": start, "until": INF if is_retraction or draw(st.booleans()) else start + draw(st.integers(1, 4)),
        "source": draw(st.sampled_from(["a", "b"])), "confidence": draw(st.sampled_from([0.5, 1.0])),
        "is_retraction": is_retraction,
    }  # fmt: skip


@st.composite
def streams(draw: st.DrawFn) -> list[Told]:
    """Statements and withdrawals that come in any order on both clocks; some are derived from earlier ones."""
    stream: list[Told] = []
    for i in range(draw(st.integers(1, 14))):
        is_withdrawal = i > 0 and draw(st.integers(0, 3)) == 0
        relation = "withdraws" if is_withdrawal else "from"
        targets = draw(st.sets(st.integers(1, i), max_size=2)) if i and (is_withdrawal or draw(st.booleans())) else ()
        links = tuple(Link(relation, to) for to in sorted(targets))
        stream.append(Told(None if is_withdrawal else draw(statements()), draw(clocks), links))
    return stream


def written(stream: list[Told], *, ask_after: int = -1) -> FactMemory:
    """The stream in a memory; it is asked once on the way, so that its index is extended afterwards."""
    store = RecordStore()
    facts = FactMemory(store, many_valued=[MANY])
    for i, told in enumerate(stream):
        record = Record(kind="withdrawal", t_event=0.0, source="c")
        if told.statement is not None:
            record = told.statement.record(is_many=told.statement.predicate == MANY)
        store.write(replace(record, t_ingest=told.t_ingest, links=told.links))
        if i == ask_after:
            facts.facts()
    return facts
