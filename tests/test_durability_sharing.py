"""One file, several processes: readers see whole states, one writer at a time, forks and dropped stores let go."""

from __future__ import annotations

import gc
import multiprocessing
import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from survival import batch, survivors

from embmem.errors import StoreBusyError, StoreError
from embmem.records import Record
from embmem.store import RecordStore, short_log

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def note() -> Record:
    return Record(kind="note", t_event=1.0, source="test")


def test_readers_beside_a_writer_see_whole_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import durability_readers

    seen = durability_readers.run(tmp_path / "shared.embmem", 4.0)
    assert seen["errors"] == []
    assert seen["records"] > 100
    assert seen["queries"] > 10
    assert seen["log_mb"] < 64.0
    assert len(survivors_of_groups(tmp_path / "shared.embmem")) == seen["records"]


def survivors_of_groups(path: Path) -> set[int]:
    with RecordStore(path, read_only=True) as store, store.reading() as db:
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        return {row[0] for row in db.execute("SELECT id FROM records")}


def test_a_second_writer_is_refused_and_told_who_holds_the_file(tmp_path: Path) -> None:
    path = tmp_path / "memory.embmem"
    code = (
        "import sys\nfrom embmem.store import RecordStore\nstore = RecordStore(sys.argv[1])\n"
        "print('open', flush=True)\nsys.stdin.readline()\nstore.close()"
    )
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        child.stdout.readline()
        with pytest.raises(StoreBusyError, match=r"memory\.embmem is being written by") as refused:
            RecordStore(path)
        if Path("/proc/locks").exists():
            assert f"process {child.pid}" in str(refused.value)
        with RecordStore(path, read_only=True) as reader:
            assert len(reader) == 0
        child.stdin.write("\n")
    with RecordStore(path) as store:
        assert store.write(note()).wait() == 1


def test_a_store_that_is_dropped_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "memory.embmem"
    store = RecordStore(path)
    store.write(note())
    del store
    gc.collect()
    with RecordStore(path) as again:
        assert len(again) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_fork_cannot_write_through_what_its_parent_opened(tmp_path: Path) -> None:
    path = tmp_path / "memory.embmem"
    with RecordStore(path) as store:
        store.write_all(batch(1, 5))
        process = multiprocessing.get_context("fork").Process(target=_use_in_fork, args=(store, path))
        process.start()
        process.join(30.0)
        assert process.exitcode == 0
        assert store.write_all(batch(6, 5)) == [6, 7, 8, 9, 10]
        with pytest.raises(StoreBusyError):  # the child's end did not give the lock back
            RecordStore(path)
    assert survivors(path) == set(range(1, 11))


def _use_in_fork(store: RecordStore, path: Path) -> None:
    for use in (lambda: store.write(note()), lambda: len(store), store.flush):
        try:
            use()
        except StoreError as error:
            if "fork" not in str(error):
                os._exit(2)
        else:
            os._exit(3)
    store.close()
    with RecordStore(path, read_only=True) as reader:
        os._exit(0 if len(reader) == 5 else 4)


def test_the_log_stays_short_while_a_reader_holds_an_old_state_and_shrinks_after(tmp_path: Path) -> None:
    path, log = tmp_path / "memory.embmem", tmp_path / "memory.embmem-wal"
    with RecordStore(path, max_delay=0.0) as store:
        store.write_all(batch(1, 10))
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            assert reader.execute("SELECT count(*) FROM records").fetchone() == (10,)
            for _ in range(60):
                store.write_all([Record(kind="note", t_event=1.0, source="test", blob=bytes(100_000))])
            held = log.stat().st_size
            assert reader.execute("SELECT count(*) FROM records").fetchone() == (10,)
            reader.execute("COMMIT")
        for _ in range(60):
            store.write_all([Record(kind="note", t_event=1.0, source="test", blob=bytes(100_000))])
        assert log.stat().st_size <= 1.2 * held  # it is used again from its beginning
    assert not log.exists()


def test_readers_that_never_pause_do_not_let_the_log_grow_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two readers take turns, so that there is no moment at which none of them needs the log."""
    monkeypatch.setattr(short_log, "LONG", 2 << 20)
    monkeypatch.setattr(short_log, "TOO_LONG", 6 << 20)
    path, log, stop = tmp_path / "memory.embmem", tmp_path / "memory.embmem-wal", threading.Event()
    blobs = [Record(kind="note", t_event=1.0, source="test", blob=bytes(50_000))] * 4

    def read(offset: float) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            stop.wait(offset)
            while not stop.is_set():
                reader.execute("BEGIN")
                reader.execute("SELECT count(*) FROM records").fetchone()
                stop.wait(0.3)
                reader.execute("COMMIT")

    with RecordStore(path, max_delay=0.0) as store:
        store.write_all(blobs)
        threads = [threading.Thread(target=read, args=(offset,)) for offset in (0.0, 0.15)]
        for thread in threads:
            thread.start()
        largest = 0
        try:
            for _ in range(60):  # 12 MB
                store.write_all(blobs)
                largest = max(largest, log.stat().st_size)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert largest < 9 << 20
