"""Keeping the write-ahead log short beside readers that never pause.

SQLite writes the log anew from its beginning only when no reader needs any of it, which beside busy readers may never
be the case of itself: in ten minutes with four of them the log grew to 4.8 GB. So when it is long, the writer makes a
pause in which the readers move on to the file; they never wait for it. A reader that keeps one state for longer than
the pause lets the log grow until it is done.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from contextlib import AbstractContextManager
from pathlib import Path

from embmem.store.schema import Connection

LONG = 32 << 20  # bytes of the log at which a short pause is made, and again whenever it has grown by as much
TOO_LONG = 192 << 20  # bytes at which the pause may be a long one
PAUSES = 0.2, 10.0  # [s] at most
TRY = 50  # [ms]; SQLite waits for one reader after the other, and would wait for one that has long moved on
USUAL_TIMEOUT = 10_000  # [ms] of the connection


class ShortLog:
    """Called after every commit by the thread that commits.

    Args:
        db: the connection that writes.
        lock: held while that is used.
        path: of the memory.
    """

    def __init__(self, db: Connection, lock: AbstractContextManager[object], path: Path) -> None:
        self._db = db
        self._lock = lock
        self._log = path.with_name(path.name + "-wal")
        self._next = LONG

    def __call__(self) -> None:
        """Begin the log anew if it is long and no reader stands in the way for the length of a pause."""
        try:
            size = self._log.stat().st_size
        except OSError:
            return
        if size < self._next:
            return
        with self._lock, contextlib.suppress(sqlite3.Error):  # what cannot be done now is done later
            try:
                self._db.execute(f"PRAGMA busy_timeout = {TRY}").fetchall()
                end = time.monotonic() + PAUSES[size >= TOO_LONG]
                is_held = True
                while is_held and time.monotonic() < end:
                    is_held = bool(self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])
                    time.sleep(0.005 * is_held)
                self._next = size + LONG if is_held else LONG
            finally:
                self._db.execute(f"PRAGMA busy_timeout = {USUAL_TIMEOUT}").fetchall()
