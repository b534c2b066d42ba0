"""Files and records that lie: a typed error, nothing changed, nothing written elsewhere."""

from __future__ import annotations

import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from survival import batch, changed

from embmem.errors import EmbmemError, FileVersionError, InputError, StoreError
from embmem.memory import Memory
from embmem.protocols import LayerState
from embmem.records import Link, Query, Record
from embmem.store import RecordStore
from embmem.store.schema import VERSION
from embmem.store.snapshots import CHUNK, list_snapshots, read_state, write_layers
from embmem.store.verify import verify

PAGE = 4096


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "sound.embmem"
    with RecordStore(path) as store:
        store.write_all(batch(1, 80))
        with store.changing() as db:
            write_layers(db, [LayerState("grid", 1, {"a": 1}, {"cells": np.arange(2000.0)})], 80)
    return path


def use(path: Path) -> None:
    """Open a file and ask it everything."""
    with RecordStore(path, read_only=True) as store:
        store.get(range(1, 200))
        store.read(Query(k=200))
        store.read(Query(entity="mug", near=np.zeros(3), radius=2.0, text="mug table"))
        store.search(Query(embedding=np.ones(16), text="mug", near=np.zeros(3), k=5))
        with store.reading() as db:
            for snapshot in list_snapshots(db, "base"):
                read_state(str(path), db, snapshot)


def ask_and_expect_typed_errors(path: Path) -> bool:
    """True if it was refused; every other error than a typed one fails the test."""
    before = path.read_bytes()
    refused = False
    try:
        use(path)
    except EmbmemError:
        refused = True
    try:
        verify(path)
    except EmbmemError:
        refused = True
    assert path.read_bytes() == before
    return refused


