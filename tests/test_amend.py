"""Corrections, withdrawals and what undoes them; what is asked as of a time equals a plain model on both clocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embmem.records import Link, Query, Record
from embmem.store import RecordStore
from embmem.store.amend import correct, history, is_believed, restore, withdraw, withdraw_source


def mug(*links: tuple[str, int], text: str = "red mug", source: str = "camera", t: float = 1.0) -> Record:
    position, embedding = np.array([1.0, 2.0, 0.5]), np.ones(3, np.float32)
    return Record(
        kind="note", t_event=t, source=source, text=text, position=position, embedding=embedding, entities=("mug",),
        payload={"seen": 3}, links=tuple(Link(*link) for link in links),
    )  # fmt: skip


def visible(store: RecordStore) -> set[int]:
    return {r.id for r in store.read(Query(k=100_000)) if r.id is not None}


def test_a_correction_stands_in_the_place_of_the_record() -> None:
    store = RecordStore()
    store.write_all([mug(), mug(("from", 1), ("near", 1), text="the mug is on the table")])
    new = correct(store, 2, position=np.zeros(3), source="anna", reason="it had been moved").wait()
    (record,) = store.get([new])
    assert record.position is not None
    assert record.position.tolist() == [0.0, 0.0, 0.0]
    assert (record.kind, record.t_event, record.text, record.entities) == (
        "note",
        1.0,
        "the mug is on the table",
        ("mug",),
    )
    assert (record.source, record.payload) == ("anna", {"seen": 3, "reason": "it had been moved"})
    assert record.links == (Link("corrects", 2), Link("from", 1), Link("near", 1))
    assert record.embedding is not None
    assert visible(store) == {1, new}


def test_another_text_does_not_keep_the_meaning_of_the_old_one() -> None:
    store = RecordStore()
    store.write(mug())
    (record,) = store.get([correct(store, 1, text="blue mug").wait()])
    assert record.embedding is None
    assert [r.text for r in store.read(Query(text="red blue"))] == ["blue mug"]


@pytest.mark.parametrize(
    ("record_id", "changes", "what"),
    [
        (9, {"text": "x"}, "there is no record 9"),
        (1, {"text": "x"}, "record 1 has been corrected or withdrawn already"),
        (2, {"id": 7}, "a correction changes some of"),
        (2, {"colour": "blue"}, "a correction changes some of"),
        (2, {}, "a correction changes some of"),
        (2, {"confidence": 3.0}, "confidence must be within"),
    ],
)
def test_a_correction_that_cannot_be_is_refused_and_nothing_is_written(
    record_id: int, changes: dict[str, Any], what: str
) -> None:
    store = RecordStore()
    store.write(mug())
    correct(store, 1, confidence=0.5)
    with pytest.raises(ValueError, match=what):
        correct(store, record_id, **changes)
    assert len(store) == 2


def test_a_version_that_was_corrected_twice_is_restored_without_the_later_ones() -> None:
    store = RecordStore()
    store.write(mug())
    for record_id in (1, 2, 3):
        correct(store, record_id, confidence=record_id / 10)
    (undo,) = restore(store, 2)
    assert visible(store) == {2, undo}
    assert store.get([undo])[0].links == (Link("withdraws", 3), Link("withdraws", 4))
    withdraw(store, [undo])
    assert visible(store) & {1, 2, 3, 4} == {4}


def test_one_of_many_that_were_withdrawn_together_is_restored_alone() -> None:
    store = RecordStore()
    store.write_all([mug(), mug(), mug(("from", 2)), mug(source="radio")])
    (withdrawal,) = withdraw_source(store, "camera", reason="the lens was dirty")
    assert visible(store) == {4, withdrawal}
    (undo,) = restore(store, 2)
    assert visible(store) & {1, 2, 3, 4} == {2, 4}  # 3 was withdrawn itself
    withdraw(store, [undo])
    assert visible(store) & {1, 2, 3, 4} == {4}


def test_what_was_withdrawn_together_is_restored_one_by_one() -> None:
    store = RecordStore()
    store.write_all([mug(), mug(), mug()])
    withdraw(store, [1, 2, 3])
    for record_id in (2, 1, 3):
        restore(store, record_id)
    assert visible(store) & {1, 2, 3} == {1, 2, 3}


def test_what_cannot_be_restored_says_why() -> None:
    store = RecordStore()
    store.write_all([mug(), mug(("from", 1))])
    with pytest.raises(ValueError, match="record 2 is not hidden"):
        restore(store, 2)
    withdraw(store, [1])
    with pytest.raises(ValueError, match="record 2 is hidden because record 3 amends what it was derived from"):
        restore(store, 2)
    restore(store, 1)
    assert is_believed(store, 2)


def test_a_source_of_many_records_is_withdrawn_and_brought_back() -> None:
    store = RecordStore()
    store.write_all(mug(t=float(i)) for i in range(5000))
    store.write_all([mug(("from", 17), source="radio"), mug(source="radio")])
    withdrawals = withdraw_source(store, "camera", by="anna")
    assert len(withdrawals) == 3
    assert visible(store) == {5002, *withdrawals}
    assert store.get(withdrawals)[0].t_event == 4999.0
    withdraw(store, withdrawals)
    assert len(visible(store) - set(withdrawals)) == 5003
    assert withdraw_source(store, "nobody") == []


def test_a_query_says_what_is_withdrawn_whatever_its_k() -> None:
    store = RecordStore()
    store.write_all([mug(text=f"{'red' if i % 2 else 'blue'} mug", t=float(i)) for i in range(40)])
    withdraw(store, Query(text="red", until=20.0, k=1), reason="wrong colour")
    left = [r.text for r in store.read(Query(kind="note", k=100))]
    assert (left.count("red mug"), left.count("blue mug")) == (10, 20)
    assert withdraw(store, Query(text="green")) == []


def test_history_tells_all_versions_and_what_came_of_them() -> None:
    store = RecordStore()
    store.write_all([mug(), mug(("from", 1)), mug()])
    correct(store, 1, confidence=0.5)
    (undo,) = restore(store, 1)
    told = [(v.id, v.role, v.of, v.hidden_by) for v in history(store, 4)]
    assert told == [
        (1, "original", (), ()),
        (2, "derived", (1,), ()),
        (4, "correction", (1,), (undo,)),
        (undo, "withdrawal", (4,), ()),
    ]
    with pytest.raises(ValueError, match="there is no record 77"):
        history(store, 77)


@dataclass
class Fact:
    """What a plain list keeps of a record."""

    t_event: float
    t_ingest: float
    valid: tuple[float, float]
    withdraws: tuple[int, ...]


clocks = st.integers(0, 12).map(float)


@st.composite
def streams(draw: st.DrawFn) -> list[Fact]:
    """Records that arrive in any order on both clocks; some withdraw earlier ones, withdrawals among them."""
    facts = []
    for i in range(draw(st.integers(1, 12))):
        start = draw(clocks)
        valid = (start, start + draw(st.integers(1, 6)))
        targets = tuple(draw(st.sets(st.integers(1, i), max_size=2))) if i else ()
        facts.append(Fact(draw(clocks), draw(clocks), valid, targets))
    return facts


def believed(facts: list[Fact], i: int, as_of: float) -> bool:
    """Whether record i + 1 is there and not withdrawn by a record that is believed itself."""
    by = [j for j, fact in enumerate(facts) if i + 1 in fact.withdraws]
    return facts[i].t_ingest <= as_of and not any(believed(facts, j, as_of) for j in by)


@given(streams(), clocks, clocks, clocks, clocks)
def test_time_travel_on_both_clocks_equals_a_plain_list(
    facts: list[Fact], as_of: float, valid_at: float, since: float, until: float
) -> None:
    store = RecordStore()
    for fact in facts:
        links = tuple(Link("withdraws", to) for to in fact.withdraws)
        store.write(
            Record(kind="fact", t_event=fact.t_event, source="s", t_ingest=fact.t_ingest, valid=fact.valid, links=links)
        )
    then = {i + 1 for i in range(len(facts)) if believed(facts, i, as_of)}
    valid = {i + 1 for i, fact in enumerate(facts) if fact.valid[0] <= valid_at < fact.valid[1]}
    seen = {i + 1 for i, fact in enumerate(facts) if since <= fact.t_event < until}
    for query, expected in [
        (Query(as_of=as_of, k=100), then),
        (Query(as_of=as_of, valid_at=valid_at, k=100), then & valid),
        (Query(as_of=as_of, since=since, until=until, k=100), then & seen),
        (Query(k=100), {i + 1 for i in range(len(facts)) if believed(facts, i, np.inf)}),
    ]:
        assert {record.id for record in store.read(query)} == expected
