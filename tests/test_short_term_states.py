"""What the short-term memory refuses, keeps over a restart, takes of RAM and of time."""

from __future__ import annotations

import gc
import json
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hash_salts import outputs_by_salt
from hypothesis import given
from hypothesis import strategies as st
from short_term_cases import MAKERS, filled, pose, sighting

from embmem.errors import InputError
from embmem.protocols import LayerState
from embmem.records import Link, Query, Record
from embmem.short_term.eviction import EvictionPolicy, Fifo, Lru, Merging
from embmem.short_term.memory import ShortTermMemory
from embmem.testing import same_hits


def test_an_entry_becomes_a_record_derived_from_its_sighting() -> None:
    memory = ShortTermMemory(Fifo(1))
    seen = Record("object", 2.0, "camera", id=7, t_ingest=3.0, position=np.ones(3), keys=("voxel:1,2,3", "mug 1"),
                  entities=("mug",), payload={"colour": "red"}, links=(Link("from", 5),), blob=b"image")  # fmt: skip
    memory.put("mug 1", replace(seen, t_event=1.0))
    memory.put("mug 1", seen)
    (gone,) = memory.put("mug 2", seen)
    record = gone.to_record()
    assert (record.id, record.t_ingest, record.blob, record.t_event) == (None, None, None, 2.0)
    assert record.keys == ("mug 1", "voxel:1,2,3")
    assert record.links == (Link("from", 5), Link("from", 7))
    assert record.payload == {"colour": "red", "count": 2, "first_seen": 1.0}
    json.dumps(record.payload, allow_nan=False)
    assert ShortTermMemory(Fifo(1)).put("again", record) == []


def frozen(state: LayerState) -> tuple[Any, ...]:
    return state.params, {name: (a.dtype, a.shape, a.tobytes()) for name, a in state.arrays.items()}


