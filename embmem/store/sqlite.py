"""The record store: append-only, in one SQLite database, in RAM or in a file."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from filelock import FileLock

from embmem.errors import InputError, StoreError
from embmem.protocols import Answer, Ranking
from embmem.records import Query, Record
from embmem.store.hidden import follow
from embmem.store.lock import lock_for_writing
from embmem.store.opening import connect_file, counters, damage_named, open_to_write
from embmem.store.rows import Row, encode, insert, select_records
from embmem.store.schema import VERSION, Connection, check_header, check_size, open_read_only
from embmem.store.short_log import ShortLog
from embmem.store.writer import Batch, CommitTicket, GroupWriter

if TYPE_CHECKING:
    from embmem.search.embeddings import Embeddings

DEFAULT_RANKING = Ranking()
PAGE_CACHE = 32 << 10  # KiB that a reading connection may hold


class RecordStore:
    """Records in SQLite. An acknowledged record survives kill -9 and a power cut.

    A file has one writer, which commits in groups, and any number of readers, in this and in other processes, that
    never block it. What a store object reads includes all that it wrote before.
    """

    def __init__(
        self,
        path: str | Path = ":memory:",
        *,
        clock: Callable[[], float] = time.time,
        read_only: bool = False,
        max_delay: float = 0.02,
        max_batch: int = 1000,
        connect: Callable[[Path], Connection] = connect_file,
        copy_of: sqlite3.Connection | None = None,
    ) -> None:
        """Open a store.

        Args:
            path: a file, created if missing, or ":memory:".
            clock: gives `t_ingest` [s] to records that have none; it is never let run backwards.
            read_only: open a file without the right to write.
            max_delay: [s] that a record waits for others to share its commit; 0 commits at once.
            max_batch: records that are company enough.
            connect: opens the file; another one may bring another file layer.
            copy_of: a memory file that a store in RAM starts from.

        Raises:
            StoreBusyError: if somebody else writes to the file.
            FileVersionError: if it is a database of somebody else, or was written by a newer embmem.
            InputError: if it is missing (read only), damaged, or no database.
        """
        self.path = None if str(path) == ":memory:" else Path(path)
        self.read_only = read_only
        self._clock = clock
        self._connect = connect
        self._write_lock = threading.RLock()  # of the connection that writes; in RAM there is no other
        self._local = threading.local()
        held = _Held()
        self._held = held
        self._release = weakref.finalize(self, held.release)
        try:
            if read_only:
                self._open_to_read()
                return
            if self.path is not None:
                if not self.path.parent.is_dir():
                    raise InputError(f"{self.path.parent} is not a folder; create it first")
                held.file_lock = lock_for_writing(self.path)
                if self.path.is_file():
                    check_size(self.path)
            self._db = open_to_write(str(path), connect, copy_of)
            held.connections.append(self._db)
            with damage_named(str(path)):
                self._dim, self._next_id, self._last_ingest = counters(self._db)
        except BaseException:
            self._release()
            raise
        if self.path is not None:
            commit = partial(_commit, self._db, self._write_lock)
            short_log = ShortLog(self._db, self._write_lock, self.path)
            held.writer = GroupWriter(commit, max_delay=max_delay, max_batch=max_batch, after=short_log)

    @cached_property
    def embeddings(self) -> Embeddings:
        """The vector index, loaded at the first search by embedding."""
        from embmem.search.embeddings import Embeddings

        return Embeddings(self.path)

    @property
    def uuid(self) -> str:
        """Names the memory, whatever its file is called."""
        with self.reading() as db:
            return str(db.execute("SELECT value FROM meta WHERE name = 'uuid'").fetchone()[0])

    @property
    def last_id(self) -> int:
        """The highest id that is in the log, 0 if there is none."""
        with self.reading() as db:
            return int(db.execute("SELECT coalesce(max(id), 0) FROM records").fetchone()[0])

    def write(self, record: Record) -> CommitTicket:
        """Take a record; it is acknowledged when the ticket says so.

        Raises:
            ValueError: if the record is not fit to be stored; the store is as it was.
            StoreError: if the store is closed or read only.
        """
        row = encode(record)
        batch = self._submit([row])
        return CommitTicket(row.id, batch)

    def write_all(self, records: Iterable[Record]) -> list[int]:
        """The ids given to the records, which are all acknowledged when this returns; or none is stored.

        Raises:
            ValueError: if one of them is not fit to be stored.
            StoreError: if they could not be written.
        """
        rows = [encode(record) for record in records]
        if not rows:
            return []
        batch = self._submit(rows)
        self.flush()
        CommitTicket(rows[0].id, batch).wait()
        return [row.id for row in rows]

    def get(self, ids: Sequence[int]) -> list[Record]:
        """The records with these ids, in this order; the ids that are not there are left out."""
        with self.reading() as db:
            return select_records(db, ids)

    def read(self, query: Query) -> list[Record]:
        """At most `query.k` records that match every set field, newest event first; ties newest id first.

        Words of `text` narrow (any of them must be there), `embedding` does not: `search` ranks by both.
        """
        from embmem.search.newest import newest

        with self._snapshot() as db:
            return newest(db, query)

    def search(self, query: Query, ranking: Ranking = DEFAULT_RANKING, *, with_blobs: bool = True) -> Answer:
        """Ranked by `text`, `embedding`, `near` and `linked_to`; newest first if none of them is set.

        Without blobs the records come without their images, which are most of what is read.
        """
        from embmem.search.engine import search

        with self._snapshot() as db:
            return search(db, self.embeddings, query, ranking, with_blobs=with_blobs)

    def copy_to(self, path: Path) -> None:
        """Write all that is acknowledged to a new database file while this one goes on being written.

        Raises:
            StoreError: if it cannot be written; the file may then be there in part.
        """
        with self.reading() as db:
            was_query_only = db.execute("PRAGMA query_only").fetchone()[0]
            db.execute("PRAGMA query_only = OFF")  # it would take the copy for a change of this file
            try:
                db.execute("VACUUM INTO ?", (str(path),))
            finally:
                db.execute(f"PRAGMA query_only = {was_query_only}")

    def flush(self) -> None:
        """Return when all that was written is acknowledged, or has failed."""
        self._refuse_a_fork()
        if self._held.writer is not None:
            self._held.writer.flush()

    def __len__(self) -> int:
        with self.reading() as db:
            return int(db.execute("SELECT count(*) FROM records").fetchone()[0])

    def close(self) -> None:
        """Flush and release the file."""
        self._release()

    def __enter__(self) -> RecordStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one state of the database, with all that this object wrote before.

        Raises:
            StoreError: if the store is closed, or the file cannot be read.
        """
        self.flush()
        with self._write_lock if self.path is None else contextlib.nullcontext():
            db = self._reader()
            try:
                yield db
            except sqlite3.DatabaseError as error:
                raise StoreError(f"{self.path or 'the store in RAM'} cannot be read: {error}") from error

    @contextlib.contextmanager
    def changing(self) -> Iterator[Connection]:
        """The connection that writes, in a transaction of its own: for derived state, and for what removes records.

        Raises:
            StoreError: if the store is closed or read only, or the change cannot be written; nothing has changed then.
        """
        self._refuse_if_closed()
        self.flush()
        with self._write_lock:
            try:
                with _transaction(self._db):
                    yield self._db
            except sqlite3.DatabaseError as error:
                raise StoreError(f"{self.path or 'the store in RAM'} cannot be written: {error}") from error

    def change_and_tell(self, change: Callable[[Connection], Record]) -> int:
        """Change what is stored and write the record that tells of it, in one transaction; returns its id.

        Raises:
            StoreError: if the store is closed or read only, or the change cannot be written; nothing has changed then.
        """
        self._refuse_if_closed()
        writer = self._held.writer
        with contextlib.nullcontext() if writer is None else writer.idle(), self.changing() as db:
            row = encode(change(db))
            self._number([row])
            insert(db, [row])
            follow(db, [row])
        return row.id

    def rewrite(self) -> None:
        """Write the whole file anew, so that nothing of what was removed is left in it or in its write-ahead log.

        Raises:
            StoreError: if it cannot be, for want of space or because a reader holds the log; run it again later.
        """
        self._refuse_if_closed()
        if self.path is None:
            return
        self.flush()
        with self._write_lock:
            try:
                self._db.execute("VACUUM")
                is_held = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            except sqlite3.DatabaseError as error:
                raise StoreError(f"{self.path} cannot be written anew: {error}") from error
        if is_held:
            raise StoreError(f"{self.path} has readers that hold its write-ahead log; close them and do it again")

    @contextlib.contextmanager
    def _snapshot(self) -> Iterator[Connection]:
        """`reading`, with one state of the database for all that is asked inside."""
        with self.reading() as db:
            if self.path is None:  # nobody else writes while the lock is held
                yield db
                return
            db.execute("BEGIN")
            try:
                yield db
            finally:
                db.execute("ROLLBACK")

    def _submit(self, rows: Sequence[Row]) -> Batch:
        """Number the rows and hand them to the writer; in RAM they are written at once."""
        self._refuse_if_closed()
        if self._held.writer is not None:
            return self._held.writer.submit(rows, self._number)
        with self._write_lock:
            self._number(rows)
            _commit(self._db, self._write_lock, rows)
        batch = Batch()
        batch.done.set()
        return batch

    def _number(self, rows: Sequence[Row]) -> None:
        """Give ids and ingest times; called by one thread at a time.

        Raises:
            ValueError: if a row's embedding is of another length than the memory's, or it links to what is not earlier.
        """
        dim, next_id, clock = self._dim, self._next_id, self._last_ingest
        for row in rows:
            if row.vector is not None:
                dim = dim or len(row.vector) // 2
                if len(row.vector) != 2 * dim:
                    raise ValueError(f"this memory has embeddings of {dim} numbers, got {len(row.vector) // 2}")
            for relation, target in row.links:
                if not 1 <= target < next_id:
                    raise ValueError(f"a link ({relation!r}) goes to an earlier record, {target} is none")
            row.id, next_id = next_id, next_id + 1
            if row.t_ingest is None:
                row.t_ingest = clock = max(clock, float(self._clock()))
        self._dim, self._next_id, self._last_ingest = dim, next_id, clock

    def _open_to_read(self) -> None:
        if self.path is None or not self.path.is_file():
            raise InputError(f"{self.path or ':memory:'} is not a file; build a memory first, e.g. with: embmem build")
        with damage_named(str(self.path)):
            check_size(self.path)
            version = check_header(str(self.path), self._reader())
        if version != VERSION:
            raise InputError(f"{self.path} is of version {version}; open it once for writing to bring it up to date")

    def _reader(self) -> Connection:
        """The connection of this thread."""
        self._refuse_if_closed(to_write=False)
        if self.path is None:
            return self._db
        db: Connection | None = getattr(self._local, "db", None)
        if db is None:
            if self.read_only:
                db = open_read_only(self.path)
            else:
                db = self._connect(self.path)
                db.execute("PRAGMA query_only = ON")
            db.execute(f"PRAGMA cache_size = -{PAGE_CACHE}")
            self._local.db = db
            self._held.connections.append(db)
        return db

    def _refuse_a_fork(self) -> None:
        if os.getpid() != self._held.pid:
            raise StoreError(f"the store was opened by process {self._held.pid}, this is a fork of it: open it anew")

    def _refuse_if_closed(self, *, to_write: bool = True) -> None:
        if not self._release.alive:
            raise StoreError("the store is closed")
        self._refuse_a_fork()
        if to_write and self.read_only:
            raise StoreError(f"{self.path} was opened read only")


class _Held:
    """What must be given back, even if the store object is just dropped."""

    def __init__(self) -> None:
        self.writer: GroupWriter | None = None
        self.connections: list[Connection] = []
        self.file_lock: FileLock | None = None
        self.pid = os.getpid()

    def release(self) -> None:
        if os.getpid() != self.pid:  # a fork has a copy of this object; what it stands for is the parent's
            return
        with contextlib.ExitStack() as last:
            if self.file_lock is not None:
                last.callback(self.file_lock.release)
            for db in self.connections:  # the one closed last is the writer's: it moves the log into the file
                last.callback(db.close)
            if self.writer is not None:
                last.callback(self.writer.close)


@contextlib.contextmanager
def _transaction(db: Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # SQLite has rolled back already, as it does on a full disk
            db.execute("ROLLBACK")
        raise


def _commit(db: Connection, lock: AbstractContextManager[object], rows: Sequence[Row]) -> None:
    with lock, _transaction(db):
        insert(db, rows)
        follow(db, rows)
