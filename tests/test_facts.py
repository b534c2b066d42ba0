"""Worked stories of facts: late, contradicted, taken back, corrected, many at a time, as a graph."""

from __future__ import annotations

import json
import math
from typing import Any

import networkx as nx
import pytest
from facts_model import INF, MANY, rectangle

from embmem.facts import FactMemory, Statement, coalesced
from embmem.records import Query, Record
from embmem.store import RecordStore
from embmem.store.amend import correct, restore, withdraw, withdraw_source
from embmem.store.purge import forget, purge


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
    assert facts.facts("") == facts.facts(predicate="") == facts.facts(object="") == []
    assert facts.facts("nobody") == facts.facts(object="nowhere") == facts.facts(value="kitchen") == []


def test_values_are_told_apart_as_json_tells_them() -> None:
    facts = FactMemory(RecordStore(), many_valued=["reads"])
    for i, value in enumerate([1, 1.0, True, "1", [1, 2], {"b": 1, "a": 2}, {"a": 2, "b": 1}]):
        facts.assert_fact("dial", "reads", value=value, valid_at=float(i))
    assert len(facts.facts("dial")) == 5
    assert [f.valid_at for f in facts.facts("dial", value=1)] == [1.0]
    with pytest.raises(ValueError, match="a value must be JSON"):
        facts.assert_fact("dial", "reads", value=math.nan, valid_at=0.0)


def test_facts_are_found_as_records_too() -> None:
    facts = FactMemory(RecordStore())
    facts.assert_fact("mug-3", "in", "kitchen", valid_at=1.0)
    facts.retract("mug-3", "in", "kitchen", valid_at=2.0)
    assert [r.text for r in facts.store.read(Query(entity="mug-3"))] == [
        "mug-3 no longer in kitchen",
        "mug-3 in kitchen",
    ]
    assert len(facts.store.read(Query(key="fact:mug-3"))) == len(facts.store.read(Query(text="kitchen"))) == 2


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
