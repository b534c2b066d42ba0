"""Long-term memory: the log of a key is exactly what was filed there, in order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embmem.long_term import LongTermMemory
from embmem.records import Link, Query, Record
from embmem.store import RecordStore


def some_record(rng: np.random.Generator, t: float) -> Record:
    place = ("hall", "bath", None)[rng.integers(3)]
    position = rng.uniform(-2.0, 2.0, 3) if place is None or rng.random() < 0.8 else None
    return Record(
        kind="note", t_event=t, source="test", place=place, position=position,
        embedding=rng.normal(size=8).astype(np.float32),
    )  # fmt: skip


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 1.0]))
@settings(deadline=None, max_examples=20)
def test_the_logs_are_those_of_a_plain_dictionary(seed: int, edge: float) -> None:
    rng = np.random.default_rng(seed)
    memory = LongTermMemory(RecordStore(clock=lambda: 0.0), edge=edge)
    model: dict[str, list[int]] = {}
    positions = {}
    for t in rng.integers(0, 50, 40):
        record = some_record(rng, float(t))
        record_id = memory.write(record).wait()
        if record.position is not None:
            x, y, z = np.floor(record.position / edge).astype(int).tolist()
            model.setdefault(f"voxel:{x},{y},{z}", []).append(record_id)
            positions[record_id] = record.position
        if record.place is not None:
            model.setdefault(f"place:{record.place}", []).append(record_id)
    for key, ids in model.items():
        assert [record.id for record in memory.history(key)] == ids
    assert memory.history("voxel:99,0,0") == []
    here = rng.uniform(-2.0, 2.0, 3)
    near = {i for i, p in positions.items() if np.linalg.norm(p - here) <= 1.2}
    logs = memory.near(here, 1.2)
    assert {record.id for log in logs.values() for record in log} == near
    assert all({record.id for record in log} == near & set(model[key]) for key, log in logs.items())
    memory.store.close()


def test_history_follows_corrections_and_time() -> None:
    memory = LongTermMemory(RecordStore(clock=lambda: 0.0))
    here = np.array([0.5, 0.5, 0.5])
    first = memory.write(Record(kind="note", t_event=5.0, source="me", position=here, text="a cup")).wait()
    second = memory.write(Record(kind="note", t_event=3.0, source="me", position=here, text="a mug")).wait()
    assert [r.id for r in memory.history("voxel:0,0,0")] == [first, second]
    assert [r.id for r in memory.history("voxel:0,0,0", since=4.0)] == [first]
    memory.store.write(Record(kind="w", t_event=9.0, source="me", links=(Link("withdraws", first),)))
    assert [r.id for r in memory.history("voxel:0,0,0")] == [second]


def test_search_answers_with_what_is_filed_and_nothing_else() -> None:
    rng, store = np.random.default_rng(0), RecordStore(clock=lambda: 0.0)
    memory = LongTermMemory(store)
    wanted = rng.normal(size=8).astype(np.float32)
    for t in range(30):
        store.write(Record(kind="view", t_event=float(t), source="camera", embedding=wanted))
    filed = [memory.write(some_record(rng, float(t))).wait() for t in range(5)]
    hits = memory.search(Query(embedding=wanted, k=3))
    assert len(hits) == 3
    assert {hit.record.id for hit in hits if hit.record} <= set(filed)
    looks = {r.id: np.asarray(r.embedding, dtype=float) for r in store.get(filed)}
    cosines = {i: float(v @ wanted / np.linalg.norm(v) / np.linalg.norm(wanted)) for i, v in looks.items()}
    assert [hit.record.id for hit in hits if hit.record] == sorted(filed, key=lambda i: -cosines[i])[:3]


def test_what_can_be_filed_under_nothing_is_refused() -> None:
    memory = LongTermMemory(RecordStore())
    with pytest.raises(ValueError, match="under nothing"):
        memory.write(Record(kind="note", t_event=0.0, source="me"))
    with pytest.raises(ValueError, match="edge"):
        LongTermMemory(RecordStore(), edge=0.0)
    with pytest.raises(ValueError, match="compressor"):
        memory.token("voxel:0,0,0")


def test_a_token_is_made_again_from_the_exact_log() -> None:
    pytest.importorskip("torch")
    from embmem.tokens import TokenCompressor

    rng = np.random.default_rng(1)
    compressor = TokenCompressor(16, token_dim=256)
    memory = LongTermMemory(RecordStore(clock=lambda: 0.0), compressor=compressor)
    here, facts = np.array([0.1, 0.1, 0.1]), rng.normal(size=(3, 16)).astype(np.float32)
    np.testing.assert_array_equal(memory.token("voxel:0,0,0"), compressor.empty())
    for t, fact in enumerate(facts):
        memory.write(Record(kind="note", t_event=float(t), source="me", position=here, embedding=fact))
    token = memory.token("voxel:0,0,0")
    half = facts.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(token, compressor.summarise(half))
    for fact in half:
        assert memory.read_token("voxel:0,0,0", fact) @ fact / np.linalg.norm(fact) > 0.8
    memory.store.write(Record(kind="w", t_event=9.0, source="me", links=(Link("withdraws", 3),)))
    memory.drop_tokens()
    np.testing.assert_array_equal(memory.token("voxel:0,0,0"), compressor.summarise(half[:2]))
