"""Retrieval over two levels: the gate decides, reads count, and every answer says where it comes from."""

from __future__ import annotations

import numpy as np
import pytest

from embmem.forgetting.budgets import Uses
from embmem.long_term import LongTermMemory
from embmem.recall import MultiLevelRecall
from embmem.records import Query, Record
from embmem.short_term.eviction import Lru
from embmem.short_term.memory import ShortTermMemory
from embmem.store import RecordStore

HERE = np.array([0.0, 0.0, 1.0])


def sighting(t: float, x: float, angle: float, entity: str = "mug") -> Record:
    look = np.array([np.cos(angle), np.sin(angle)], dtype=np.float32)
    position = np.array([x, 0.0, 1.0])
    return Record(kind="sighting", t_event=t, source="c", position=position, entities=(entity,), embedding=look)


@pytest.fixture
def levels() -> MultiLevelRecall:
    short_term, long_term = ShortTermMemory(Lru(4)), LongTermMemory(RecordStore(clock=lambda: 0.0))
    for i in range(4):
        short_term.put(f"s{i}", sighting(100.0 + i, float(i), 0.2 * i))  # 3 of them within 3 m, s3 on its edge
        long_term.write(sighting(float(i), 0.5 * i, 0.3 * i + 1.2, "cup"))
    return MultiLevelRecall(short_term, long_term, uses=Uses(), clock=lambda: 50.0)


def ask(angle: float, **more: object) -> Query:
    look = np.array([np.cos(angle), np.sin(angle)], dtype=np.float32)
    return Query(embedding=look, near=HERE, **more)  # type: ignore[arg-type]


def test_what_is_at_hand_and_alike_answers(levels: MultiLevelRecall) -> None:
    found = levels.recall(ask(0.0))
    assert found.level == "short_term"
    assert len(found.hits) == 3
    assert [hit.layer for hit in found.hits] == ["short_term"] * 3
    assert all(hit.score >= 0.7 for hit in found.hits)
    assert "3 at hand" in found.why
    assert levels.uses is not None
    assert levels.uses.reads == {}


def test_below_the_gate_the_long_term_memory_answers_and_is_used(levels: MultiLevelRecall) -> None:
    found = levels.recall(ask(2.1))  # the best at hand is 1.5 rad off
    assert found.level == "long_term"
    assert "below 0.70" in found.why
    assert len(found.hits) == 3
    assert {hit.layer for hit in found.hits} == {"long_term"}
    ids = [hit.record.id for hit in found.hits if hit.record]
    assert levels.uses is not None
    assert levels.uses.reads == dict.fromkeys(ids, (1, 50.0))
    levels.recall(ask(2.1))
    assert all(n == 2 for n, _ in levels.uses.reads.values())


def test_too_far_is_not_at_hand(levels: MultiLevelRecall) -> None:
    far = Query(embedding=np.array([1.0, 0.0], dtype=np.float32), near=np.array([50.0, 0.0, 1.0]))
    found = levels.recall(far)
    assert found.level == "long_term"
    assert "nothing at hand within 3 m" in found.why


def test_a_name_needs_no_similarity(levels: MultiLevelRecall) -> None:
    assert levels.recall(Query(entity="mug", near=HERE)).level == "short_term"
    found = levels.recall(Query(entity="cup", near=HERE))
    assert (found.level, len(found.hits)) == ("long_term", 3)
    nothing = levels.recall(Query(entity="unicorn", near=HERE))
    assert (nothing.level, nothing.hits) == ("none", [])
    assert "nothing that matches" in nothing.why


def test_reading_keeps_a_thing_at_hand(levels: MultiLevelRecall) -> None:
    levels.recall(ask(0.0, k=1))  # the least recently used ones among others, s3 is too far
    for i in range(1):
        levels.short_term.put(f"new{i}", sighting(200.0, 9.0, 3.0))
    assert "s0" in levels.short_term
    assert "s3" not in levels.short_term


def test_a_look_that_fails_the_gate_is_no_use(levels: MultiLevelRecall) -> None:
    before = levels.short_term.save().arrays["policy"].tobytes()
    levels.recall(ask(2.1))
    assert levels.short_term.save().arrays["policy"].tobytes() == before


@pytest.mark.parametrize("settings", [{"similarity": 1.5}, {"radius": 0.0}, {"k": 0}])
def test_senseless_settings_are_refused(levels: MultiLevelRecall, settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="need"):
        MultiLevelRecall(levels.short_term, levels.long_term, **settings)  # type: ignore[arg-type]
