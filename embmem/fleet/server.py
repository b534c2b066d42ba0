"""Connections to a Postgres server: taken from a few idle ones, opened again when they were lost."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

from embmem.errors import StoreError, import_extra

READ = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"  # all statements see one state
WRITE = "BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE"
CONNECT_TIMEOUT = 10  # [s]
# A server that went away without a word is noticed within about 30 s.
_KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4}


class LostError(StoreError):
    """The server is away.

    What was not acknowledged may have been stored, if the connection broke just while it was committed.
    """


# Acknowledged means on the disk, whatever the server was set to. A robot that vanishes while it writes holds up the
# others for a minute at most. Compiling takes longer than most of our queries, and their plans hang on their values.
_SETTINGS = """SET synchronous_commit = on; SET idle_in_transaction_session_timeout = '60s'; SET jit = off;
    SET plan_cache_mode = force_custom_plan"""
_EXTENSION = """SELECT nspname FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace
    WHERE extname = 'vector'"""


@runtime_checkable
class Database(Protocol):
    """The part of `psycopg.Connection` that the store uses."""

    def execute(self, sql: Any, parameters: Any = None) -> Any:
        """A cursor over the rows."""

    def cursor(self) -> Any:
        """A cursor that can do more, such as COPY."""


class Server:
    """One schema of a database, spoken to by any number of threads.

    Args:
        dsn: how to reach it, as libpq understands it, e.g. "host=10.0.0.2 dbname=fleet user=robot".
        schema: of the tables; "" for none yet.
        name: shown in the server's list of sessions.
    """

    def __init__(self, dsn: str, schema: str, name: str) -> None:
        self._psycopg = import_extra("psycopg", "fleet")
        self._dsn = dsn
        self._schema = schema
        self._name = name
        self._idle: list[Any] = []
        self._lock = threading.Lock()
        self._is_closed = False

    @contextlib.contextmanager
    def transaction(self, begin: str) -> Iterator[Database]:
        """Inside, one transaction; it is rolled back if an error leaves it.

        Raises:
            LostError: if the server cannot be reached or the connection breaks.
            StoreError: if the server refuses what is asked, or the store is closed.
        """
        db = None
        try:
            db = self._begun(begin)
            yield db
            db.execute("COMMIT")
        except self._psycopg.Error as error:
            lost = db is None or db.closed or isinstance(error, self._psycopg.InterfaceError)
            told = " ".join(str(error).split()) or type(error).__name__
            raise (LostError if lost else StoreError)(f"the server {self._where()}: {told}") from error
        finally:
            if db is not None:
                self._take_back(db)

    def run_alone(self, statement: str) -> None:
        """Run what can be no part of a transaction.

        Raises:
            StoreError: if the server is away or refuses.
        """
        with self.transaction(WRITE) as db:
            db.execute("COMMIT")
            db.execute(statement)

    def close(self) -> None:
        """Close what is idle; what is in use is closed when it comes back."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for db in idle:
            db.close()

    def _begun(self, begin: str) -> Any:
        """A connection with an open transaction: an idle one that still lives, or a new one."""
        while True:
            with self._lock:
                if self._is_closed:
                    raise StoreError("the store is closed")
                db = self._idle.pop() if self._idle else None
            if db is None:
                break
            try:
                db.execute(begin)
                return db
            except self._psycopg.Error:  # the server was restarted meanwhile
                db.close()
        db = self._connected()
        try:
            db.execute(begin)
        except BaseException:
            db.close()
            raise
        return db

    def _connected(self) -> Any:
        try:
            db = self._psycopg.connect(
                self._dsn, autocommit=True, connect_timeout=CONNECT_TIMEOUT, client_encoding="utf8",
                fallback_application_name=f"embmem {self._name}"[:63], **_KEEPALIVES,
            )  # fmt: skip
        except self._psycopg.ProgrammingError as error:
            raise ValueError(f"dsn is not a connection string of Postgres: {error}") from error
        try:
            db.execute(_SETTINGS)
            if self._schema:
                set_path(db, self._schema)
        except BaseException:
            db.close()
            raise
        return db

    def _take_back(self, db: Any) -> None:
        is_sound = not db.closed
        if is_sound:
            try:
                if db.info.transaction_status != 0:  # not idle: an error left it
                    db.execute("ROLLBACK")
            except self._psycopg.Error:
                is_sound = False
        with self._lock:
            if is_sound and not self._is_closed:
                self._idle.append(db)
                return
        db.close()

    def _where(self) -> str:
        """The address, without a password."""
        try:
            parts = self._psycopg.conninfo.conninfo_to_dict(self._dsn)
        except self._psycopg.Error:
            return "at an address that is not valid"
        return " ".join(f"{key}={parts[key]}" for key in ("host", "port", "dbname") if parts.get(key)) or "by default"


def set_path(db: Database, schema: str) -> None:
    """Make names mean the tables of a schema and the types of pgvector."""
    row = db.execute(_EXTENSION).fetchone()
    path = ", ".join('"' + name.replace('"', '""') + '"' for name in (schema, *(row or ())))
    db.execute("SELECT set_config('search_path', %s, false)", (path,))