@pytest.mark.parametrize("seed", range(30))
def test_a_file_with_damaged_pages_answers_or_says_so(sound: Path, tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = bytearray(sound.read_bytes())
    for _ in range(rng.integers(1, 4)):
        page = int(rng.integers(len(data) // PAGE)) * PAGE
        start, length = int(rng.integers(PAGE)), int(rng.choice([1, 16, PAGE]))
        noise = rng.bytes(length) if rng.random() < 0.7 else bytes(length)
        data[page + start : page + start + length] = noise[: max(0, len(data) - page - start)]
    path = tmp_path / "damaged.embmem"
    path.write_bytes(data)
    ask_and_expect_typed_errors(path)


def test_a_file_that_is_cut_at_any_page_is_refused(sound: Path, tmp_path: Path) -> None:
    data, path = sound.read_bytes(), tmp_path / "cut.embmem"
    for n in [0, 1, 50, 99, 100, PAGE - 1, *range(PAGE, len(data), PAGE), len(data) - 1]:
        path.write_bytes(data[:n])
        with pytest.raises(EmbmemError):
            use(path)
        if n:  # an empty file is an empty database, which a writer fills
            with pytest.raises(EmbmemError):
                RecordStore(path)
        assert path.read_bytes() == data[:n]


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        (f"PRAGMA user_version = {VERSION + 1}", FileVersionError),
        ("PRAGMA user_version = 0", FileVersionError),
        ("PRAGMA application_id = 7", FileVersionError),
        ("CREATE TRIGGER t AFTER INSERT ON records BEGIN DELETE FROM records; END", InputError),
        ("CREATE VIEW v AS SELECT * FROM records", InputError),
        ("CREATE VIRTUAL TABLE v USING fts5(a)", InputError),
        ("CREATE TABLE extra (a)", InputError),
        ("DROP TABLE hidden", InputError),
        ("ALTER TABLE records ADD COLUMN evil", InputError),
        ("CREATE INDEX evil ON records (kind)", InputError),
    ],
)
def test_a_foreign_schema_or_version_is_refused(
    sound: Path, tmp_path: Path, statement: str, error: type[Exception]
) -> None:
    path = changed(sound, tmp_path / "crafted.embmem", statement)
    before = path.read_bytes()
    for read_only in (False, True):
        with pytest.raises(error, match=r"crafted\.embmem"):
            RecordStore(path, read_only=read_only)
    assert path.read_bytes() == before


def test_what_is_no_memory_at_all_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE t (a)")
    for content in (path.read_bytes(), b"hello", np.random.default_rng(0).bytes(9000), b"SQLite format 3\0" * 900):
        path.write_bytes(content)
        with pytest.raises(InputError):
            RecordStore(path)
        with pytest.raises(InputError):
            Memory.open(path, [])
        assert path.read_bytes() == content
    with pytest.raises(InputError):
        RecordStore(tmp_path / "none" / "memory.embmem")
    with pytest.raises((InputError, StoreError)):
        RecordStore(tmp_path)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE records SET payload = 'no json' WHERE id = 7",
        "UPDATE records SET payload = '[1]' WHERE id = 7",
        "UPDATE records SET payload = x'00' WHERE id = 7",
        f"UPDATE records SET payload = '{'[' * 100_000}' WHERE id = 7",
        "UPDATE records SET pose = x'0011' WHERE id = 7",
        "UPDATE records SET pose = 'text' WHERE id = 7",
        "UPDATE records SET t_event = 'soon' WHERE id = 7",
        "UPDATE records SET t_ingest = x'00' WHERE id = 7",
        "UPDATE records SET confidence = 'high' WHERE id = 7",
        "UPDATE records SET valid_to = 'never' WHERE id = 7",
        "UPDATE records SET x = 'left' WHERE id = 7",
        "UPDATE records SET y = NULL WHERE id = 7",
        "UPDATE records SET kind = x'ff' WHERE id = 7",
        "UPDATE records SET source = CAST(x'ff' AS TEXT) WHERE id = 7",
        "UPDATE records SET place = x'ff' WHERE id = 7",
        "UPDATE records SET text = CAST(x'fffe' AS TEXT) WHERE id = 7",
        "UPDATE vectors SET data = x'001122' WHERE record_id = 7",
        "UPDATE vectors SET data = 'text' WHERE record_id = 7",
        "INSERT OR REPLACE INTO blobs VALUES (7, 'text')",
        "UPDATE entities SET name = x'ff' WHERE record_id = 7 AND name = (SELECT min(name) FROM entities"
        " WHERE record_id = 7)",
        "INSERT INTO links VALUES (7, x'00', 3)",
        "INSERT INTO links VALUES (7, 'from', 'three')",
    ],
)
def test_a_crafted_row_is_a_store_error(sound: Path, tmp_path: Path, statement: str) -> None:
    path = changed(sound, tmp_path / "crafted.embmem", statement)
    with RecordStore(path, read_only=True) as store:
        with pytest.raises(StoreError):
            store.get([7])
        assert [r.id for r in store.get([6, 8])] == [6, 8]
    assert 7 in verify(path).damaged_ids
    ask_and_expect_typed_errors(path)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE vectors SET data = zeroblob(64) WHERE record_id = 9",  # twice as long as the others
        "UPDATE vectors SET data = zeroblob(32) WHERE record_id = 9",  # no direction
        "UPDATE vectors SET data = x'007e' || substr(data, 3) WHERE record_id = 9",  # NaN
        "UPDATE vectors SET data = x'00' WHERE record_id = 9",
        "DELETE FROM records WHERE id = 9",
    ],
)
def test_crafted_vectors_are_found_or_harmless(sound: Path, tmp_path: Path, statement: str) -> None:
    path = changed(sound, tmp_path / "crafted.embmem", statement)
    ask_and_expect_typed_errors(path)
    assert not verify(path).is_sound


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE layers SET size = 1 << 62",
        "UPDATE layers SET size = -1",
        "UPDATE layers SET size = 'big'",
        "UPDATE layers SET size = size - 1",
        "UPDATE layers SET params = 'no json'",
        "UPDATE layers SET params = '[]'",
        "UPDATE layers SET checksum = 1",
        "UPDATE layer_chunks SET data = x'00'",
        "UPDATE layer_chunks SET data = 'text'",
        "DELETE FROM layer_chunks",
    ],
)
def test_a_crafted_layer_is_an_input_error(sound: Path, tmp_path: Path, statement: str) -> None:
    path = changed(sound, tmp_path / "crafted.embmem", statement)
    with RecordStore(path, read_only=True) as store, store.reading() as db:
        (snapshot,) = list_snapshots(db, "base")
        with pytest.raises(InputError, match="grid"):
            read_state(str(path), db, snapshot)


