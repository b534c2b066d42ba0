"""sqlite3 files of bags whose recorder died: messages in a write-ahead log that was left, and tables that were cut.

The file and its log are read where they lie and as they lie: nothing is written beside them (apsw, `unix-none`).
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

from embmem.errors import InputError, import_extra
from embmem.recordings.mcap_recovery import Connection

_VFS = "embmem-whole-pages"
_HEADER = 100  # [byte], of a database
_ROW_BYTES = 4  # no row is smaller; a damaged tree can give one row for ever
_FARTHEST = 1 << 24  # rows that a gap may hold
_VIEWS = "SELECT count(*) FROM sqlite_master WHERE type = 'view' AND lower(name) IN ('topics', 'messages')"
_ROWS = "SELECT id, topic_id, timestamp, data FROM messages NOT INDEXED WHERE id >= ? ORDER BY id"


def has_log(path: Path) -> bool:
    """Whether a write-ahead log lies beside the file: messages that a reader of the file alone misses."""
    log = path.with_name(path.name + "-wal")
    return log.is_file() and log.stat().st_size > 0


def check_tables(path: Path) -> None:
    """Refuse a file of a stranger whose messages are computed when they are asked for; damage is not looked for.

    Raises:
        InputError: if topics or messages are a view.
    """
    what = f"{path.absolute().as_uri()}?immutable=1"
    unreadable = (sqlite3.Error, UnicodeDecodeError)  # what a damaged name makes of the message of an error
    with suppress(*unreadable), closing(sqlite3.connect(what, uri=True)) as db:
        _refuse_views(path, db.execute(_VIEWS).fetchone()[0])


def _refuse_views(path: Path, n_views: int) -> None:
    if n_views:
        raise InputError(f"{path}: topics or messages are a view, whose rows may have no end")


@cache
def _whole_pages() -> Any:
    """The file layer `_VFS`, which hides half a page at the end: SQLite would take what is missing of it for zeros."""
    apsw = import_extra("apsw", "ros")
    base = "unix-none" if "unix-none" in apsw.vfs_names() else ""

    class WholePages(apsw.VFSFile):  # type: ignore[misc, name-defined]
        def __init__(self, name: Any, flags: list[int]) -> None:
            super().__init__(base, name, flags)
            self._is_database = bool(flags[0] & apsw.SQLITE_OPEN_MAIN_DB)

        def xFileSize(self) -> int:
            size = int(super().xFileSize())
            if not self._is_database or size < _HEADER:
                return size
            page = int.from_bytes(self.xRead(2, 16), "big")
            return size - size % (65536 if page == 1 else max(page, 512))

    class Layer(apsw.VFS):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__(_VFS, base)

        def xOpen(self, name: Any, flags: list[int]) -> WholePages:
            return WholePages(name, flags)

    return Layer()


class RecoveredSqlite:
    """What is left of a file, with the face of a reader of rosbags: `connections`, `messages`, a context."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._database: Any = None
        self._topics: dict[int, tuple[str, str]] = {}
        self._rows: list[tuple[int, int, int]] = []  # timestamp [ns], id, topic
        self._n_gaps = 0
        self._is_known = False

    def __enter__(self) -> RecoveredSqlite:
        """Read every message once.

        Raises:
            InputError: if there is no table of topics or of messages left.
        """
        apsw = import_extra("apsw", "ros")
        _whole_pages()
        try:
            self._database = apsw.Connection(
                f"{self.path.absolute().as_uri()}?mode=ro",
                flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI,
                vfs=_VFS,
            )
            self._database.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            self._database.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
            for setting in ("locking_mode=EXCLUSIVE", "writable_schema=ON", "cell_size_check=ON"):
                self._database.execute(f"PRAGMA {setting}").fetchall()
            if not self._is_known:
                self._learn(apsw.Error)
        except InputError:
            self.__exit__(None, None, None)
            raise
        except (apsw.Error, UnicodeDecodeError) as error:
            self.__exit__(None, None, None)
            raise InputError(f"{self.path}: {' '.join(str(error).split())}") from None
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if self._database is not None:
            self._database.close(True)
        self._database = None

    @property
    def connections(self) -> list[Connection]:
        """The topics in the order of their numbers."""
        counts = Counter(topic for _, _, topic in self._rows)
        return [Connection(i, name, kind, counts[i]) for i, (name, kind) in sorted(self._topics.items())]

    def describe(self) -> str:
        """What could be saved, in words."""
        log = " with the log that its recorder left (-wal)" if has_log(self.path) else ""
        gaps = "; the file was cut or is damaged" if self._n_gaps else ""
        return f"{self.path.name}: {len(self._rows):,} messages saved{log}{gaps}"

    def messages(self, connections: Collection[Any]) -> Iterator[tuple[Any, int, bytes]]:
        """(connection, stamp [ns], data) in the order of the stamps."""
        wanted = {connection.id: connection for connection in connections}
        for stamp, number, topic in self._rows:
            if topic in wanted:
                rows = self._database.execute("SELECT data FROM messages NOT INDEXED WHERE id=?", (number,))
                yield wanted[topic], stamp, bytes(next(rows)[0])

    def _learn(self, error: type[Exception]) -> None:
        _refuse_views(self.path, self._database.execute(_VIEWS).fetchone()[0])
        for number, name, kind in self._database.execute("SELECT id, name, type FROM topics"):
            if isinstance(number, int) and isinstance(name, str) and isinstance(kind, str):
                self._topics[number] = name, kind
        self._database.execute("SELECT id, topic_id, timestamp, data FROM messages LIMIT 0").fetchall()
        log = self.path.with_name(self.path.name + "-wal")
        size = self.path.stat().st_size + (log.stat().st_size if has_log(self.path) else 0)
        last, step = -1 << 62, 1
        while step < _FARTHEST and len(self._rows) <= size // _ROW_BYTES:
            n_before = len(self._rows)
            try:
                for row in self._database.execute(_ROWS, (last + step,)):
                    if row[0] < last + step:
                        break  # a damaged tree goes in circles
                    last, step = row[0], 1
                    self._take(row)
                else:
                    break
            except error:  # a page that is missing or damaged
                pass
            self._n_gaps += step == 1 or len(self._rows) > n_before
            step *= 2  # go on behind it
        self._rows.sort()
        self._is_known = True

    def _take(self, row: tuple[Any, ...]) -> None:
        number, topic, stamp, data = row
        if isinstance(topic, int) and topic in self._topics and isinstance(stamp, int) and isinstance(data, bytes):
            self._rows.append((stamp, number, topic))
