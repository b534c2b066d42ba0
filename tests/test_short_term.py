"""Short-term memory against a dictionary and brute force; anchors; merging."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from short_term_cases import MAKERS, WORDS, assert_close, filled, pose, sighting

from embmem.observation import Intrinsics
from embmem.protocols import Deformation, Layer
from embmem.records import Frustum, Query, Record
from embmem.short_term.eviction import EvictionPolicy, Fifo, FrequencyAge, Lfu, Lru, Merging
from embmem.short_term.memory import Entry, ShortTermMemory
from embmem.testing import LayerContract


class TestShortTermLayer(LayerContract):
    @pytest.fixture
    def layer(self) -> Layer:
        return ShortTermMemory(Lru(4))


class TestShortTermLayerWithEntries(LayerContract):
    test_empty_answers_nothing = None  # type: ignore[assignment]

    @pytest.fixture
    def layer(self) -> Layer:
        return filled()


class PlainMemory:
    """Map positions in a dictionary; who leaves is asked of a second copy of the policy."""

    def __init__(self, policy: EvictionPolicy) -> None:
        self.policy, self.entries = policy, dict[str, dict[str, Any]]()

    def put(self, key: str, record: Record) -> list[str]:
        if key in self.entries:
            entry = self.entries[key]
            self.policy.touch(key, is_read=False)
            entry["count"] += 1
            entry["first"] = min(entry["first"], record.t_event)
            if record.t_event >= entry["record"].t_event:
                where = entry["record"].where if record.where is None else record.where
                embedding = entry["record"].embedding if record.embedding is None else record.embedding
                entry["record"] = replace(record, position=where, embedding=embedding)
            return []
        leaving = self.policy.admit(key)
        if leaving is not None:
            del self.entries[str(leaving)]
        self.entries[key] = {"record": replace(record, position=record.where), "count": 1, "first": record.t_event}
        return [] if leaving is None else [str(leaving)]

    def agrees(self, entry: Entry) -> bool:
        """True if the entry is the one remembered here, to 1e-9 m."""
        mine, record = self.entries[entry.key], entry.record
        expected = mine["record"]
        assert (entry.count, entry.first_seen) == (mine["count"], mine["first"])
        for name in ("kind", "t_event", "source", "id", "place", "entities", "text", "payload", "confidence", "valid"):
            assert getattr(record, name) == getattr(expected, name), name
        assert record.keys == (entry.key,)
        for got, wanted, atol in (
            (record.position, expected.position, 1e-9), (record.embedding, expected.embedding, 1e-6),
        ):  # fmt: skip
            assert (got is None) == (wanted is None)
            if wanted is not None:
                assert_close(got, wanted, atol)
        return True

    def move(self, T: np.ndarray) -> None:
        for entry in self.entries.values():
            position = entry["record"].position
            if position is not None:
                entry["record"] = replace(entry["record"], position=T[:3, :3] @ position + T[:3, 3])


@given(
    maker=st.sampled_from(MAKERS), capacity=st.integers(2, 6), seed=st.integers(0, 10**6),
    acts=st.lists(
        st.tuples(st.sampled_from(["put", "put", "put", "get", "query", "remove", "reanchor", "correct", "deform"]),
                  st.integers(0, 9)),
        max_size=50,
    ),
)  # fmt: skip
def test_holds_what_a_dictionary_holds_and_never_more_than_its_capacity(
    maker: Callable[[int], EvictionPolicy], capacity: int, seed: int, acts: list[tuple[str, int]]
) -> None:
    rng = np.random.default_rng(seed)
    memory, model = ShortTermMemory(maker(capacity), T_map_anchor=pose(rng)), PlainMemory(maker(capacity))
    for act, number in acts:
        key = f"object {number}"
        if act == "put":
            before = {each: dict(model.entries[each]) for each in model.entries}
            record = sighting(rng, float(rng.integers(20)))
            gone, expected = memory.put(key, record), model.put(key, record)
            assert [entry.key for entry in gone] == expected
            left = PlainMemory(model.policy)
            left.entries = before
            assert all(left.agrees(entry) for entry in gone)
        elif act == "get" and key in model.entries:
            model.policy.touch(key, is_read=True)
            assert (entry := memory.get(key)) is not None
            assert model.agrees(entry)
        elif act == "query":
            for hit in reversed(memory.query(Query(k=number))):
                model.policy.touch(hit.record.keys[0], is_read=True)  # type: ignore[union-attr]
        elif act == "remove" and key in model.entries:
            assert model.agrees(memory.remove(key))
            model.policy.remove(key)
            del model.entries[key]
        elif act == "reanchor":
            memory.reanchor(pose(rng))
        elif act in ("correct", "deform"):
            T = pose(rng)
            model.move(T)
            if act == "correct":
                memory.correct_anchor(T @ memory.T_map_anchor)
            else:
                memory.deform(Deformation(stamps=np.array([0.0]), T_new_old=T[None]))
        assert len(memory) == len(model.entries) <= capacity
        assert all(model.agrees(entry) for entry in memory.entries())
        assert memory.policy.state() == model.policy.state()


def brute_force(memory: ShortTermMemory, query: Query) -> list[tuple[str, float]]:
    """(key, score) by a loop over all entries."""
    found = []
    for i, entry in enumerate(memory.entries()):
        r = entry.record
        if query.kind not in (None, "short_term", r.kind) or query.place not in (None, r.place):
            continue
        if query.source not in (None, r.source) or query.key not in (None, *r.keys):
            continue
        if query.entity is not None and query.entity not in r.entities:
            continue
        if not query.since <= r.t_event < query.until or r.confidence < query.min_confidence:
            continue
        if query.valid_at is not None and not r.valid[0] <= query.valid_at < r.valid[1]:
            continue
        if query.box is not None and (
            r.position is None or (r.position < query.box[0]).any() or (r.position > query.box[1]).any()
        ):
            continue
        score, distance = r.confidence, 0.0
        if query.near is not None:
            if r.position is None or (distance := float(np.linalg.norm(r.position - query.near))) > query.radius:
                continue
            score = 1.0 / (1.0 + distance)
        if query.embedding is not None:
            if r.embedding is None:
                continue
            e, q = r.embedding.astype(np.float64), query.embedding
            score = float(e @ q / np.linalg.norm(e) / np.linalg.norm(q))
            if score < query.min_similarity:
                continue
        found.append((-score, distance, -r.t_event, i, entry.key))
    return [(key, -score) for score, *_, key in sorted(found)[: query.k]]


@given(seed=st.integers(0, 10**6), data=st.data())
@settings(max_examples=100)
def test_every_query_equals_brute_force(seed: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    memory = filled(seed=seed)
    fields: dict[str, Any] = {
        "near": rng.uniform(-3, 3, 3), "radius": rng.uniform(0.5, 5), "embedding": rng.normal(size=6),
        "min_similarity": rng.uniform(-0.5, 0.7), "entity": str(rng.choice(WORDS)), "place": "hall", "source": "left",
        "kind": str(rng.choice(["person", "short_term"])), "key": f"object {rng.integers(50)}", "since": 10.0,
        "until": 30.0, "valid_at": 33.0, "min_confidence": 0.5, "box": np.array([[-2.0] * 3, [2.0] * 3]),
    }  # fmt: skip
    asked = data.draw(st.sets(st.sampled_from(sorted(fields)), max_size=5))
    query = Query(**{name: fields[name] for name in sorted(asked)}, k=int(rng.integers(1, 30)))
    hits, expected = memory.query(query), brute_force(memory, query)
    assert [hit.record.keys[0] for hit in hits] == [key for key, _ in expected]  # type: ignore[union-attr]
    np.testing.assert_allclose([hit.score for hit in hits], [score for _, score in expected], atol=1e-6)
    assert all(hit.why and hit.layer == "short_term" for hit in hits)


def test_what_it_cannot_answer_gets_no_answer() -> None:
    memory = filled()
    frustum = Frustum(np.eye(4), Intrinsics.from_fov(8, 8, 90.0), far=5.0)
    for query in (
        Query(text="a mug"), Query(frustum=frustum), Query(linked_to=3), Query(as_of=1.0), Query(ingested_since=0.0),
        Query(k=0), Query(entity="unicorn"),
    ):  # fmt: skip
        assert memory.query(query) == []
    assert memory.query(Query(text="a mug", embedding=np.ones(6)))  # the words as a vector


@given(d=st.integers(1, 400), seed=st.integers(0, 1000))
def test_the_same_vector_gets_the_same_cosine_in_every_row(d: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    memory, same = ShortTermMemory(Fifo(23)), rng.normal(size=d)
    for i in range(23):
        embedding = same if i % 3 == 0 else rng.normal(size=d)
        memory.put(str(i), Record("object", 0.0, "test", embedding=embedding))
    hits = memory.query(Query(embedding=same, min_similarity=0.999999, k=99))
    assert len({hit.score for hit in hits}) == 1 or d == 1
    twins = [int(hit.record.keys[0]) for hit in hits if hit.record is not None]
    assert d == 1 or twins == list(range(0, 23, 3))


def test_a_thousand_anchors_later_every_object_is_where_it_was() -> None:
    rng, memory = np.random.default_rng(3), filled()
    before = {entry.key: entry.record for entry in memory.entries()}
    for _ in range(1000):
        memory.reanchor(pose(rng, reach=100.0))
    for entry in memory.entries():
        for name in ("position", "T_map_obs"):
            old, new = getattr(before[entry.key], name), getattr(entry.record, name)
            assert (old is None) == (new is None)
            if old is not None:
                assert_close(new, old)


def test_a_corrected_anchor_takes_objects_and_views_along() -> None:
    rng, memory = np.random.default_rng(3), filled()
    before = {entry.key: entry.record for entry in memory.entries()}
    T = pose(rng)
    memory.correct_anchor(T @ memory.T_map_anchor)
    for entry in memory.entries():
        record = before[entry.key]
        if record.position is not None:
            assert_close(entry.record.position, T[:3, :3] @ record.position + T[:3, 3])
        if record.T_map_obs is not None:
            assert_close(entry.record.T_map_obs, T @ record.T_map_obs)


def test_a_loop_closure_moves_each_object_with_its_own_keyframe() -> None:
    memory = ShortTermMemory(Fifo(2))
    for stamp in (0.0, 10.0):
        memory.put(str(stamp), Record("object", stamp, "test", position=np.array([1.0, 0.0, 0.0])))
    shift = np.stack([np.eye(4), np.eye(4)])
    shift[1, :3, 3] = (0.0, 2.0, 0.0)
    memory.deform(Deformation(stamps=np.array([0.0, 9.0]), T_new_old=shift))
    positions = [entry.record.position.tolist() for entry in memory.entries()]  # type: ignore[union-attr]
    assert positions == [[1.0, 0.0, 0.0], [1.0, 2.0, 0.0]]


def test_reads_count_as_uses_unless_told_otherwise() -> None:
    for policy in (Lfu(2), FrequencyAge(2, weight=1.0)):
        memory = ShortTermMemory(policy)
        for key, x in (("read", 0.0), ("seen", 5.0)):
            memory.put(key, Record("object", 0.0, "test", position=np.array([x, 0.0, 0.0])))
        before = policy.state()
        near = Query(near=np.zeros(3), radius=1.0)
        memory.query(near, is_read=False)
        memory.get("read", is_read=False)
        memory.entries()
        assert policy.state() == before
        memory.query(near)
        for stamp in range(1, 9):
            memory.put("seen", Record("object", float(stamp), "test"))
        assert [entry.key for entry in memory.put("new", Record("object", 9.0, "test"))] == ["seen"]


def events(memory: ShortTermMemory, rng: np.random.Generator) -> float:
    """Share of 6 rare events, among 200 steps of two other views, that are still found."""
    rare = np.eye(16)[:6]
    steps = np.linspace(20, 180, 6).astype(int).tolist()
    for step in range(200):
        embedding = rare[steps.index(step)] if step in steps else np.eye(16)[10 + step // 100]
        noisy = embedding + rng.normal(scale=0.01, size=16)
        memory.put(f"step {step}", Record("view", float(step), "camera", embedding=noisy))
        assert len(memory) <= 16
    return float(np.mean([len(memory.query(Query(embedding=each, min_similarity=0.9))) > 0 for each in rare]))


def test_merging_keeps_the_rare_events_that_first_in_first_out_loses() -> None:
    merged = ShortTermMemory(Fifo(16), merging=Merging())
    assert events(merged, np.random.default_rng(0)) == 1.0
    assert events(ShortTermMemory(Fifo(16)), np.random.default_rng(0)) <= 2 / 6
    assert sum(entry.count for entry in merged.entries()) == 200


def cup(stamp: float, x: float, embedding: list[float]) -> Record:
    return Record("object", stamp, "test", position=np.array([x, 0.0, 0.0]), embedding=np.array(embedding))


def test_a_merged_entry_is_the_mean_by_sightings_with_the_earlier_stamps() -> None:
    memory = ShortTermMemory(Fifo(3), merging=Merging(similarity=0.7, radius=0.5))
    memory.put("plate", cup(0.0, 0.0, [0.0, 0.0, 1.0]))
    memory.put("cup", cup(1.0, 1.0, [1.0, 0.0, 0.0]))
    for stamp in (2.0, 3.0, 4.0):
        memory.put("mug", cup(stamp, 1.4, [0.8, 0.6, 0.0]))
    (gone,) = memory.put("hat", cup(5.0, 9.0, [0.0, 1.0, 0.0]))
    assert (gone.key, gone.count, gone.record.t_event) == ("cup", 1, 1.0)
    assert_close(gone.record.position, [1.0, 0.0, 0.0])
    stayed = memory.get("mug")
    assert stayed is not None
    assert (stayed.count, stayed.first_seen, stayed.record.t_event) == (4, 1.0, 1.0)
    assert_close(stayed.record.position, [1.3, 0.0, 0.0])
    assert_close(stayed.record.embedding, [0.85, 0.45, 0.0], atol=1e-6)
    assert [entry.key for entry in memory.entries()] == ["plate", "mug", "hat"]


def test_what_is_not_alike_or_not_near_is_never_averaged() -> None:
    for x, embedding in ((1.0, [0.0, 1.0]), (9.0, [1.0, 0.0])):
        memory = ShortTermMemory(Fifo(2), merging=Merging())
        memory.put("first", cup(0.0, 1.0, [1.0, 0.0]))
        memory.put("second", cup(1.0, x, embedding))
        before = memory.entries()[1]
        (gone,) = memory.put("third", cup(2.0, 0.0, [1.0, 1.0]))
        assert gone.key == "first"
        assert memory.entries()[0].record.position.tolist() == before.record.position.tolist()  # type: ignore[union-attr]
    nothing_known = ShortTermMemory(Fifo(2), merging=Merging())
    for key in "abc":
        gone_keys = [entry.key for entry in nothing_known.put(key, Record("object", 0.0, "test"))]
    assert gone_keys == ["a"]


@given(maker=st.sampled_from(MAKERS), seed=st.integers(0, 10**6))
def test_merging_counts_every_sighting_once_under_any_policy(maker: Callable[[int], EvictionPolicy], seed: int) -> None:
    rng = np.random.default_rng(seed)
    memory = ShortTermMemory(maker(5), merging=Merging(similarity=-1.0, radius=np.inf))
    put, absorbed = 0, 0
    for stamp in range(40):
        record = sighting(rng, float(stamp), d=2)
        held_before = {entry.key: entry.count for entry in memory.entries()}
        key = f"object {rng.integers(20)}"
        gone = memory.put(key, record)
        put += 1
        total = sum(entry.count for entry in memory.entries())
        lost = sum(held_before.values()) + 1 - total
        assert lost == 0 or [lost] == [entry.count for entry in gone]  # merged, or gone with all its sightings
        absorbed += lost
        assert key in memory
        assert len(memory) == len(memory.policy) <= 5
        assert {entry.key for entry in memory.entries()} == set(memory.policy.keys())
    assert sum(entry.count for entry in memory.entries()) == put - absorbed
