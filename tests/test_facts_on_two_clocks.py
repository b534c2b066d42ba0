"""Facts on two clocks equal a full resolve of all statements by brute force, whatever comes when."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from facts_model import INF, MANY, Told, believed, covers, rectangle, resolved, statements, streams, written
from hypothesis import given
from hypothesis import strategies as st

from embmem.facts import FactMemory, Statement, coalesced
from embmem.records import Link
from embmem.store import RecordStore


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
