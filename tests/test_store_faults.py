"""Power cuts and a disk that says no: what was acknowledged is there, what was not is told, the store goes on."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from pathlib import Path

import apsw
import numpy as np
import pytest
from faulty_files import Event, FailAfter, FileLayer
from power_cuts import cuts, write_down
from survival import batch, survivors

from embmem.errors import InputError, StoreError
from embmem.records import Record
from embmem.store import RecordStore
from embmem.store.maintenance import backup
from embmem.store.writer import CommitTicket

IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> list[Event]:
    return write_down(tmp_path_factory.mktemp("run"), n_batches=15, seed=0)


def test_no_power_cut_loses_what_was_acknowledged(run: list[Event]) -> None:
    assert list(cuts(run, 120, seed=1)) == []


def test_the_model_of_a_disk_finds_a_sync_that_was_left_out(run: list[Event]) -> None:
    without = [e for e in run if not (e.what == "sync" and e.name.endswith("-wal"))]
    assert any("acknowledged" in problem for problem in cuts(without, 60, seed=2))
    without = [e for e in run if not (e.what == "sync" and e.name.endswith(".embmem"))]
    assert list(cuts(without, 60, seed=3))
    without = [e for e in run if e.what != "sync folder"]
    assert list(cuts(without, 60, seed=4))


@pytest.mark.parametrize("error", [apsw.FullError, apsw.IOError])
@pytest.mark.parametrize("on", ["write", "sync"])
@pytest.mark.parametrize("n", [0, 3, 8])
def test_a_batch_that_fails_is_told_and_later_ones_succeed(
    tmp_path: Path, error: type[Exception], on: str, n: int
) -> None:
    layer = FileLayer(keeps_events=False)
    path, next_id = tmp_path / "faulty.embmem", 1
    acknowledged: set[int] = set()
    failed: set[int] = set()
    with RecordStore(path, connect=layer.connect, max_delay=0.0) as store:
        layer.fails = FailAfter(n, error, on=(on,), times=2)
        for size in (3, 1, 8, 2, 5, 1, 1, 4, 2, 2, 2, 2, 2):
            rows = batch(next_id, size)
            try:
                acknowledged.update(store.write_all(rows))
            except StoreError:
                failed.update(range(next_id, next_id + size))
            next_id += size
        layer.fails = lambda what: None
        assert failed
        assert len(acknowledged) + len(failed) == next_id - 1
        assert {r.id for r in store.get(range(1, next_id))} == acknowledged
    assert survivors(path) == acknowledged


def test_tickets_of_a_failed_batch_fail_and_only_they(tmp_path: Path) -> None:
    layer = FileLayer(keeps_events=False)
    with RecordStore(tmp_path / "faulty.embmem", connect=layer.connect, max_delay=60.0) as store:
        before = [store.write(r) for r in batch(1, 3)]
        store.flush()
        layer.fails = FailAfter(0, apsw.FullError)
        during = [store.write(r) for r in batch(4, 3)]
        store.flush()
        after = [store.write(r) for r in batch(7, 3)]
        store.flush()
        assert [t.is_acknowledged for t in (*before, *during, *after)] == [True] * 3 + [False] * 3 + [True] * 3
        with pytest.raises(StoreError, match="record 4 could not be written"):
            during[0].wait()
    assert survivors(tmp_path / "faulty.embmem") == {1, 2, 3, 7, 8, 9}


def test_a_full_disk_for_long_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """Any operation may fail for a while, also while the log is moved into the file."""
    rng = np.random.default_rng(0)
    layer = FileLayer(keeps_events=False, checkpoint_after=20)
    path, acknowledged, next_id = tmp_path / "faulty.embmem", set(), 1

    def fails(what: str) -> Exception | None:
        is_bad = what in ("write", "sync", "truncate") and rng.random() < 0.02
        return [apsw.FullError, apsw.IOError][rng.integers(2)]("no") if is_bad else None

    with RecordStore(path, connect=layer.connect, max_delay=0.0) as store:
        layer.fails = fails
        for _ in range(60):
            size = int(rng.integers(1, 6))
            with contextlib.suppress(StoreError):
                acknowledged.update(store.write_all(batch(next_id, size)))
            next_id += size
        layer.fails = lambda what: None
    assert 10 < len(acknowledged) < next_id - 1
    assert survivors(path) == acknowledged


def test_a_failed_batch_that_reached_the_log_may_appear_after_a_crash_but_whole(tmp_path: Path) -> None:
    """A sync that fails leaves it open what is on the disk: the writer is told no, the reader may find it later."""
    layer = FileLayer()
    path = tmp_path / "faulty.embmem"
    store = RecordStore(path, connect=layer.connect, max_delay=0.0)
    store.write_all(batch(1, 4))
    layer.fails = FailAfter(0, apsw.IOError, on=("sync",))
    with pytest.raises(StoreError):
        store.write_all(batch(5, 4))
    crashed = tmp_path / "crashed.embmem"
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{crashed}{suffix}")
    store.close()
    assert survivors(crashed) in ({1, 2, 3, 4}, set(range(1, 9)))
    assert survivors(path) == {1, 2, 3, 4}


def test_changes_of_derived_state_are_whole_or_not_at_all(tmp_path: Path) -> None:
    layer = FileLayer(keeps_events=False)
    with RecordStore(tmp_path / "faulty.embmem", connect=layer.connect) as store:
        store.write_all(batch(1, 5))
        layer.fails = FailAfter(2, apsw.FullError)
        with pytest.raises(StoreError, match="cannot be written"):
            _empty(store)
        layer.fails = lambda what: None
        assert len(store) == 5
        store.write_all(batch(6, 2))
    assert survivors(tmp_path / "faulty.embmem") == set(range(1, 8))


def _empty(store: RecordStore) -> None:
    with store.changing() as db:
        db.execute("DELETE FROM places")
        db.execute("DELETE FROM records")


def test_a_backup_on_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    layer = FileLayer(keeps_events=False)
    with RecordStore(tmp_path / "faulty.embmem", connect=layer.connect) as store:
        store.write_all(batch(1, 50))
        store.flush()
        layer.fails = FailAfter(1, apsw.FullError, times=1000)
        with pytest.raises(StoreError):
            backup(store, tmp_path / "copy.embmem")
        layer.fails = lambda what: None
        assert sorted(p.name for p in tmp_path.glob("copy*")) == []
        backup(store, tmp_path / "copy.embmem")
    assert survivors(tmp_path / "copy.embmem") == set(range(1, 51))


@pytest.mark.skipif(IS_ROOT, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    path = tmp_path / "shut" / "memory.embmem"
    path.parent.mkdir()
    with RecordStore(path) as store:
        store.write_all(batch(1, 3))
    (path.parent / "memory.embmem.lock").unlink()
    path.parent.chmod(0o500)
    try:
        with pytest.raises(StoreError, match=r"memory\.embmem"):
            RecordStore(path)
        with RecordStore(path, read_only=True) as store:
            assert len(store) == 3
        with pytest.raises(StoreError):
            RecordStore(path.parent / "new.embmem")
    finally:
        path.parent.chmod(0o700)


def test_a_disk_that_is_read_only_is_an_error_with_a_name(tmp_path: Path) -> None:
    layer = FileLayer(fails=lambda what: apsw.ReadOnlyError("read-only") if what in ("write", "create") else None)
    with pytest.raises((StoreError, InputError), match=r"faulty\.embmem"):
        RecordStore(tmp_path / "faulty.embmem", connect=layer.connect)
    layer.fails = lambda what: None
    with RecordStore(tmp_path / "faulty.embmem", connect=layer.connect) as store:  # the lock was released
        store.write_all(batch(1, 2))
    assert survivors(tmp_path / "faulty.embmem") == {1, 2}


def test_many_threads_write_and_each_finds_its_own(tmp_path: Path) -> None:
    found: dict[int, str] = {}
    with RecordStore(tmp_path / "memory.embmem", max_delay=0.001) as store:

        def write(number: int) -> None:
            for i in range(40):
                text = f"thread {number} says {i}"
                ticket = store.write(Record(kind="note", t_event=1.0, source="test", text=text))
                found[ticket.wait(60.0)] = text
                assert store.get([ticket.id])[0].text == text

        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {r.id: r.text for r in store.get(range(1, 400))} == found
        assert len(found) == 320


def test_closing_while_others_write_acknowledges_or_refuses_everything(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "memory.embmem", max_delay=0.001)
    tickets: list[CommitTicket] = []

    def write() -> None:
        with contextlib.suppress(StoreError):
            while True:
                tickets.append(store.write(Record(kind="note", t_event=1.0, source="test")))

    thread = threading.Thread(target=write)
    thread.start()
    while len(tickets) < 200:
        pass
    store.close()
    thread.join()
    assert all(ticket.is_acknowledged for ticket in tickets)
    with RecordStore(tmp_path / "memory.embmem") as again:
        assert len(again) == len(tickets)
