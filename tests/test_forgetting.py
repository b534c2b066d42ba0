"""Forgetting: each policy does what it says, budgets hold while a stream goes on, and nothing protected goes."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from house_frames import house_frames
from hypothesis import given, settings
from hypothesis import strategies as st

from embmem.durable import CHECK_EVERY, DurableMemory
from embmem.errors import InputError, StoreError
from embmem.forgetting.budgets import Uses, candidates, forget_records, make_room, used_bytes
from embmem.forgetting.policies import Age, ForgettingPolicy, LeastUsed, Remembered, Reservoir
from embmem.forgetting.redundancy import Redundancy, Story
from embmem.maps import ObjectMemory, VoxelMap, open_durable, open_memory
from embmem.memory import Memory
from embmem.protocols import Layer
from embmem.records import Link, Query, Record
from embmem.replay.observation_log import Thinning
from embmem.store import RecordStore

POLICIES: list[ForgettingPolicy] = [Age(), LeastUsed(), Reservoir(), Redundancy(), Story()]
seeds = st.integers(0, 2**32 - 1)


def some_records(seed: int, n: int | None = None) -> Remembered:
    """Any records: unknown places, missing embeddings, equal stamps, few topics."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(0, 40)) if n is None else n
    looks = rng.normal(size=(n, 4)) * (rng.random((n, 1)) < 0.8)
    positions = rng.integers(0, 3, (n, 3)) + 0.1 * rng.random((n, 3))
    positions[rng.random(n) < 0.2] = np.nan
    return Remembered(
        ids=np.cumsum(rng.integers(1, 5, n)), n_bytes=rng.integers(100, 1000, n),
        stamps=np.floor(rng.uniform(0, 20, n)), positions=positions, topics=rng.integers(0, 4, n),
        embeddings=looks / np.maximum(np.linalg.norm(looks, axis=1, keepdims=True), 1e-9),
        reads=rng.integers(0, 4, n), last_read=np.where(rng.random(n) < 0.5, -np.inf, rng.uniform(0, 30, n)),
    )  # fmt: skip


@pytest.mark.parametrize("policy", POLICIES, ids=lambda p: p.name)
@given(seed=seeds, share=st.floats(0.0, 1.2))
@settings(deadline=None)
def test_a_policy_frees_the_bytes_asked_for_and_not_a_record_more(
    policy: ForgettingPolicy, seed: int, share: float
) -> None:
    records = some_records(seed)
    wanted = int(share * records.n_bytes.sum())
    rows = policy.choose(records, wanted)
    assert len(set(rows.tolist())) == len(rows)
    freed = int(records.n_bytes[rows].sum())
    assert freed >= min(wanted, int(records.n_bytes.sum()))
    assert len(rows) == 0 or freed - int(records.n_bytes[rows[-1]]) < wanted
    np.testing.assert_array_equal(policy.choose(records, wanted), rows)


@pytest.mark.parametrize("policy", [Age(), LeastUsed(), Reservoir(), Story()], ids=lambda p: p.name)
@given(seed=seeds)
@settings(deadline=None)
def test_the_order_of_rows_is_of_no_account(policy: ForgettingPolicy, seed: int) -> None:
    records = some_records(seed)
    order = np.random.default_rng(seed).permutation(len(records))
    half = int(records.n_bytes.sum()) // 2
    ids = records.ids[policy.choose(records, half)]
    shuffled = records.rows(order)
    np.testing.assert_array_equal(shuffled.ids[policy.choose(shuffled, half)], ids)


def test_age_and_use_go_in_the_order_of_age_and_use() -> None:
    records = some_records(3, 30)
    stamps = records.stamps[Age().choose(records, 10**9)]
    assert (np.diff(stamps) >= 0).all()
    rows = LeastUsed().choose(records, 10**9)
    assert (np.diff(records.reads[rows]) >= 0).all()


def test_a_reservoir_keeps_every_record_of_a_stream_with_the_same_chance() -> None:
    n, size, n_runs = 60, 12, 800
    kept = np.zeros(n)
    everything = replace(some_records(0, n), ids=np.arange(1, n + 1), n_bytes=np.full(n, 10))
    for seed in range(n_runs):
        left = everything.rows(np.zeros(0, dtype=np.int64))
        for start in range(0, n, 6):  # it comes in batches, and room is made after each
            left = left.joined(everything.rows(np.arange(start, start + 6)))
            gone = Reservoir(seed=seed).choose(left, int(left.n_bytes.sum()) - 10 * size)
            left = left.rows(np.setdiff1d(np.arange(len(left)), gone))
        assert len(left) == size
        kept[left.ids - 1] += 1
    expected = n_runs * size / n
    chi2 = float(((kept - expected) ** 2 / expected).sum())
    assert chi2 < 100.0  # 59 degrees of freedom: p < 0.001