def test_a_chunk_that_expands_without_end_costs_no_memory(sound: Path, tmp_path: Path) -> None:
    import tracemalloc

    bomb = zlib.compress(bytes(256 << 20), 9)
    path = changed(sound, tmp_path / "crafted.embmem")
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("UPDATE layer_chunks SET data = ?", (bomb,))
    tracemalloc.start()
    try:
        with RecordStore(path, read_only=True) as store, store.reading() as db, pytest.raises(InputError):
            read_state(str(path), db, list_snapshots(db, "base")[0])
        assert tracemalloc.get_traced_memory()[1] < 4 * CHUNK
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", "a/b", "..", "con\x00trol", "C:\\evil"])
def test_names_never_become_paths(sound: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    path = changed(sound, folder / "crafted.embmem")
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("UPDATE layers SET kind = ?", (name,))
        db.execute("UPDATE layer_chunks SET kind = ?", (name,))
        db.execute("UPDATE meta SET value = ? WHERE name = 'uuid'", (name,))
    use(path)
    with RecordStore(path) as store:
        store.write(Record(kind=name, t_event=0.0, source=name, place=name, entities=(name,), keys=(name,))).wait()
        store.search(Query(embedding=np.ones(16), k=3))
    outside = [p for p in tmp_path.rglob("*") if p.is_file() and p.parent != folder]
    assert outside == []


def note(**more: Any) -> Record:
    return Record(**{"kind": "note", "t_event": 1.0, "source": "test", **more})


BAD: list[dict[str, Any]] = [
    {"blob": bytes(4 << 30)},  # of which the system gives no page before somebody looks
    {"embedding": np.array([1.0, np.nan])},
    {"embedding": np.array([1.0, np.inf])},
    {"embedding": np.array([1.0, 1e9])},
    {"embedding": np.zeros(3)},
    {"embedding": np.zeros((2, 2))},
    {"embedding": np.zeros(0)},
    {"embedding": np.ones(9000)},
    {"text": "\ud800"},
    {"kind": "\udfff"},
    {"kind": ""},
    {"source": "x" * 2000},
    {"entities": ("",)},
    {"entities": tuple(map(str, range(5000)))},
    {"text": "x" * (1 << 21)},
    {"payload": {"a": float("nan")}},
    {"payload": {"a": object()}},
    {"payload": {"a": {1, 2}}},
    {"payload": {"a": b"bytes"}},
    {"t_event": float("nan")},
    {"t_ingest": float("inf")},
    {"confidence": 1.5},
    {"confidence": float("nan")},
    {"valid": (2.0, 1.0)},
    {"valid": (float("nan"), 1.0)},
    {"position": np.array([0.0, np.nan, 0.0])},
    {"position": np.zeros(2)},
    {"T_map_obs": np.full((4, 4), np.inf)},
    {"T_map_obs": np.zeros((3, 3))},
    {"links": (Link("from", 99),)},
    {"links": (Link("from", 0),)},
    {"links": (Link("from", -(2**70)),)},
    {"id": 3},
]


@pytest.mark.parametrize("bad", BAD, ids=[f"{next(iter(b))}-{i}" for i, b in enumerate(BAD)])
def test_a_record_that_cannot_be_kept_is_refused_and_the_store_is_as_it_was(bad: dict[str, Any]) -> None:
    with RecordStore() as store:
        store.write_all([note()])
        with pytest.raises(ValueError):  # noqa: PT011
            store.write(note(**bad))
        with pytest.raises(ValueError):  # noqa: PT011
            store.write_all([note(text="good"), note(**bad)])
        assert [r.text for r in store.read(Query())] == [""]
        assert store.write(note(embedding=np.ones(3))).wait() == 2


def test_a_payload_deeper_than_json_goes_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    with RecordStore() as store:
        with pytest.raises(ValueError, match="JSON"):
            store.write(note(payload=deep))
        assert len(store) == 0
    while deep:  # taken apart by hand: so deep a chain is not freed at once
        deep = deep["a"]


def test_a_buffer_that_changes_afterwards_is_kept_as_it_was(tmp_path: Path) -> None:
    vector = np.ones(4, dtype=np.float16)
    with RecordStore(tmp_path / "memory.embmem", max_delay=5.0) as store:
        store.write(note(embedding=vector, position=(place := np.ones(3))))
        vector[:] = 2.0
        place[:] = 7.0
        (kept,) = store.get([1])
        assert kept.embedding is not None
        assert kept.position is not None
        assert (float(kept.embedding[0]), float(kept.position[0])) == (1.0, 1.0)
    assert verify(tmp_path / "memory.embmem").is_sound


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
numbers = st.floats(allow_nan=False, allow_infinity=False)
metres = st.floats(-1e30, 1e30)


@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=200), name=names, key=names, stamp=numbers,
    xyz=st.tuples(metres, metres, metres), blob=st.binary(max_size=50) | st.none(),
    payload=st.dictionaries(st.text(max_size=5), numbers | st.text(max_size=5) | st.booleans() | st.none(), max_size=3),
    valid=st.tuples(numbers, numbers).filter(lambda v: v[0] < v[1]),
)  # fmt: skip
@settings(max_examples=25)
def test_whatever_is_accepted_comes_back_and_its_checksum_holds(
    tmp_path_factory: pytest.TempPathFactory, text: str, name: str, key: str, stamp: float,
    xyz: tuple[float, float, float], blob: bytes | None, payload: dict[str, Any], valid: tuple[float, float],
) -> None:  # fmt: skip
    path = tmp_path_factory.mktemp("any") / "memory.embmem"
    record = note(text=text, entities=(name,), keys=(key,), t_event=stamp, t_ingest=stamp, position=np.array(xyz),
                  blob=blob, payload=payload, valid=valid, place=name, kind=key, links=())  # fmt: skip
    with RecordStore(path) as store:
        store.write_all([record, note()])
        (kept, _) = store.get([1, 2])
    for field in ("text", "entities", "keys", "t_event", "t_ingest", "blob", "payload", "valid", "place", "kind"):
        assert getattr(kept, field) == getattr(record, field)
    assert kept.position is not None
    assert np.array_equal(kept.position, xyz)
    report = verify(path)
    assert not report.damaged_ids
    assert [p.part for p in report.problems] == []
