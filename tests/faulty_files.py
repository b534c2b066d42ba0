"""A file layer under SQLite that fails, and one that writes down what a disk is told, so that power cuts can be tried.

The model of a disk: what was synced is there after a power cut. Of what was written since, any sectors may be there,
in any order; a file may have grown without its content; a name that was made, moved or removed since its folder was
synced may or may not be. SQLite syncs the folder when it first syncs a journal or a write-ahead log (os_unix.c).
"""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import numpy as np

SECTOR = 512
_NUMBERS = itertools.count()
_SYNCS_FOLDER = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL
_ERRORS: tuple[tuple[type[Exception], type[Exception]], ...] = (
    (apsw.ConstraintError, sqlite3.IntegrityError),
    (apsw.CorruptError, sqlite3.DatabaseError),
    (apsw.NotADBError, sqlite3.DatabaseError),
    (apsw.Error, sqlite3.OperationalError),
)


@contextlib.contextmanager
def _as_sqlite3_errors() -> Iterator[None]:
    try:
        yield
    except apsw.Error as error:
        kind = next(ours for theirs, ours in _ERRORS if isinstance(error, theirs))
        raise kind(str(error)) from error


class Cursor:
    """The part of `sqlite3.Cursor` that the store uses."""

    def __init__(self, cursor: apsw.Cursor) -> None:
        self._cursor = cursor

    def __iter__(self) -> Iterator[Any]:
        with _as_sqlite3_errors():
            yield from self._cursor

    def fetchone(self) -> Any:
        with _as_sqlite3_errors():
            return self._cursor.fetchone()

    def fetchall(self) -> list[Any]:
        with _as_sqlite3_errors():
            return self._cursor.fetchall()


class FaultyConnection:
    """`embmem.store.schema.Connection` over a file layer of our own.

    SQLite says nothing where it fails to move its log into the file after a commit or at the end, as it can do that
    later; apsw would raise what the file layer raised. So the first is done here, and the second is passed over.
    """

    def __init__(self, path: Path, vfs: str, checkpoint_after: int = 1000) -> None:
        with _as_sqlite3_errors():
            self._db = apsw.Connection(str(path), vfs=vfs)
        self._db.set_busy_timeout(10_000)
        self._checkpoint_after = checkpoint_after  # pages
        self._db.set_wal_hook(self._after_commit)

    def _after_commit(self, db: apsw.Connection, name: str, n_pages: int) -> int:
        if n_pages >= self._checkpoint_after:
            with contextlib.suppress(apsw.Error):
                db.wal_checkpoint(name)
        return apsw.SQLITE_OK

    def execute(self, sql: str, parameters: Any = (), /) -> Cursor:
        with _as_sqlite3_errors():
            return Cursor(self._db.execute(sql, parameters))

    def executemany(self, sql: str, parameters: Any, /) -> Cursor:
        with _as_sqlite3_errors():
            return Cursor(self._db.executemany(sql, parameters))

    def close(self) -> None:
        with contextlib.suppress(apsw.IOError, apsw.FullError):
            self._db.close()


@dataclass(frozen=True)
class Event:
    """What the disk was told. `what`: create, write, truncate, sync, delete, sync folder, or acknowledged."""

    what: str
    name: str = ""
    offset: int = 0
    data: bytes = b""


@dataclass
class FileLayer:
    """A file layer that passes everything on, writes down what changes files, and fails when it is told to.

    `fails` is asked before every write, sync and truncation, with what it is ("write", ...), and returns the error to
    raise or None.
    """

    fails: Callable[[str], Exception | None] = lambda what: None
    events: list[Event] = field(default_factory=list)
    keeps_events: bool = True
    checkpoint_after: int = 1000  # pages, SQLite's default

    def __post_init__(self) -> None:
        self.name = f"faulty-{next(_NUMBERS)}"
        self._vfs = _Vfs(self)

    def connect(self, path: Path) -> FaultyConnection:
        """For `RecordStore(connect=...)`."""
        return FaultyConnection(path, self.name, self.checkpoint_after)

    def tell(self, event: Event) -> None:
        """Note what happens, or refuse it."""
        error = self.fails(event.what)
        if error is not None:
            raise error
        if self.keeps_events:
            self.events.append(event)