def stay(stamps: list[float], x: list[float], topic: int = 0) -> Remembered:
    n = len(stamps)
    return Remembered(
        ids=np.arange(1, n + 1), n_bytes=np.full(n, 100), stamps=np.array(stamps, dtype=float),
        positions=np.column_stack([x, np.zeros(n), np.zeros(n)]), topics=np.full(n, topic),
        embeddings=np.zeros((n, 0)), reads=np.zeros(n, dtype=np.int64), last_read=np.full(n, -np.inf),
    )  # fmt: skip


def test_a_story_keeps_where_it_turns() -> None:
    mug = stay([0, 1, 2, 3, 4, 5, 6, 7], [0, 0, 0, 5, 5, 0, 0, 0])  # here, there, and here again
    gone = Story(present=10.0).choose(mug, 500)
    assert sorted(set(range(8)) - set(gone.tolist())) == [0, 3, 5]


def test_redundancy_forgets_the_earlier_of_what_is_alike_whenever_it_was() -> None:
    mug = stay([0, 1, 2, 3, 4], [0, 0.01, 5, 5.02, 0.02])
    gone = Redundancy().choose(mug, 300)
    assert sorted(set(range(5)) - set(gone.tolist())) == [3, 4]


def error_of(records: Remembered, kept: np.ndarray, end: float) -> float:
    """Seconds for which the newest record kept says another place than the newest of all."""
    wrong, times = 0.0, np.append(records.stamps, end)
    for i in range(len(records)):
        known = kept[kept <= i]
        if len(known) == 0 or abs(records.positions[known[-1], 0] - records.positions[i, 0]) > 0.5:
            wrong += times[i + 1] - times[i]
    return wrong


