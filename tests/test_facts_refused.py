"""What is no fact: bad arguments, records that only look like facts, damaged files."""

from __future__ import annotations

import math
import sqlite3
from typing import Any

import pytest
from facts_model import INF
from hypothesis import given
from hypothesis import strategies as st

from embmem.errors import StoreError
from embmem.facts import FactMemory, fact_memory
from embmem.facts.statements import said_by
from embmem.records import Record
from embmem.store import RecordStore
from embmem.store.amend import withdraw


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


def test_an_error_while_the_log_is_read_leaves_the_index_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = FactMemory(RecordStore())
    facts.assert_fact("mug", "in", "hall", valid_at=1.0)
    wrong = facts.assert_fact("mug", "in", "attic", valid_at=2.0).id
    withdraw(facts.store, [wrong])

    def fail(_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(fact_memory, "hidden_spells", fail)
        with pytest.raises(StoreError, match="disk I/O error"):
            facts.facts()
    assert facts.stats()["statements"] == 2.0
    assert [f.object for f in facts.facts()] == ["hall"]
