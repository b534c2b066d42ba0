"""Answers of a language model on disk, so that the same run asks nothing twice and can be repeated without a model."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import weakref
from pathlib import Path
from typing import Any

from embmem.errors import FileVersionError, InputError, StoreError

VERSION = 1
_ID = 0x656D6C63  # "emlc", SQLite's application id
_BUSY = 10.0  # [s] that another process may hold the file


def request_key(request: dict[str, Any]) -> str:
    """The hash of a whole request: endpoint, model, messages, schema and settings."""
    text = json.dumps(request, sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


class ResponseCache:
    """Answers by request in one SQLite file that several processes may share; the oldest go first.

    Args:
        path: of the file, created if missing.
        max_entries: that are kept.

    Raises:
        InputError: if the file is no cache, or its folder is missing.
        FileVersionError: if a newer embmem wrote it.
    """

    def __init__(self, path: str | Path, *, max_entries: int = 100_000) -> None:
        if max_entries < 1:
            raise ValueError(f"a cache needs room for an answer, got max_entries={max_entries}")
        self.path, self.max_entries = Path(path), max_entries
        self._lock = threading.Lock()
        if not self.path.parent.is_dir():
            raise InputError(f"{self.path.parent} is not a folder; create it first")
        try:
            self._db = sqlite3.connect(self.path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
            self.close = weakref.finalize(self, self._db.close)  # releases the file
            if self._is_new("BEGIN"):
                self._create()
        except sqlite3.OperationalError as error:
            raise InputError(f"{self.path} cannot be opened: {error}") from error
        except sqlite3.DatabaseError as error:
            raise InputError(f"{self.path} is not a cache of answers: {error}") from error

    def _is_new(self, begin: str) -> bool:
        """Whether the file is empty yet, in a transaction: whoever comes second sees the whole file or none of it."""
        self._db.execute(begin)
        pragmas = [self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
        is_new = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if is_new and begin != "BEGIN":
            return True
        self._db.execute("COMMIT")
        if not is_new and pragmas[0] != _ID:
            raise InputError(f"{self.path} is a database of somebody else")
        if not is_new and pragmas[1] != VERSION:
            raise FileVersionError(f"{self.path} has version {pragmas[1]}, this embmem reads {VERSION}")
        return is_new

    def _create(self) -> None:
        """Make the file a cache, unless another process has just done so."""
        if self._is_new("BEGIN IMMEDIATE"):
            self._db.execute(f"PRAGMA application_id = {_ID}")
            self._db.execute(f"PRAGMA user_version = {VERSION}")
            self._db.execute("CREATE TABLE answers (number INTEGER PRIMARY KEY, key TEXT UNIQUE, answer TEXT)")
            self._db.execute("COMMIT")

    def get(self, key: str) -> dict[str, Any] | None:
        """The answer, or None; an entry that is damaged counts as none."""
        with self._lock:
            try:
                row = self._db.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
            except sqlite3.Error as error:
                raise StoreError(f"{self.path} cannot be read: {error}") from error
        try:
            answer = None if row is None else json.loads(row[0])
        except (ValueError, TypeError, RecursionError):
            return None
        return answer if isinstance(answer, dict) else None

    def put(self, key: str, answer: dict[str, Any]) -> None:
        """Keep an answer; the first one stays if there is one already."""
        text = json.dumps(answer, ensure_ascii=True)
        with self._lock:
            try:
                self._db.execute("INSERT OR IGNORE INTO answers (key, answer) VALUES (?, ?)", (key, text))
                oldest = "SELECT number FROM answers ORDER BY number DESC LIMIT 1 OFFSET ?"
                self._db.execute(f"DELETE FROM answers WHERE number <= ({oldest})", (self.max_entries,))
            except sqlite3.Error as error:
                raise StoreError(f"{self.path} cannot be written: {error}") from error

    def __len__(self) -> int:
        with self._lock:
            return int(self._db.execute("SELECT count(*) FROM answers").fetchone()[0])