class _Vfs(apsw.VFS):
    def __init__(self, layer: FileLayer) -> None:
        self._layer = layer
        super().__init__(layer.name, "")

    def xOpen(self, name: Any, flags: list[int]) -> _File:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        return _File(self._layer, name, path, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self._layer.tell(Event("delete", Path(filename).name))
        super().xDelete(filename, syncdir)
        if syncdir:
            self._layer.tell(Event("sync folder"))


class _File(apsw.VFSFile):
    def __init__(self, layer: FileLayer, name: Any, path: str | None, flags: list[int]) -> None:
        self._layer = layer
        self._name = Path(path).name if path else "unnamed"
        is_new = path is not None and not Path(path).exists()
        super().__init__("", name, flags)
        self._is_folder_dirty = is_new and bool(flags[0] & _SYNCS_FOLDER)
        if is_new and flags[0] & apsw.SQLITE_OPEN_CREATE:
            layer.tell(Event("create", self._name))

    def xWrite(self, data: Any, offset: int) -> None:
        self._layer.tell(Event("write", self._name, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:
        self._layer.tell(Event("truncate", self._name, size))
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:
        self._layer.tell(Event("sync", self._name))
        super().xSync(flags)
        if self._is_folder_dirty:
            self._layer.tell(Event("sync folder"))
            self._is_folder_dirty = False


class FailAfter:
    """Says no from the `n`th matching operation on, for `times` operations; then all is well again."""

    def __init__(self, n: int, error: type[Exception], *, on: tuple[str, ...] = ("write",), times: int = 1) -> None:
        self._left, self._times, self._error, self._on = n, times, error, on
        self._lock = threading.Lock()
        self.n_failed = 0

    def __call__(self, what: str) -> Exception | None:
        with self._lock:
            if what not in self._on or self.n_failed >= self._times:
                return None
            self._left -= 1
            if self._left >= 0:
                return None
            self.n_failed += 1
            return self._error(f"{what} failed as it was told to")


@dataclass
class _Inode:
    synced: bytearray = field(default_factory=bytearray)
    since: list[Event] = field(default_factory=list)  # writes and truncations since the last sync

    def sync(self) -> None:
        self.synced = _apply(self.synced, self.since)
        self.since = []

    def survive(self, rng: np.random.Generator) -> bytes:
        """What is there after a power cut."""
        style = rng.integers(4)
        if style == 0:
            return bytes(self.synced)
        if style == 1:
            return bytes(_apply(self.synced, self.since))
        if style == 2:  # in order, torn
            kept = self.since[: rng.integers(len(self.since) + 1)]
            if kept and kept[-1].what == "write":
                last = kept[-1]
                kept[-1] = Event("write", last.name, last.offset, last.data[: SECTOR * rng.integers(9)])
            return bytes(_apply(self.synced, kept))
        share = rng.random()
        sectors = [part for event in self.since for part in _sectors(event) if rng.random() < share]
        content = _apply(self.synced, [sectors[i] for i in _order(sectors, rng)])
        if rng.random() < 0.3:  # the file has grown, its content has not arrived
            grown = max((e.offset + len(e.data) for e in self.since if e.what == "write"), default=0)
            content.extend(rng.bytes(max(0, grown - len(content))))
        return bytes(content)


def _apply(content: bytearray, events: list[Event]) -> bytearray:
    content = bytearray(content)
    for event in events:
        if event.what == "truncate":
            del content[event.offset :]
        else:
            if len(content) < event.offset:
                content.extend(bytes(event.offset - len(content)))
            content[event.offset : event.offset + len(event.data)] = event.data
    return content


def _sectors(event: Event) -> list[Event]:
    if event.what == "truncate":
        return [event]
    first = -event.offset % SECTOR or SECTOR
    cuts = [0, *range(first, len(event.data), SECTOR), len(event.data)]
    return [
        Event("write", event.name, event.offset + low, event.data[low:high])
        for low, high in itertools.pairwise(cuts)
        if high > low
    ]


def _order(sectors: list[Event], rng: np.random.Generator) -> list[int]:
    """Any order of different sectors; writes to the same one stay in theirs, as a disk's cache keeps the last."""
    rank: dict[int, float] = {}
    return sorted(range(len(sectors)), key=lambda i: (rank.setdefault(sectors[i].offset // SECTOR, rng.random()), i))


class Disk:
    """Files as a disk knows them while it is told events, and as they are after a power cut."""

    def __init__(self) -> None:
        self._names: dict[str, _Inode | None] = {}
        self._synced_names: dict[str, _Inode | None] = {}
        self._since: dict[str, list[_Inode | None]] = {}  # what a name stood for since the folder was synced

    def tell(self, event: Event) -> None:
        if event.what == "sync folder":
            self._synced_names, self._since = dict(self._names), {}
        elif event.what in ("create", "delete"):
            self._names[event.name] = _Inode() if event.what == "create" else None
            self._since.setdefault(event.name, []).append(self._names[event.name])
        elif event.what in ("write", "truncate", "sync"):
            inode = self._names.get(event.name)
            if inode is None:
                return
            if event.what == "sync":
                inode.sync()
            else:
                inode.since.append(event)

    def cut(self, folder: Path, rng: np.random.Generator) -> None:
        """Write the files that survive into an empty folder."""
        for name in self._names:
            states = [self._synced_names.get(name), *self._since.get(name, [])]
            inode = states[rng.integers(len(states))]
            if inode is not None:
                (folder / name).write_bytes(inode.survive(rng))