@given(seeds)
@settings(deadline=None, max_examples=50)
def test_a_story_is_never_told_worse_than_by_chance(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 24
    x = np.repeat(rng.integers(0, 4, 6) * 3.0, 4)
    thing = stay(np.sort(rng.uniform(0, 100, n)).tolist(), x.tolist())
    rows = np.arange(n)
    end = 100.0 + 50.0
    story = np.setdiff1d(rows, Story(present=50.0).choose(thing, 100 * 16))
    by_chance = [error_of(thing, np.setdiff1d(rows, Reservoir(seed=s).choose(thing, 100 * 16)), end) for s in range(20)]
    assert error_of(thing, story, end) <= np.mean(by_chance) + 1e-9


@pytest.fixture
def store(tmp_path: Path) -> RecordStore:
    return RecordStore(tmp_path / "notes.embmem", clock=lambda: 0.0)


def fill(store: RecordStore, n: int, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    names = ("mug", "key", "hat")
    store.write_all(
        Record(
            kind="sighting", t_event=float(i), source="camera", position=rng.uniform(0, 5, 3),
            entities=(names[i % 3],), embedding=rng.normal(size=32).astype(np.float32),
        )
        for i in range(n)
    )  # fmt: skip


@pytest.mark.parametrize("policy", POLICIES, ids=lambda p: p.name)
def test_a_file_is_held_within_its_bytes_under_a_long_stream(store: RecordStore, policy: ForgettingPolicy) -> None:
    budget, batch = 400_000, 150
    uses, n_gone = Uses(), 0
    with store:
        for i in range(12):
            fill(store, batch, seed=i)
            n_gone += make_room(store, uses, policy, budget)
            with store.reading() as db:
                assert used_bytes(db) <= budget
                assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert len(store) == 12 * batch - n_gone
        assert n_gone > 0
        assert len(store) > 300  # and no more was forgotten than had to be
        store.rewrite()
        assert store.path is not None
        assert store.path.stat().st_size <= budget


def test_amendments_pins_and_purge_notes_stay(store: RecordStore) -> None:
    with store:
        fill(store, 20)
        pinned = store.write(Record(kind="note", t_event=-9.0, source="me", text="home", payload={"pinned": True})).id
        told = store.write(Record(kind="purge", t_event=-9.0, source="me", text="purged 3 of eve")).id
        gone = store.write(Record(kind="w", t_event=-9.0, source="me", links=(Link("withdraws", pinned),))).id
        assert forget_records(store, Uses(), Age(), 10**9) == 20
        assert [r.id for r in store.read(Query(with_hidden=True))] == [gone, told, pinned]


def test_what_is_not_on_the_disk_yet_is_there_afterwards(tmp_path: Path) -> None:
    with RecordStore(tmp_path / "a.embmem", max_delay=10.0) as store:
        ticket = store.write(Record(kind="note", t_event=0.0, source="me", text="new", payload={"pinned": True}))
        assert not ticket.is_acknowledged
        forget_records(store, Uses(), Age(), 10**9)
        assert ticket.is_acknowledged
        assert [r.text for r in store.read(Query())] == ["new"]


def test_uses_are_counted_kept_and_forgotten_with_their_record(store: RecordStore) -> None:
    with store:
        fill(store, 6)
        uses = Uses()
        uses.count([2, 3, 3], 5.0)
        uses.count([99], 1.0)
        with store.changing() as db:
            uses.write(db)
        with store.reading() as db:
            assert Uses.read(db).reads == {2: (1, 5.0), 3: (2, 5.0)}
            table = candidates(db, uses)
        assert table.reads.tolist() == [0, 1, 2, 0, 0, 0]
        forget_records(store, uses, LeastUsed(), int(table.n_bytes[0]) * 4)
        assert sorted(r.id or 0 for r in store.read(Query())) == [2, 3]


def layers() -> list[Layer]:
    return [VoxelMap(0.1), ObjectMemory()]


def bytes_of(memory: Memory) -> list[bytes]:
    return [array.tobytes() for layer in memory.layers for array in layer.save().arrays.values()]


def test_frames_go_first_and_the_map_that_holds_them_stays(tmp_path: Path) -> None:
    path, frames = tmp_path / "house.embmem", house_frames(12)
    reference = Memory(layers())
    # what the layers alone, twice, and some frames take
    options = {"thinning": Thinning(0.0, 0.0, 0.0), "depth_step": None, "disk_budget": 1_500_000}
    n = 0
    with DurableMemory(path, layers(), **options) as memory:  # type: ignore[arg-type]
        for _ in range(12):
            for frame in frames:
                seen = replace(frame, stamp=float(n))
                memory.observe(seen)
                reference.observe(seen)
                n += 1
            assert memory.stats()["budget"]["disk"] <= 1_500_000 + CHECK_EVERY * 30_000
        memory.make_room()
        assert memory.stats()["budget"]["disk"] <= 1_500_000
        assert memory.stats()["log"]["base"] > 0
        n_left = len(memory.store.read(Query(kind="frame", k=1000)))
        assert 0 < n_left < n
        assert bytes_of(memory) == bytes_of(reference)
        with memory.store.changing() as db:  # type: ignore[attr-defined]
            db.execute("DELETE FROM layers WHERE role = 'latest'")
    with open_durable(path, thinning=Thinning(0.0, 0.0, 0.0), depth_step=None) as memory:
        assert bytes_of(memory) == bytes_of(reference)
        seen = replace(frames[0], stamp=float(n))
        memory.observe(seen)
        reference.observe(seen)
        assert bytes_of(memory) == bytes_of(reference)
    assert bytes_of(open_memory(path)) == bytes_of(reference)
    with pytest.raises(InputError, match="settings"):
        DurableMemory(path, [VoxelMap(0.05), ObjectMemory()])


def test_a_frame_never_goes_without_the_base_that_holds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, frames = tmp_path / "house.embmem", house_frames(12)
    reference = Memory(layers())
    with DurableMemory(path, layers(), thinning=Thinning(0.0, 0.0, 0.0), depth_step=None) as memory:
        for frame in frames:
            memory.observe(frame)
            reference.observe(frame)
        memory.snapshot()

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr("embmem.forgetting.budgets.remove_records", fail)
    with DurableMemory(path, layers(), disk_budget=100_000) as memory, pytest.raises(StoreError, match="I/O"):
        memory.make_room()  # the power goes between the base and the removal: neither has happened
    monkeypatch.undo()
    with DurableMemory(path, layers()) as memory:
        assert memory.stats()["log"]["base"] == 0
        assert len(memory.store.read(Query(kind="frame", k=99))) == len(frames)
        assert bytes_of(memory) == bytes_of(reference)


def test_records_with_embeddings_go_when_ram_is_short(tmp_path: Path) -> None:
    path = tmp_path / "a.embmem"
    with DurableMemory(path, layers()) as memory:
        of_layers = int(memory.stats()["budget"]["ram"])
        assert isinstance(memory.store, RecordStore)
        fill(memory.store, 200)
        memory.store.write(Record(kind="note", t_event=0.0, source="me", text="no embedding"))
    for budget, n_left in ((10**9, 201), (of_layers, 201), (of_layers + 9000, None)):
        with DurableMemory(path, layers(), ram_budget=budget) as memory:
            memory.store.search(Query(embedding=np.ones(32, dtype=np.float32)))
            n_gone = memory.make_room()
            if n_left is not None:  # enough, or too little for the layers alone: then forgetting would not help
                assert (n_gone, len(memory.store)) == (0, n_left)
                continue
            assert 0 < n_gone < 200
            memory.store.search(Query(embedding=np.ones(32, dtype=np.float32)))
            assert memory.stats()["budget"]["ram"] <= budget
            assert len(memory.store.read(Query(kind="note"))) == 1
    with pytest.raises(ValueError, match="budgets"):
        DurableMemory(path, layers(), disk_budget=0)
