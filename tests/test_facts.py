"""Facts on two clocks equal a full resolve of all statements by brute force, whatever comes when."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embmem.errors import StoreError
from embmem.facts import Fact, FactMemory, Statement, coalesced
from embmem.facts.statements import said_by
from embmem.records import Link, Query, Record
from embmem.store import RecordStore
from embmem.store.amend import correct, restore, withdraw, withdraw_source
from embmem.store.purge import forget, purge

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


@given(streams(), st.integers(-1, 14))
def test_both_clocks_at_once_equal_a_full_resolve(stream: list[Told], ask_after: int) -> None:
    facts = written(stream, ask_after=ask_after)
    history = facts.history()
    for belief_time in (0.0, 1.0, 3.0, 4.0, 6.0, 8.0, INF):
        said = [told.statement for i, told in enumerate(stream) if believed(stream, i, belief_time) and told.statement]
        expected = resolved(said)
        assert {rectangle(f) for f in facts.history(belief_time=belief_time)} == expected
        versions = [f for f in history if covers(f.created_at, f.expired_at, belief_time)]
        assert {rectangle(f) for f in versions} == expected
        for event_time in (-1.0, 0.0, 1.5, 2.0, 4.0, 5.0, 7.0, 9.0, INF):
            found = facts.facts(event_time=event_time, belief_time=belief_time)
            assert {rectangle(f) for f in found} == {r for r in expected if covers(r[3], r[4], event_time)}
            assert set(found) <= set(versions)


@given(streams())
def test_a_version_lasts_as_long_as_nothing_changes(stream: list[Told]) -> None:
    history = written(stream).history()
    for a, b in itertools.permutations(history, 2):
        same = (a.ids, a.invalid_at) == (b.ids, b.invalid_at)
        assert not (same and a.created_at <= b.created_at <= a.expired_at)  # neither do they overlap nor touch


@given(st.lists(statements(), min_size=1, max_size=10), st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter_in_the_end(said: list[dict[str, Any]], rng: Any) -> None:
    shuffled = list(said)
    rng.shuffle(shuffled)
    both = [FactMemory(RecordStore(), many_valued=[MANY]) for _ in range(2)]
    for facts, order in zip(both, (said, shuffled), strict=True):
        facts.write_all(Statement(**one) for one in order)
    now = [[rectangle(f) for f in facts.history(belief_time=INF)] for facts in both]
    assert now[0] == now[1]
    for event_time in range(10):
        a, b = ([rectangle(f) for f in facts.facts(event_time=float(event_time))] for facts in both)
        assert a == b


@given(streams(), st.integers(0, 13))
def test_a_local_update_leaves_what_a_full_resolve_leaves(stream: list[Told], split: int) -> None:
    grown, whole = written(stream, ask_after=split), written(stream)
    for facts in (grown, whole):
        facts.facts()
    ends = [[str(end) for end in facts._index.invalid_at] for facts in (grown, whole)]
    assert ends[0] == ends[1]
    said = {(f.ids[0], f.invalid_at) for f in whole.history(belief_time=INF)}
    index = whole._index
    held = zip(index.columns.ids, index.columns.kinds, index.columns.starts, index.invalid_at, strict=True)
    assert {(i, end) for i, kind, start, end in held if kind and end > start} == said


def test_a_long_story_of_one_thing_is_told_as_a_full_resolve_tells_it() -> None:
    rng = np.random.default_rng(0)
    stream = [
        Told({"subject": "mug", "predicate": "in", "object": f"room-{i % 9}", "valid_at": float(t)}, float(i))
        for i, t in enumerate(rng.integers(0, 120, 160))
    ]
    withdrawn = {int(i): float(500 + j) for j, i in enumerate(rng.choice(160, 30, replace=False))}
    stream += [Told(None, t, (Link("withdraws", i + 1),)) for i, t in withdrawn.items()]
    facts = written(stream)
    versions = facts.history()
    for belief_time in (17.0, 80.0, 520.0, INF):
        known = [i for i in range(160) if i <= belief_time and not (i in withdrawn and withdrawn[i] <= belief_time)]
        expected = resolved(s for i in known if (s := stream[i].statement))
        now = facts.history(belief_time=belief_time)
        assert {rectangle(f) for f in now} == expected
        assert set(now) == {f for f in versions if covers(f.created_at, f.expired_at, belief_time)}
        for t in rng.uniform(0, 130, 20).tolist():
            found = facts.facts("mug", event_time=t, belief_time=belief_time)
            assert set(found) == {f for f in now if covers(f.valid_at, f.invalid_at, t)}


def test_a_late_fact_is_inserted_already_closed() -> None:
    store = RecordStore(clock=iter(range(100, 200)).__next__)
    facts = FactMemory(store)
    facts.assert_fact("mug-3", "in", "kitchen", valid_at=1.0)
    facts.assert_fact("mug-3", "in", "bedroom", valid_at=9.0)
    facts.assert_fact("mug-3", "in", "hall", valid_at=5.0)
    told = [(f.object, f.valid_at, f.invalid_at, f.created_at, f.expired_at) for f in facts.history("mug-3")]
    assert told == [
        ("kitchen", 1.0, INF, 100.0, 101.0),
        ("kitchen", 1.0, 9.0, 101.0, 102.0),
        ("kitchen", 1.0, 5.0, 102.0, INF),
        ("hall", 5.0, 9.0, 102.0, INF),
        ("bedroom", 9.0, INF, 101.0, INF),
    ]
    assert [f.object for f in facts.facts("mug-3", "in", event_time=6.0)] == ["hall"]
    assert [f.object for f in facts.facts("mug-3", "in", event_time=6.0, belief_time=101.0)] == ["kitchen"]
    assert [f.object for f in facts.facts("mug-3", "in", belief_time=100.0)] == ["kitchen"]
    assert facts.facts("mug-3", "in", belief_time=99.0) == []


def test_withdrawing_a_fact_opens_the_one_that_it_closed_and_restoring_it_closes_that_again() -> None:
    facts = FactMemory(RecordStore())
    facts.assert_fact("door-2", "state", value="open", valid_at=1.0)
    last = facts.assert_fact("door-2", "state", value="closed", valid_at=5.0).id
    assert [f.value for f in facts.facts("door-2")] == ["closed"]
    withdraw(facts.store, [last])
    (now,) = facts.facts("door-2")
    assert (now.value, now.valid_at, now.invalid_at) == ("open", 1.0, INF)
    restore(facts.store, last)
    assert [f.value for f in facts.facts("door-2")] == ["closed"]
    assert len(facts.history("door-2", value="open")) == 4  # open, closed at 5, open again, closed at 5 again


def test_what_a_fact_was_derived_from_takes_it_along() -> None:
    facts = FactMemory(RecordStore())
    seen = facts.store.write(Record(kind="note", t_event=1.0, source="camera", text="a mug")).id
    facts.assert_fact("mug-3", "in", "kitchen", valid_at=0.0)
    facts.assert_fact("mug-3", "in", "hall", valid_at=1.0, evidence=[seen])
    withdraw(facts.store, [seen])
    assert [f.object for f in facts.facts("mug-3")] == ["kitchen"]
    facts.assert_fact("mug-3", "in", "attic", valid_at=2.0, evidence=[seen])  # hidden from birth
    assert [f.object for f in facts.facts("mug-3")] == ["kitchen"]


def test_a_purged_source_and_a_forgotten_record_leave_nothing() -> None:
    facts = FactMemory(RecordStore())
    facts.assert_fact("mug-3", "in", "kitchen", valid_at=0.0)
    facts.assert_fact("mug-3", "in", "hall", valid_at=1.0, source="radio")
    third = facts.assert_fact("mug-3", "in", "attic", valid_at=2.0).id
    assert [f.object for f in facts.facts(event_time=1.0)] == ["hall"]
    purge(facts.store, "radio")
    assert [f.object for f in facts.facts(event_time=1.0)] == ["kitchen"]
    forget(facts.store, [third])
    assert [f.object for f in facts.facts()] == ["kitchen"]
    assert {f.object for f in facts.history()} == {"kitchen"}


def test_a_corrected_fact_stands_in_the_place_of_the_old_one() -> None:
    facts = FactMemory(RecordStore(clock=iter(range(100, 200)).__next__))
    wrong = facts.assert_fact("mug-3", "in", "hall", valid_at=1.0).id
    payload = {"subject": "mug-3", "predicate": "in", "object": "attic"}
    new = correct(facts.store, wrong, payload=payload, text="mug-3 in attic").wait()
    assert [(f.object, f.ids) for f in facts.facts("mug-3")] == [("attic", (new,))]
    assert [(f.object, f.created_at, f.expired_at) for f in facts.history("mug-3")] == [
        ("attic", 101.0, INF),
        ("hall", 100.0, 101.0),
    ]


def test_a_source_can_be_disbelieved_and_believed_again() -> None:
    facts = FactMemory(RecordStore())
    facts.write_all(Statement("mug", "in", f"room {i % 7}", valid_at=float(i), source=f"s{i % 2}") for i in range(20))
    before = facts.facts("mug", event_time=13.0)
    withdrawals = withdraw_source(facts.store, "s1")
    assert [f.object for f in facts.facts("mug", event_time=13.0)] == ["room 5"]
    withdraw(facts.store, withdrawals)
    assert [rectangle(f) for f in facts.facts("mug", event_time=13.0)] == [rectangle(f) for f in before]


@pytest.mark.parametrize(
    ("first", "second", "wins"),
    [
        ({"confidence": 0.4}, {"confidence": 0.9}, 1),
        ({"confidence": 0.9}, {"confidence": 0.4, "source": "z"}, 0),
        ({"source": "b"}, {"source": "a"}, 0),
        ({"object": "kitchen"}, {"object": "attic"}, 0),
    ],
)
def test_of_two_facts_about_the_same_moment_one_is_right_whatever_their_order(
    first: dict[str, Any], second: dict[str, Any], wins: int
) -> None:
    said = [Statement("mug", "in", **{"object": "hall", **more}, valid_at=3.0) for more in (first, second)]
    for order in (said, said[::-1]):
        facts = FactMemory(RecordStore())
        facts.write_all(order)
        assert [rectangle(f)[2:] for f in facts.facts()] == [
            (said[wins].what, 3.0, INF, said[wins].source, said[wins].confidence)
        ]


def test_what_many_may_do_ends_one_by_one_or_together() -> None:
    facts = FactMemory(RecordStore(), many_valued=["on"])
    for i, thing in enumerate(("cup", "plate", "book")):
        facts.assert_fact("table", "on", thing, valid_at=float(i))
    facts.retract("table", "on", "plate", valid_at=4.0)
    assert [f.object for f in facts.facts("table")] == ["book", "cup"]
    facts.retract("table", "on", valid_at=5.0)
    assert facts.facts("table") == []
    assert [f.object for f in facts.facts("table", event_time=3.0)] == ["book", "cup", "plate"]
    again = FactMemory(facts.store)  # the log knows which predicates are many-valued
    again.assert_fact("table", "on", "cup", valid_at=6.0)
    again.assert_fact("table", "on", "book", valid_at=7.0)
    assert len(again.facts("table")) == 2


def test_asking_by_predicate_and_by_object_finds_what_asking_for_all_finds() -> None:
    facts = FactMemory(RecordStore(), many_valued=[MANY])
    rooms = ("kitchen", "hall", "attic")
    facts.write_all(
        Statement(f"thing-{i % 9}", p, rooms[i * 7 % 3], valid_at=float(i)) for i in range(40) for p in ("in", MANY)
    )
    every = facts.facts(event_time=30.0)
    assert len(every) > 15
    for predicate in ("in", MANY, None):
        for room in (*rooms, None):
            wanted = [f for f in every if predicate in (f.predicate, None) and room in (f.object, None)]
            assert facts.facts(predicate=predicate, object=room, event_time=30.0) == wanted
    assert facts.facts("nobody") == facts.facts(object="nowhere") == facts.facts(value="kitchen") == []


def test_values_are_told_apart_as_json_tells_them() -> None:
    facts = FactMemory(RecordStore(), many_valued=["reads"])
    for i, value in enumerate([1, 1.0, True, "1", [1, 2], {"b": 1, "a": 2}, {"a": 2, "b": 1}]):
        facts.assert_fact("dial", "reads", value=value, valid_at=float(i))
    assert len(facts.facts("dial")) == 5
    assert [f.valid_at for f in facts.facts("dial", value=1)] == [1.0]
    with pytest.raises(ValueError, match="a value must be JSON"):
        facts.assert_fact("dial", "reads", value=math.nan, valid_at=0.0)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ({"object": "a", "value": 1}, "an object or a value"),
        ({}, "say what 'mug' 'in' is"),
        ({"object": ""}, "names must be text"),
        ({"object": "a", "valid_at": INF}, "valid_at must be a finite stamp"),
        ({"object": "a", "until": 1.0}, "until must come after valid_at"),
        ({"object": "a", "confidence": 2.0}, "confidence must be within"),
        ({"object": "a", "evidence": [7]}, "goes to an earlier record"),
    ],
)
def test_what_is_no_fact_is_refused_and_nothing_is_written(what: dict[str, Any], message: str) -> None:
    facts = FactMemory(RecordStore())
    with pytest.raises(ValueError, match=message):
        facts.assert_fact("mug", "in", **{"valid_at": 1.0, **what})
    assert len(facts.store) == 0


def test_a_predicate_does_not_change_its_nature() -> None:
    facts = FactMemory(RecordStore())
    facts.assert_fact("mug", "in", "hall", valid_at=1.0)
    with pytest.raises(ValueError, match="'in' has been single-valued"):
        FactMemory(facts.store, many_valued=["in"]).assert_fact("mug", "in", "attic", valid_at=2.0)
    with pytest.raises(ValueError, match="times must be stamps"):
        facts.facts(event_time=math.nan)


def test_records_that_only_look_like_facts_are_passed_over() -> None:
    facts = FactMemory(RecordStore())
    for payload in ({}, {"subject": "a"}, {"subject": "a", "predicate": 3, "object": "b"}, {"subject": "a", "predicate":
                    "p", "object": "b", "value": 1}, {"subject": "a", "predicate": "p"}):  # fmt: skip
        facts.store.write(Record(kind="fact", t_event=1.0, source="s", payload=payload))
    assert facts.facts() == []


def test_what_is_said_again_and_again_is_one_fact_when_coalesced() -> None:
    facts = FactMemory(RecordStore())
    rooms = ["kitchen", "kitchen", "hall", "hall", "hall", "kitchen"]
    ids = facts.write_all(Statement("mug", "in", room, valid_at=float(i)) for i, room in enumerate(rooms))
    merged = coalesced(facts.history("mug", belief_time=INF))
    assert [(f.object, f.valid_at, f.invalid_at, f.ids) for f in merged] == [
        ("kitchen", 0.0, 2.0, tuple(ids[:2])),
        ("hall", 2.0, 5.0, tuple(ids[2:5])),
        ("kitchen", 5.0, INF, (ids[5],)),
    ]


@given(st.lists(statements(), max_size=10))
def test_coalescing_changes_nothing_that_holds(said: list[dict[str, Any]]) -> None:
    facts = FactMemory(RecordStore(), many_valued=[MANY])
    facts.write_all(Statement(**one) for one in said)
    parts = facts.history(belief_time=INF)
    merged = coalesced(parts)
    for t in range(-1, 14):
        a, b = (
            {rectangle(f)[:3] for f in some if covers(f.valid_at, f.invalid_at, float(t))} for some in (parts, merged)
        )
        assert a == b
    touching = {(rectangle(f)[:3], f.invalid_at) for f in merged} & {(rectangle(f)[:3], f.valid_at) for f in merged}
    assert not touching


def test_facts_are_found_as_records_too() -> None:
    facts = FactMemory(RecordStore())
    facts.assert_fact("mug-3", "in", "kitchen", valid_at=1.0)
    facts.retract("mug-3", "in", "kitchen", valid_at=2.0)
    assert [r.text for r in facts.store.read(Query(entity="mug-3"))] == [
        "mug-3 no longer in kitchen",
        "mug-3 in kitchen",
    ]
    assert len(facts.store.read(Query(key="fact:mug-3"))) == len(facts.store.read(Query(text="kitchen"))) == 2


def test_the_graph_of_a_moment_is_json_and_has_values_at_its_nodes() -> None:
    facts = FactMemory(RecordStore(), many_valued=["next to", "smells of"])
    facts.assert_fact("mug", "in", "hall", valid_at=1.0, until=5.0, source="anna", confidence=0.5)
    facts.assert_fact("mug", "next to", "lamp", valid_at=1.0)
    facts.assert_fact("mug", "next to", "door", valid_at=2.0)
    facts.assert_fact("mug", "colour", value="red", valid_at=1.0)
    for smell in ("tea", "coffee"):
        facts.assert_fact("mug", "smells of", value=smell, valid_at=1.0)
    graph = facts.as_networkx(event_time=1.5)
    assert set(graph.edges(keys=True)) == {("mug", "hall", "in"), ("mug", "lamp", "next to")}
    assert graph.nodes["mug"] == {"values": {"colour": "red", "smells of": ["coffee", "tea"]}}
    edge = graph.edges["mug", "hall", "in"]
    assert (edge["valid_at"], edge["invalid_at"], edge["expired_at"], edge["said_by"]) == (1.0, 5.0, None, "anna")
    text = json.dumps(nx.node_link_data(graph, edges="edges"), allow_nan=False)
    assert nx.utils.graphs_equal(nx.node_link_graph(json.loads(text), edges="edges"), graph)
    assert set(facts.as_networkx().edges(keys=True)) == {("mug", "lamp", "next to"), ("mug", "door", "next to")}


names = st.sampled_from(["subject", "predicate", "object", "value", "x"])
json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner),
)


@given(json_values)
def test_no_payload_of_a_file_breaks_the_index(payload: Any) -> None:
    for is_retraction in (False, True):
        said = said_by(payload, is_retraction=is_retraction)
        assert said is None or (bool(said[0] and said[1]) and isinstance(payload, dict))


def test_a_damaged_record_is_named() -> None:
    facts = FactMemory(RecordStore())
    facts.assert_fact("mug", "in", "hall", valid_at=1.0)
    with facts.store.changing() as db:
        db.execute("UPDATE records SET payload = '{'")
    with pytest.raises(StoreError, match="record 1 is damaged"):
        facts.facts()
    with facts.store.changing() as db:
        db.execute("UPDATE records SET payload = '{}', valid_from = 'x'")
    with pytest.raises(StoreError, match="record 1 is damaged: a column"):
        facts.facts()
