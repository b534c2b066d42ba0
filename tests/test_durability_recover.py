"""What is wrong with a file is found and named; what can be saved is saved; backups and compaction keep everything."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from survival import batch, changed, record, same, survivors

from embmem.cli.main import main
from embmem.errors import FileVersionError, InputError, OutputExistsError, StoreBusyError
from embmem.protocols import LayerState
from embmem.records import Link, Record
from embmem.store import RecordStore
from embmem.store.maintenance import backup, compact
from embmem.store.recover import recover
from embmem.store.snapshots import list_snapshots, write_layers
from embmem.store.verify import verify

N = 300
PAGE = 4096


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "sound.embmem"
    with RecordStore(path) as store:
        for first in range(1, N, 50):
            store.write_all(batch(first, 50))
        with store.changing() as db:
            write_layers(db, [LayerState("grid", 1, {"a": 1}, {"cells": np.arange(2000.0)})], N)
    return path


def with_zeros(sound: Path, to: Path, pages: list[int]) -> Path:
    data = bytearray(sound.read_bytes())
    for page in pages:
        data[(page - 1) * PAGE : page * PAGE] = bytes(PAGE)
    to.write_bytes(data)
    return to


def check_saved(path: Path, ids: set[int]) -> None:
    """Verified, and each record says what it must."""
    assert verify(path).is_sound, verify(path).problems
    with RecordStore(path) as store:
        found = store.get(sorted(ids))
        assert len(store) == len(ids) == len(found)
    for one in found:
        assert same(one, record(one.id or 0, one.payload["first"], one.payload["last"]))


def test_a_sound_file_has_no_problems_and_is_not_touched(sound: Path) -> None:
    before = sound.read_bytes(), sound.stat().st_mtime_ns
    seen: list[tuple[int, int]] = []
    report = verify(sound, progress=lambda done, total: seen.append((done, total)))
    assert report.is_sound
    assert (report.n_records, seen[-1]) == (N, (N, N))
    assert (sound.read_bytes(), sound.stat().st_mtime_ns) == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE records SET text = text || 'x' WHERE id = 17",
        "UPDATE records SET t_ingest = 0.5 WHERE id = 17",
        "UPDATE records SET x = x + 1e-9 WHERE id = 17",
        "UPDATE records SET payload = '{}' WHERE id = 17",
        "UPDATE vectors SET data = zeroblob(32) WHERE record_id = 17",
        "DELETE FROM vectors WHERE record_id = 17",
        "INSERT OR REPLACE INTO blobs VALUES (17, x'00')",
        "UPDATE entities SET name = 'ghost' WHERE record_id = 17 AND name = (SELECT min(name) FROM entities"
        " WHERE record_id = 17)",
        "DELETE FROM keys WHERE record_id = 17",
        "INSERT INTO links VALUES (17, 'from', 3)",
        "UPDATE records SET checksum = checksum + 1 WHERE id = 17",
    ],
)
def test_a_record_that_says_something_else_is_named(sound: Path, tmp_path: Path, statement: str) -> None:
    report = verify(changed(sound, tmp_path / "changed.embmem", statement))
    assert report.damaged_ids == (17,)
    assert any("17" in problem.detail and "recover" in problem.remedy for problem in report.problems)


@pytest.mark.parametrize(
    ("statement", "part"),
    [
        ("DELETE FROM places WHERE id = 5", "places"),
        ("UPDATE places SET x1 = 90, x0 = 89 WHERE id = 5", "places"),
        ("DELETE FROM texts_docsize WHERE id = 8", "texts"),
        ("INSERT INTO texts (rowid, text, names) VALUES (9999, 'ghost', '')", "texts"),
        ("INSERT INTO hidden VALUES (4, 5)", "hidden"),
        ("INSERT INTO vectors VALUES (9999, zeroblob(32))", "rows without a record"),
        ("UPDATE entities SET t_event = 0.5 WHERE record_id = 9", "names"),
        ("UPDATE layer_chunks SET data = x'00'", "layer grid (base)"),
    ],
)
def test_derived_tables_that_disagree_with_the_log_are_named(
    sound: Path, tmp_path: Path, statement: str, part: str
) -> None:
    damaged = changed(sound, tmp_path / "changed.embmem", statement)
    report = verify(damaged)
    assert [problem.part for problem in report.problems] == [part]
    assert not report.damaged_ids
    recover(damaged, tmp_path / "saved.embmem")
    assert verify(tmp_path / "saved.embmem").is_sound
    check_saved(tmp_path / "saved.embmem", set(range(1, N + 1)))


def test_every_flipped_bit_of_a_record_is_found(sound: Path, tmp_path: Path) -> None:
    """Bits of what records say; those of free space and of slack mean nothing."""
    data, rng = sound.read_bytes(), np.random.default_rng(0)
    path = tmp_path / "flipped.embmem"
    with RecordStore(sound, read_only=True) as store:
        found = {r.id or 0: r for r in store.get(range(1, N + 1))}
    for i in rng.choice(N, 25, replace=False) + 1:
        vector = found[i].embedding
        assert vector is not None
        for content in (vector.tobytes(), found[i].text.encode()):
            at = data.index(content) + int(rng.integers(len(content)))
            flipped = bytearray(data)
            flipped[at] ^= 1 << int(rng.integers(8))
            path.write_bytes(flipped)
            assert not verify(path).is_sound


@pytest.mark.parametrize("seed", range(6))
def test_records_outside_of_damaged_pages_are_saved(sound: Path, tmp_path: Path, seed: int) -> None:
    n_pages = sound.stat().st_size // PAGE
    pages = np.random.default_rng(seed).choice(np.arange(1, n_pages + 1), 3, replace=False)
    damaged = with_zeros(sound, tmp_path / "damaged.embmem", pages.tolist())
    before = damaged.read_bytes()
    report = recover(damaged, tmp_path / "saved.embmem")
    assert damaged.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["damaged.embmem", "saved.embmem"]
    lost = set(report.lost_ids)
    assert report.n_saved + len(lost) == N
    assert len(lost) < N / 2
    check_saved(tmp_path / "saved.embmem", set(range(1, N + 1)) - lost)


def test_the_first_page_gone_costs_no_record(sound: Path, tmp_path: Path) -> None:
    damaged = with_zeros(sound, tmp_path / "damaged.embmem", [1])
    assert recover(damaged, tmp_path / "saved.embmem").n_scanned == N
    check_saved(tmp_path / "saved.embmem", set(range(1, N + 1)))


def test_the_root_of_the_records_gone_costs_no_record(sound: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(sound)) as db:
        roots = [
            row[0] for row in db.execute("SELECT rootpage FROM sqlite_master WHERE name IN ('records', 'entities')")
        ]
    damaged = with_zeros(sound, tmp_path / "damaged.embmem", roots)
    recover(damaged, tmp_path / "saved.embmem")
    check_saved(tmp_path / "saved.embmem", set(range(1, N + 1)))


@pytest.mark.parametrize("share", [0.4, 0.99])
def test_of_a_file_that_lost_its_end_the_rest_is_saved(tmp_path: Path, share: float) -> None:
    damaged, n = tmp_path / "cut.embmem", 1000
    with RecordStore(damaged) as store:
        for first in range(1, n, 100):
            store.write_all(batch(first, 100))
    damaged.write_bytes(damaged.read_bytes()[: int(share * damaged.stat().st_size)])
    report = recover(damaged, tmp_path / "saved.embmem")
    assert report.n_saved > 0.5 * share * n
    with RecordStore(tmp_path / "saved.embmem") as store:
        ids = {record.id or 0 for record in store.get(range(1, n + 1))}
    check_saved(tmp_path / "saved.embmem", ids)


def test_the_log_beside_a_damaged_file_counts(tmp_path: Path) -> None:
    path, damaged = tmp_path / "live.embmem", tmp_path / "damaged.embmem"
    with RecordStore(path) as store:
        store.write_all(batch(1, 60))
        shutil.copy(path, damaged)
        shutil.copy(f"{path}-wal", f"{damaged}-wal")
    data = bytearray(damaged.read_bytes())
    data[:PAGE] = bytes(PAGE)
    damaged.write_bytes(data)
    recover(damaged, tmp_path / "saved.embmem")
    check_saved(tmp_path / "saved.embmem", set(range(1, 61)))


def test_a_log_that_is_damaged_in_the_middle_is_named(tmp_path: Path) -> None:
    path, crashed = tmp_path / "live.embmem", tmp_path / "crashed.embmem"
    with RecordStore(path, max_delay=0.0) as store:
        for first in range(1, 60, 5):
            store.write_all(batch(first, 5))
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", f"{crashed}{suffix}")
    log = tmp_path / "crashed.embmem-wal"
    data = bytearray(log.read_bytes())
    n_frames = (len(data) - 32) // (PAGE + 24)
    assert verify(crashed).is_sound
    for frame, is_told in ((n_frames // 2, True), (n_frames - 1, False)):  # the last one may be a cut's
        flipped = bytearray(data)
        flipped[32 + frame * (PAGE + 24) + 500] ^= 1
        log.write_bytes(flipped)
        assert any(problem.part == "log" for problem in verify(crashed).problems) == is_told


def test_links_gaps_amendments_and_the_name_of_the_memory_are_kept(tmp_path: Path) -> None:
    path, saved = tmp_path / "memory.embmem", tmp_path / "saved.embmem"
    with RecordStore(path) as store:
        store.write_all(batch(1, 20))
        store.write(Record(kind="withdrawal", t_event=1.0, source="me", links=(Link("withdraws", 3),))).wait()
        name = store.uuid
        with store.changing() as db:
            hidden = db.execute("SELECT * FROM hidden").fetchall()
    recover(path, saved)
    with RecordStore(saved) as store:
        assert store.uuid == name
        with store.reading() as db:
            assert db.execute("SELECT * FROM hidden").fetchall() == hidden
            assert [s.kind for s in list_snapshots(db, "base")] == []
        assert store.write(Record(kind="note", t_event=1.0, source="me")).wait() == 22


def test_what_cannot_be_saved_or_is_not_ours_is_refused(sound: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputExistsError):
        recover(sound, sound)
    (tmp_path / "noise").write_bytes(np.random.default_rng(0).bytes(40_000))
    with pytest.raises(InputError, match="nothing"):
        recover(tmp_path / "noise", tmp_path / "saved.embmem")
    with closing(sqlite3.connect(tmp_path / "foreign.db")) as db:
        db.execute("CREATE TABLE t (a)")
    with pytest.raises(FileVersionError):
        recover(tmp_path / "foreign.db", tmp_path / "saved.embmem")
    with pytest.raises(FileVersionError):
        verify(tmp_path / "foreign.db")
    with pytest.raises(InputError, match="not a file"):
        verify(tmp_path / "none")
    assert not (tmp_path / "saved.embmem").exists()


def test_a_backup_under_full_load_is_one_state_of_the_memory(tmp_path: Path) -> None:
    stop = threading.Event()
    with RecordStore(tmp_path / "live.embmem", max_delay=0.001) as store:
        store.write_all(batch(1, 5))

        def write() -> None:
            first = 6
            while not stop.is_set():
                store.write_all(batch(first, 7))
                first += 7

        thread = threading.Thread(target=write)
        thread.start()
        try:
            for number in range(3):
                known = store.last_id
                backup(store, tmp_path / f"{number}.embmem")
                ids = survivors(tmp_path / f"{number}.embmem")
                assert known <= max(ids) == len(ids)
        finally:
            stop.set()
            thread.join()
        with pytest.raises(InputError, match="another name"):
            backup(store, tmp_path / "live.embmem", overwrite=True)
        with pytest.raises(StoreBusyError):
            backup(tmp_path / "0.embmem", tmp_path / "live.embmem", overwrite=True)


def test_a_log_of_the_old_file_is_never_taken_for_one_of_the_new(tmp_path: Path) -> None:
    path, old = tmp_path / "memory.embmem", tmp_path / "old.embmem"
    with RecordStore(path) as store:
        store.write_all(batch(1, 40))
        for suffix in ("", "-wal"):  # as a crash leaves them
            shutil.copy(f"{path}{suffix}", f"{old}{suffix}")
    with RecordStore(tmp_path / "new.embmem") as store:
        store.write_all(batch(1, 3))
        backup(store, old, overwrite=True)
    assert survivors(old) == {1, 2, 3}


def test_compaction_gives_space_back_and_keeps_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "memory.embmem"
    with RecordStore(path) as store:
        store.write_all(batch(1, 400))
        with store.changing() as db:
            db.execute("DELETE FROM layers")
            db.execute("CREATE TABLE big AS SELECT randomblob(500000) AS data")
            db.execute("DROP TABLE big")
        with pytest.raises(StoreBusyError):
            compact(path)
    done = compact(path)
    assert done.bytes_after < done.bytes_before - 400_000
    assert survivors(path) == set(range(1, 401))
    assert verify(path).is_sound


def test_the_commands_say_what_they_did(sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged, saved = (
        changed(sound, tmp_path / "d.embmem", "DELETE FROM keys WHERE record_id = 17"),
        tmp_path / "s.embmem",
    )
    assert main(["verify", str(sound)]) == 0
    assert f"{N} records" in capsys.readouterr().out.replace("\n", "")
    assert main(["verify", str(damaged)]) == 1
    said = capsys.readouterr()
    assert "17" in said.out
    assert "is damaged" in said.err
    assert main(["recover", str(damaged), f"to={saved}"]) == 0
    assert f"{N - 1}" in capsys.readouterr().out
    assert main(["compact", str(saved)]) == 0
    assert main(["backup", str(saved), f"to={tmp_path / 'b.embmem'}"]) == 0
    assert "bytes" in capsys.readouterr().out
    assert main(["verify", f"file={tmp_path / 'b.embmem'}"]) == 0
