"""What is purged is gone from the disk, byte for byte, with all that repeats it; what is forgotten goes alone."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from pathlib import Path

import numpy as np
import pytest

from embmem.errors import StoreError
from embmem.protocols import LayerState
from embmem.records import Link, Query, Record
from embmem.store import RecordStore
from embmem.store.amend import correct, withdraw
from embmem.store.purge import doomed, forget, purge
from embmem.store.snapshots import list_snapshots, write_layers

SECRET = "xylophonequartz"


def said(i: int, source: str, *links: tuple[str, int], kind: str = "note") -> Record:
    """A record whose text, names, payload, blob and embedding all carry what must not be left."""
    rng = np.random.default_rng(i)
    word = SECRET if source == "spy" else "ordinary"
    return Record(
        kind=kind, t_event=float(i), source=source, place=f"{word}place{i}", position=rng.normal(size=3),
        text=f"{word}{i} stood",
        entities=(f"{word}entity{i}", "mug"), keys=(f"{word}key{i}",), payload={"says": f"{word}payload{i}"},
        blob=(f"{word}blob{i}" * 400).encode(), embedding=rng.normal(size=64).astype(np.float32),
        links=tuple(Link(*link) for link in links),
    )  # fmt: skip


def on_disk(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.iterdir()))


def test_nothing_of_a_source_is_left_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder = tmp_path / "memory"
    folder.mkdir()
    store = RecordStore(folder / "room.embmem")
    rng = np.random.default_rng(0)
    sources = rng.choice(["spy", "camera", "radio"], 600).tolist()
    store.write_all([said(i, source) for i, source in enumerate(sources, 1)])
    store.write_all([said(i, sources[i % 600]) for i in range(601, 640)])  # another segment of the text index
    store.search(Query(embedding=np.ones(64)))
    store.embeddings.save(store)
    gone = [r for r in store.read(Query(source="spy", k=1000)) if r.embedding is not None and r.position is not None]
    vectors = [r.embedding.astype("<f2").tobytes() for r in gone if r.embedding is not None]
    places = [np.float64(r.position[0]) for r in gone if r.position is not None]
    before = on_disk(folder)
    assert SECRET.encode() in before
    assert all(vector in before for vector in vectors)
    assert purge(store, "spy", reason="a stranger") == len(gone)
    after = on_disk(folder)
    assert SECRET.encode() not in after
    assert not any(vector in after for vector in vectors)
    assert not any(x.astype(">f8").tobytes() in after or x.astype(">f4").tobytes() in after for x in places)
    store.close()
    assert SECRET.encode() not in on_disk(folder)


def test_what_is_left_is_found_as_before_and_the_text_index_is_whole(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "room.embmem")
    store.write_all([said(i, "spy" if i % 3 else "camera") for i in range(1, 91)])
    kept = [i for i in range(1, 91) if i % 3 == 0]
    purge(store, "spy")
    assert [r.id for r in reversed(store.read(Query(text="stood", k=100)))] == kept
    assert [r.id for r in store.read(Query(text=SECRET))] == []
    assert [r.id for r in store.read(Query(text="ordinaryentity3"))] == [3]
    near = store.get([30])[0].position
    assert near is not None
    assert [r.id for r in store.read(Query(near=near, radius=1e-6))] == [30]
    embedding = store.get([30])[0].embedding
    assert {hit.record.id for hit in store.search(Query(embedding=embedding, k=90)).hits if hit.record} == set(kept)
    with store.changing() as db:
        db.execute("INSERT INTO texts(texts) VALUES ('integrity-check')")
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        for table in ("vectors", "blobs", "entities", "keys"):
            assert {row[0] for row in db.execute(f"SELECT record_id FROM {table}")} == set(kept)
    store.close()
    with RecordStore(tmp_path / "room.embmem") as reopened:
        assert reopened.write(said(1, "camera")).wait() == 92  # ids are not given again


def test_what_was_derived_and_what_corrects_goes_too_and_the_rest_is_believed_as_before() -> None:
    store = RecordStore()
    store.write_all([said(1, "spy"), said(2, "camera"), said(3, "camera", ("from", 1)), said(4, "radio", ("from", 3))])
    correct(store, 1, text="corrected", source="anna")  # 5
    (poisoned,) = withdraw(store, [2], source="spy")  # 6: goes, so that 2 is believed again
    withdraw(store, [4], source="anna")  # 7: stays and withdraws nothing
    with store.reading() as db:
        gone = doomed(db, "spy")
    assert gone.counts == {
        ("anna", "note"): 1, ("camera", "note"): 1, ("radio", "note"): 1, ("spy", "note"): 1, ("spy", "withdrawal"): 1,
    }  # fmt: skip
    assert gone.ids == (1, 3, 4, 5, poisoned)
    assert purge(store, "spy") == 5
    left = store.read(Query(k=10))
    assert sorted((r.id, r.kind) for r in left) == [(2, "note"), (7, "withdrawal"), (8, "purge")]
    (told,) = store.read(Query(kind="purge"))
    assert (told.source, told.payload) == ("operator", {"purged": "spy", "n": 5})
    assert purge(store, "operator") == 0  # what tells of a purge is not purged
    assert len(store) == 3


def test_what_a_purge_makes_believed_again_and_hidden_again_follows_the_log() -> None:
    store = RecordStore()
    store.write(said(1, "camera"))
    (first,) = withdraw(store, [1], source="anna")
    withdraw(store, [first], source="spy")
    assert {r.id for r in store.read(Query(kind="note"))} == {1}
    purge(store, "spy")
    assert {r.id for r in store.read(Query(kind="note"))} == set()


def test_layers_that_saw_the_source_go_and_others_stay() -> None:
    state = LayerState("voxels", 1, {}, {"cells": np.arange(9)})
    for source, roles in [("camera", []), ("radio", ["base"])]:
        store = RecordStore()
        store.write_all([said(1, "camera", kind="view"), said(2, "radio")])
        with store.changing() as db:
            write_layers(db, [state], 2)
            write_layers(db, [state], 2, role="latest")
        with store.reading() as db:
            assert doomed(db, source).layers == (() if roles else ("voxels",))
        purge(store, source)
        with store.reading() as db:
            assert [s.role for role in ("base", "latest") for s in list_snapshots(db, role)] == roles


def test_a_reader_that_keeps_the_old_bytes_alive_is_named_and_a_second_purge_erases_them(tmp_path: Path) -> None:
    path = tmp_path / "room.embmem"

    def connect(file: Path) -> sqlite3.Connection:
        return sqlite3.connect(file, isolation_level=None, check_same_thread=False, timeout=0.1)

    store = RecordStore(path, connect=connect)
    store.write_all([said(1, "spy"), said(2, "camera")])
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM records").fetchone()
        with pytest.raises(StoreError, match="readers that hold its write-ahead log"):
            purge(store, "spy")
    assert [r.id for r in store.read(Query(kind="note"))] == [2]
    assert SECRET.encode() in on_disk(tmp_path)
    assert purge(store, "spy") == 0
    assert SECRET.encode() not in on_disk(tmp_path)
    store.close()


def test_a_purge_that_fails_removes_nothing(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "room.embmem")
    store.write_all([said(1, "spy"), said(2, "camera")])
    with pytest.raises(ValueError, match="names must be text"):
        purge(store, "spy", by="")
    assert len(store) == 2
    store.close()
    with pytest.raises(StoreError, match="closed"):
        purge(store, "spy")


def test_forgetting_takes_the_record_alone_and_every_trace_in_the_indexes() -> None:
    store = RecordStore()
    store.write_all([said(1, "camera"), said(2, "camera", ("from", 1)), said(3, "camera")])
    assert forget(store, [1, 3, 99]) == 2
    assert [r.id for r in store.read(Query(k=10))] == [2]
    for query in (Query(text="ordinary1"), Query(entity="ordinaryentity3"), Query(key="ordinarykey3")):
        assert store.read(query) == []
    with store.changing() as db:
        db.execute("INSERT INTO texts(texts) VALUES ('integrity-check')")
        tables = {"vectors": 1, "blobs": 1, "entities": 2, "keys": 1, "places": 1, "links": 1}
        for table, n in tables.items():
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == n
    withdrawal = withdraw(store, [2])
    assert forget(store, withdrawal) == 0  # 2 would be believed again
    assert forget(store, [2, *withdrawal]) == 2


def test_others_write_on_while_a_source_is_purged(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "room.embmem", max_delay=0.002)
    ids: list[list[int]] = [[], [], []]

    def write(mine: list[int]) -> None:
        mine.extend(store.write(said(i, "camera")).id for i in range(100))

    store.write_all([said(i, "spy") for i in range(50)])
    threads = [threading.Thread(target=write, args=(mine,)) for mine in ids]
    for thread in threads:
        thread.start()
    assert purge(store, "spy") == 50
    for thread in threads:
        thread.join(60.0)
    store.flush()
    written = sorted(i for mine in ids for i in mine)
    assert len(set(written)) == 300
    assert sorted(r.id or 0 for r in store.read(Query(source="camera", k=1000))) == written
    (told,) = store.read(Query(kind="purge"))
    assert told.id not in written
    assert len(store) == 301
    store.close()
