"""From short-term to long-term: every sighting counts once, whatever happens on the way."""

from __future__ import annotations

import numpy as np
import pytest

from embmem.consolidation import Consolidation
from embmem.long_term import LongTermMemory
from embmem.records import Link, Query, Record
from embmem.short_term.eviction import Lru
from embmem.short_term.memory import Entry, ShortTermMemory
from embmem.store import RecordStore

ALL = Query(kind="sighting", entity="mug", k=100)


def sighting(t: float, x: float, *, entity: str = "mug", look: tuple[float, float] = (1.0, 0.0)) -> Record:
    return Record(
        kind="sighting", t_event=t, source="camera", position=np.array([x, 0.0, 0.8]), entities=(entity,),
        embedding=np.array(look, dtype=np.float32),
    )  # fmt: skip


def entry(key: str, record: Record, count: int = 1, first_seen: float = 0.0) -> Entry:
    return Entry(key, record, count, first_seen)


@pytest.fixture
def long_term() -> LongTermMemory:
    return LongTermMemory(RecordStore(clock=lambda: 0.0))


def test_what_leaves_becomes_a_record_that_knows_its_source(long_term: LongTermMemory) -> None:
    memory, consolidation = ShortTermMemory(Lru(1)), Consolidation(long_term)
    store = long_term.store
    seen = store.write(sighting(1.0, 0.2)).wait()
    memory.put("mug 1", store.get([seen])[0])
    gone = memory.put("hat 1", sighting(2.0, 3.0, entity="hat"))
    (new,) = consolidation.take(gone)
    (record,) = store.get([new])
    assert Link("from", seen) in record.links
    assert record.payload["count"] == 1
    assert [r.id for r in long_term.history("object:mug 1")] == [new]
    assert new in [r.id for r in long_term.history("voxel:0,0,0")]
    store.write(Record(kind="w", t_event=9.0, source="me", links=(Link("withdraws", seen),)))
    assert long_term.history("object:mug 1") == []  # what happens to the sighting happens to it


def test_taking_twice_writes_once(long_term: LongTermMemory) -> None:
    consolidation = Consolidation(long_term)
    entries = [entry("a", sighting(5.0, 0.0), 3), entry("b", sighting(6.0, 4.0), 2)]
    first = consolidation.take(entries)
    assert len(first) == 2
    assert consolidation.take(entries) == []  # as after a crash before the short-term memory was written down
    assert consolidation.take(entries[1:]) == []
    assert len(long_term.store) == 2


def test_duplicates_become_one_with_means_weighted_by_sightings(long_term: LongTermMemory) -> None:
    a, b = sighting(5.0, 0.0, look=(1.0, 0.0)), sighting(7.0, 0.4, look=(0.9, 0.2))
    (new,) = Consolidation(long_term).take([entry("a", a, 3, 1.0), entry("b", b, 1, 2.0)])
    (record,) = long_term.store.get([new])
    assert record.position is not None
    np.testing.assert_allclose(record.position, [0.1, 0.0, 0.8])
    assert record.embedding is not None
    np.testing.assert_allclose(record.embedding, [0.975, 0.05], atol=1e-3)
    assert (record.payload["count"], record.payload["first_seen"], record.t_event) == (4, 1.0, 7.0)
    assert {"object:a", "object:b"} <= set(record.keys)


def test_what_is_apart_looks_different_or_is_called_otherwise_stays_apart(long_term: LongTermMemory) -> None:
    entries = [
        entry("a", sighting(1.0, 0.0)), entry("b", sighting(1.0, 2.0)), entry("c", sighting(1.0, 0.1, look=(0.0, 1.0))),
        entry("d", sighting(1.0, 0.0, entity="cup")),
    ]  # fmt: skip
    assert len(Consolidation(long_term).take(entries)) == 4


def test_a_known_thing_is_corrected_and_no_sighting_counts_twice(long_term: LongTermMemory) -> None:
    consolidation, store = Consolidation(long_term), long_term.store
    (first,) = consolidation.take([entry("a", sighting(5.0, 0.0), 5)])
    (second,) = consolidation.take([entry("a", sighting(9.0, 0.2), 8)])  # the same stay, seen three times more
    (record,) = store.read(ALL)
    assert (record.id, record.payload["count"]) == (second, 8)
    assert Link("corrects", first) in record.links
    assert record.position is not None
    np.testing.assert_allclose(record.position, [0.2, 0.0, 0.8])
    (third,) = consolidation.take([entry("a", sighting(99.0, 0.2), 2, 90.0)])  # another stay
    (record,) = store.read(ALL)
    assert (record.id, record.payload["count"], record.payload["first_seen"]) == (third, 10, 0.0)
    assert [r.id for r in long_term.history("object:a")] == [third]


def test_many_stays_keep_a_record_small(long_term: LongTermMemory) -> None:
    consolidation = Consolidation(long_term)
    for stay in range(80):
        consolidation.take([entry("a", sighting(10.0 * stay + 5, 0.0), 2, 10.0 * stay)])
    (record,) = long_term.store.read(ALL)
    assert record.payload["count"] == 160
    assert len(record.payload["stays"]) <= 32
    assert len(record.keys) + len(record.links) < 10


def test_the_sweep_moves_the_aged_and_copies_the_confirmed(long_term: LongTermMemory) -> None:
    memory = ShortTermMemory(Lru(9))
    for t in range(6):
        memory.put("often", sighting(100.0 + t, 0.0))
    memory.put("old", sighting(1.0, 5.0, entity="hat"))
    memory.put("new", sighting(104.0, 9.0, entity="key"))
    consolidation = Consolidation(long_term, max_age=60.0, min_count=5)
    ids = consolidation.sweep(memory, now=106.0)
    assert [r.entities for r in long_term.store.get(ids)] == [("hat",), ("mug",)]
    assert [e.key for e in memory.entries()] == ["often", "new"]
    assert consolidation.sweep(memory, now=107.0) == []


def test_a_crash_before_the_record_is_on_the_disk_loses_nothing(
    long_term: LongTermMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = ShortTermMemory(Lru(9))
    memory.put("old", sighting(1.0, 5.0))

    def fail(_: Record) -> None:
        raise OSError("no space")

    monkeypatch.setattr(long_term, "write", fail)
    with pytest.raises(OSError, match="no space"):
        Consolidation(long_term).sweep(memory, now=1e6)
    assert "old" in memory
    monkeypatch.undo()
    assert len(Consolidation(long_term).sweep(memory, now=1e6)) == 1


def test_the_same_entries_give_the_same_records() -> None:
    def run() -> list[tuple[object, ...]]:
        memory = LongTermMemory(RecordStore(clock=lambda: 0.0))
        rng = np.random.default_rng(0)
        xs, looks, counts = rng.uniform(0, 3, 20), rng.normal(size=20), rng.integers(1, 9, 20)
        entries = [
            entry(f"o{i}", sighting(float(i), float(xs[i]), look=(1.0, float(looks[i]))), int(counts[i]))
            for i in range(20)
        ]
        Consolidation(memory).take(entries[:12])
        Consolidation(memory).take(entries[8:])
        found = memory.store.read(Query(k=100, with_hidden=True))
        return [(r.id, r.keys, r.links, str(r.payload), str(r.position)) for r in found]

    assert run() == run()


@pytest.mark.parametrize("settings", [{"radius": -1.0}, {"similarity": 2.0}, {"max_age": 0.0}, {"min_count": 0}])
def test_senseless_settings_are_refused(long_term: LongTermMemory, settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="need"):
        Consolidation(long_term, **settings)  # type: ignore[arg-type]