GOOD = Record("object", 1.0, "test", position=np.zeros(3), embedding=np.ones(6))
BAD = {
    "no key": ("", GOOD),
    "stamp": ("a", replace(GOOD, t_event=np.nan)),
    "confidence": ("a", replace(GOOD, confidence=1.5)),
    "confidence is NaN": ("a", replace(GOOD, confidence=np.nan)),
    "validity": ("a", replace(GOOD, valid=(2.0, 1.0))),
    "position": ("a", replace(GOOD, position=np.array([0.0, np.inf, 0.0]))),
    "shape of position": ("a", replace(GOOD, position=np.zeros(2))),
    "pose": ("a", replace(GOOD, T_map_obs=2.0 * np.eye(4))),
    "mirror": ("a", replace(GOOD, T_map_obs=np.diag([1.0, 1.0, -1.0, 1.0]))),
    "NaN embedding": ("a", replace(GOOD, embedding=np.full(6, np.nan))),
    "embedding of zeros": ("a", replace(GOOD, embedding=np.zeros(6))),
    "embedding beyond float32": ("a", replace(GOOD, embedding=np.full(6, 1e300))),
    "size of embedding": ("a", replace(GOOD, embedding=np.ones(7))),
    "payload": ("a", replace(GOOD, payload={"when": object()})),
    "NaN in the payload": ("a", replace(GOOD, payload={"x": np.nan})),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_whole(name: str) -> None:
    memory = filled()
    held = memory.entries()[0].key
    before = frozen(memory.save())
    key, record = BAD[name]
    for each in (key, held if key else key):  # a new object and one that is held
        with pytest.raises(ValueError, match=r"."):
            memory.put(each, record)
    assert frozen(memory.save()) == before
    for T in (np.zeros((4, 4)), np.full((4, 4), np.nan)):
        for move in (memory.reanchor, memory.correct_anchor):
            with pytest.raises(ValueError, match="pose"):
                move(T)
    with pytest.raises(ValueError, match="6 numbers, not 5"):
        memory.query(Query(embedding=np.ones(5)))
    with pytest.raises(KeyError, match="nobody"):
        memory.remove("nobody")
    assert frozen(memory.save()) == before


def test_a_policy_that_is_in_use_is_refused() -> None:
    policy = Lru(2)
    policy.admit("a")
    with pytest.raises(ValueError, match="empty"):
        ShortTermMemory(policy)
    for similarity, radius in ((1.1, 1.0), (0.5, -1.0), (np.nan, 1.0)):
        with pytest.raises(ValueError, match="similarity"):
            Merging(similarity, radius)


@given(maker=st.sampled_from(MAKERS), merges=st.booleans(), seed=st.integers(0, 10**6))
def test_after_a_restart_it_goes_on_as_if_nothing_had_happened(
    maker: Callable[[int], EvictionPolicy], merges: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    memory = ShortTermMemory(maker(6), merging=Merging(0.0, 9.0) if merges else None, T_map_anchor=pose(rng))
    for stamp in range(20):
        memory.put(f"öbject {rng.integers(12)}", sighting(rng, float(stamp)))
        memory.query(Query(near=rng.uniform(-3, 3, 3), k=2))
    state = memory.save()
    loaded = ShortTermMemory.load(replace(state, params=json.loads(json.dumps(state.params))))
    assert frozen(loaded.save()) == frozen(state)
    twins = [np.random.default_rng(seed + 1) for _ in range(2)]
    for stamp in range(20, 40):
        gone, hits = [], []
        for each, generator in zip((memory, loaded), twins, strict=True):
            left = each.put(f"öbject {generator.integers(12)}", sighting(generator, float(stamp)))
            gone.append([entry.key for entry in left])
            hits.append(each.query(Query(embedding=generator.normal(size=6), k=3)))
        assert gone[0] == gone[1]
        assert same_hits(*hits)
    assert frozen(loaded.save()) == frozen(memory.save())


def test_malformed_states_are_refused() -> None:
    memory = filled()
    state = memory.save()
    rows = len(memory)

    def changed(name: str, change: Callable[[np.ndarray], np.ndarray]) -> LayerState:
        return replace(state, arrays={**state.arrays, name: change(state.arrays[name].copy())})

    def spoil(value: float) -> Callable[[np.ndarray], np.ndarray]:
        def first(array: np.ndarray) -> np.ndarray:
            array.reshape(-1)[0] = value
            return array

        return first

    wrong = [
        *(changed(name, lambda a: a[: rows - 1]) for name in ("position", "count", "embedding", "has_embedding")),
        *(changed(name, spoil(np.nan)) for name in ("first_seen", "confidence", "valid", "T_map_anchor", "embedding")),
        changed("position", lambda a: np.where(np.arange(3) == 1, np.nan, np.zeros_like(a))),
        changed("count", spoil(0)), changed("last_seen", spoil(-1.0)), changed("confidence", spoil(2.0)),
        changed("position", lambda a: a.astype(np.float32)), changed("embedding", lambda a: 0 * a),
        changed("details", lambda a: a[:-5]), changed("details", spoil(255)), changed("details", lambda a: a[:0]),
        changed("details", lambda a: np.frombuffer(b"\n".join([b"{}"] * rows), dtype=np.uint8)),
        changed("policy", lambda a: a[:-2]), changed("policy", lambda a: np.frombuffer(b"[]", dtype=np.uint8)),
        changed("policy", lambda a: np.frombuffer(json.dumps(Lru(25).state()).encode(), dtype=np.uint8)),
        *(replace(state, params={**state.params, name: value}) for name, value in (
            ("policy", "magic"), ("capacity", 7), ("merging", {"similarity": 5.0}), ("merging", 3))),
        replace(state, params={}),
    ]  # fmt: skip
    for each in wrong:
        with pytest.raises(InputError):
            ShortTermMemory.load(each)


def test_the_bytes_told_are_the_bytes_taken() -> None:
    rng = np.random.default_rng(0)
    records = [replace(sighting(rng, float(i), d=32), payload={"note": "x" * 300}) for i in range(250)]
    for maker in MAKERS:
        gc.collect()
        tracemalloc.start()
        memory = ShortTermMemory(maker(200))
        for i, record in enumerate(records):
            memory.put(f"object {i}", record)
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert 0.85 <= memory.n_bytes / taken <= 1.15, memory.policy.name
        assert memory.stats()["bytes"] == memory.n_bytes


def test_a_query_runs_the_same_lines_over_ten_objects_and_over_three_hundred() -> None:
    def lines(capacity: int) -> int:
        memory = filled(2 * capacity, capacity=capacity)
        query = Query(near=np.zeros(3), radius=9.0, embedding=np.ones(6), k=3, min_confidence=0.01)
        assert len(memory.query(query)) == 3
        n = 0

        def count(frame: Any, event: str, argument: Any) -> Any:
            nonlocal n
            n += event == "line" and "short_term" in frame.f_code.co_filename
            return count

        before = sys.gettrace()
        sys.settrace(count)
        try:
            memory.query(query)
        finally:
            sys.settrace(before)
        return n

    assert 0 < lines(300) <= lines(10) + 5


SCRIPT = """
import hashlib, numpy as np
from embmem.short_term.eviction import Merging
from embmem.records import Query, Record
from embmem.short_term.memory import ShortTermMemory
from embmem.short_term.tiny_lfu import WTinyLfu
rng, memory, said = np.random.default_rng(0), ShortTermMemory(WTinyLfu(2, 6), merging=Merging(0.6, 2.0)), []
for stamp in range(200):
    words = tuple({"mug", "key", "hat"} & {f"{w}" for w in rng.choice(["mug", "key", "hat"], 2)})
    record = Record("object", float(stamp), "test", position=rng.uniform(-2, 2, 3), entities=tuple(sorted(words)),
                    embedding=rng.normal(size=5))
    said.append([entry.key for entry in memory.put(f"object {rng.integers(25)}", record)])
    said.append([(hit.score, hit.record.keys) for hit in memory.query(Query(entity="mug", near=np.zeros(3), k=3))])
state = memory.save()
digest = hashlib.sha256(repr(said).encode())
for name in sorted(state.arrays):
    digest.update(state.arrays[name].tobytes())
print(digest.hexdigest())
"""


def test_the_salt_of_the_process_changes_nothing() -> None:
    outputs = outputs_by_salt(SCRIPT)
    assert len(outputs) == 1
    assert len(outputs.pop()) == 65
