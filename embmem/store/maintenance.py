"""Backup while a writer goes on, compaction, and putting one memory file in the place of another."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from embmem.errors import InputError, StoreError
from embmem.output import new_file, sync
from embmem.store.lock import lock_for_writing
from embmem.store.sqlite import RecordStore


class Compaction(NamedTuple):
    """What a compaction did."""

    bytes_before: int  # of the file and its write-ahead log
    bytes_after: int


def backup(source: RecordStore | str | Path, to: Path, *, overwrite: bool = False) -> int:
    """Copy all that is acknowledged to a new memory file, one state of it, while others write; returns its bytes.

    Nobody waits: the copy is made inside one read transaction. It appears whole, when it is safe on the disk.

    Raises:
        OutputExistsError: if `to` exists and `overwrite` is not set.
        InputError: if the source is no memory file, or the folder of `to` does not exist.
        StoreError: if the source cannot be read, or the copy cannot be written.
    """
    if not isinstance(source, RecordStore):
        with RecordStore(source, read_only=True) as store:
            return backup(store, to, overwrite=overwrite)
    if source.path is not None and to.exists() and to.samefile(source.path):
        raise InputError(f"{to} is the memory itself; a backup needs another name")
    with replacing(to, overwrite=overwrite) as part:
        source.copy_to(part)
    return to.stat().st_size


def compact(path: Path) -> Compaction:
    """Give back the space of what was removed and merge the text index; nobody may write meanwhile.

    Raises:
        InputError: if it is no memory file, or a damaged one.
        StoreBusyError: if somebody writes to it.
        StoreError: if it cannot be written, e.g. for want of space: the file's size is needed once more for a while.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file")
    before = _size(path)
    with RecordStore(path) as store:  # brings an older version up to date, refuses a damaged file
        with store.changing() as db:
            db.execute("INSERT INTO texts(texts) VALUES ('optimize')")
        store.rewrite()
    return Compaction(before, _size(path))


@contextlib.contextmanager
def replacing(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A name to write a memory file under, which takes the place of `path` when the block ends well.

    Raises:
        OutputExistsError: if `path` exists and `overwrite` is not set, or is no file.
        InputError: if the folder does not exist.
        StoreBusyError: if somebody writes to the memory at `path`.
    """
    with contextlib.ExitStack() as held:
        part = held.enter_context(new_file(path, overwrite=overwrite))
        if path.with_name(path.name + ".lock").exists():  # else nobody ever opened it for writing
            held.enter_context(_lock(path))
        _remove_beside(part)  # a journal that a crash left would be rolled back into the new file
        try:
            yield part
        finally:
            _remove_beside(part)
        _absorb_log(path)


def _remove_beside(part: Path) -> None:
    for suffix in ("-wal", "-shm", "-journal", ".lock"):
        part.with_name(part.name + suffix).unlink(missing_ok=True)


def _absorb_log(path: Path) -> None:
    """Move a write-ahead log that a crash left into its file: SQLite would take it for one of the next file there."""
    log = path.with_name(path.name + "-wal")
    if not log.exists():
        return
    with contextlib.suppress(sqlite3.DatabaseError), _connected(path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for name in (log, path.with_name(path.name + "-shm")):
        name.unlink(missing_ok=True)  # a damaged file keeps its log, which means nothing to the next one
    sync(path.parent)


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    lock = lock_for_writing(path)
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=10.0)) as db:
            db.execute("PRAGMA trusted_schema = OFF")
            yield db
    except sqlite3.OperationalError as error:
        raise StoreError(f"{path} cannot be written: {error}") from error


def _size(path: Path) -> int:
    files = (path, path.with_name(path.name + "-wal"))
    return sum(file.stat().st_size for file in files if file.exists())
