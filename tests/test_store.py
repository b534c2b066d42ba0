"""The record store holds the contract, in RAM and in a file, and survives reopening."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from embmem.protocols import Store
from embmem.records import Query, Record
from embmem.store import RecordStore
from embmem.testing import StoreContract


class TestInRam(StoreContract):
    @pytest.fixture
    def make_store(self) -> Callable[[], Store]:
        return RecordStore


class TestInAFile(StoreContract):
    @pytest.fixture
    def make_store(self, tmp_path: Path) -> Callable[[], Store]:
        numbers = itertools.count()
        return lambda: RecordStore(tmp_path / f"{next(numbers)}.db")


def test_a_file_reopens_with_its_records(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "log.db", clock=lambda: 7.0)
    store.write(Record(kind="note", t_event=1.0, source="test", text="hello"))
    store.close()
    reopened = RecordStore(tmp_path / "log.db")
    (record,) = reopened.read(Query())
    assert (record.text, record.t_ingest) == ("hello", 7.0)
    assert reopened.write(Record(kind="note", t_event=2.0, source="test")).wait() == 2
    reopened.close()


def test_a_batch_with_one_bad_record_is_refused_whole() -> None:
    store = RecordStore()
    good = Record(kind="note", t_event=1.0, source="test")
    with pytest.raises(ValueError, match="finite"):
        store.write_all([good, Record(kind="note", t_event=float("inf"), source="test")])
    assert len(store) == 0


def test_writing_after_close_is_an_error() -> None:
    store = RecordStore()
    store.close()
    with pytest.raises(Exception, match="closed"):
        store.write(Record(kind="note", t_event=1.0, source="test"))
