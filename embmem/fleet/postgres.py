"""The record store on Postgres: many robots write, one query asks all."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType

from embmem.errors import StoreError
from embmem.fleet.intake import FleetTicket, Intake
from embmem.fleet.log import Origin, origins_of
from embmem.fleet.rows import LAST_ID, Outgoing, outgoing, select_records, unescaped
from embmem.fleet.schema import GRAPH, MAX_GRAPH_DIM, checked_name, prepare
from embmem.fleet.search import newest, search
from embmem.fleet.server import READ, WRITE, Database, Server
from embmem.protocols import Answer, Ranking
from embmem.records import Query, Record
from embmem.store.rows import MAX_NAME
from embmem.store.writer import GroupWriter

DEFAULT_RANKING = Ranking()


class PostgresStore:
    """Records of a fleet, in one schema of a Postgres database with pgvector.

    It keeps the contract of `RecordStore`; what differs:

    - Ids are the fleet's and are given at the commit, in its order: asking a ticket for its id waits, and a link can
      only go to a record that is acknowledged. Who has read up to an id has seen all that is before it.
    - `t_ingest` is the server's clock, never running backwards: `as_of` asks what the fleet knew then.
    - All embeddings of a fleet have the same length.
    - `read` and `search` ask all robots, or those in `robots`; `origins` says whose a record is.
    """

    def __init__(
        self,
        dsn: str,
        robot: str,
        *,
        schema: str = "embmem",
        max_delay: float = 0.02,
        max_batch: int = 1000,
        patience: float = 5.0,
    ) -> None:
        """Connect, and make the tables where there are none; extra `fleet`.

        Args:
            dsn: how to reach the server, as libpq understands it, e.g. "host=10.0.0.2 dbname=fleet user=robot".
            robot: who writes.
            schema: of the tables; one schema is one fleet's memory.
            max_delay: [s] that a record waits for others to share its commit.
            max_batch: records that are company enough.
            patience: [s] for which a lost server is looked for before what waits to be written fails.

        Raises:
            StoreError: if the server cannot be reached or lacks pgvector.
            FileVersionError: if the tables are those of a newer embmem.
            InputError: if the schema holds tables of somebody else.
            MissingExtraError: if psycopg is not installed.
        """
        if not 0 < len(robot) <= MAX_NAME:
            raise ValueError(f"a robot has a name of 1 to {MAX_NAME} characters, got {robot!r}")
        self.robot = robot
        prepare(dsn, checked_name(schema))
        self._server = Server(dsn, schema, robot)
        self._intake = Intake(self._server, robot, patience)
        self._writer = GroupWriter(self._intake.commit, max_delay=max_delay, max_batch=max_batch)
        self._release = weakref.finalize(self, _release, self._writer, self._server)
        self._last_id, self._dim = 0, 0  # as far as it was looked up
        try:
            self._look_up()
        except BaseException:
            self._release()
            raise

    @property
    def uuid(self) -> str:
        """Names the fleet's memory."""
        with self.reading() as db:
            return str(db.execute("SELECT uuid::text FROM head").fetchone()[0])

    @property
    def last_id(self) -> int:
        """The highest id that was given, 0 if there is none."""
        with self.reading() as db:
            return int(db.execute("SELECT last_id FROM head").fetchone()[0])

    def write(self, record: Record) -> FleetTicket:
        """Take a record; it is acknowledged when the ticket says so.

        Raises:
            ValueError: if the record is not fit to be stored; the store is as it was.
            StoreError: if the store is closed, or the server is away when it must be asked.
        """
        row = outgoing(record)
        self._check([row])
        return FleetTicket(row, self._writer.submit([row], self._intake.number), self._writer.flush)

    def write_all(self, records: Iterable[Record]) -> list[int]:
        """The ids given to the records, which are all acknowledged when this returns; or none is stored.

        Raises:
            ValueError: if one of them is not fit to be stored.
            StoreError: if they could not be written.
        """
        rows = [outgoing(record) for record in records]
        if not rows:
            return []
        self._check(rows)
        batch = self._writer.submit(rows, self._intake.number)
        self._writer.flush()
        return [FleetTicket(row, batch, self._writer.flush).wait() for row in rows]

    def get(self, ids: Sequence[int]) -> list[Record]:
        """The records with these ids, in this order; the ids that are not there are left out."""
        with self.reading() as db:
            return select_records(db, ids)

    def read(self, query: Query, *, robots: Sequence[str] | None = None) -> list[Record]:
        """At most `query.k` records that match every set field, newest event first; ties newest id first.

        Words of `text` narrow (any of them must be there), `embedding` does not: `search` ranks by both.

        Args:
            query: what is asked.
            robots: whose records; of all if not given.
        """
        with self.reading() as db:
            return newest(db, query, robots)

    def search(
        self, query: Query, ranking: Ranking = DEFAULT_RANKING, *, robots: Sequence[str] | None = None
    ) -> Answer:
        """Ranked by `text`, `embedding`, `near` and `linked_to`; newest first if none of them is set."""
        with self.reading() as db:
            return search(db, query, ranking, robots)

    def origins(self, ids: Sequence[int]) -> dict[int, Origin]:
        """Which robot each of these records is from, and what it is in that robot's memory; by id."""
        with self.reading() as db:
            return origins_of(db, [i for i in map(int, ids) if 0 < i <= LAST_ID])

    def robots(self) -> list[str]:
        """Who has written, in alphabetical order."""
        with self.reading() as db:
            return sorted(unescaped(row[0]) for row in db.execute("SELECT DISTINCT robot FROM memories"))

    def flush(self) -> None:
        """Return when all that was written is acknowledged, or has failed."""
        self._writer.flush()

    def __len__(self) -> int:
        with self.reading() as db:
            return int(db.execute("SELECT n_records FROM head").fetchone()[0])

    def close(self) -> None:
        """Flush and disconnect."""
        self._release()

    def __enter__(self) -> PostgresStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Database]:
        """A connection that sees one state of the database, with all that this object wrote before.

        Raises:
            StoreError: if the store is closed, or the server is away.
        """
        self.flush()
        with self._server.transaction(READ) as db:
            yield db

    @contextlib.contextmanager
    def changing(self) -> Iterator[Database]:
        """A connection in a transaction that writes, after all that this object wrote before.

        Raises:
            StoreError: if the store is closed, the server is away or refuses; nothing has changed then.
        """
        self.flush()
        with self._server.transaction(WRITE) as db:
            yield db

    def build_graph(self) -> None:
        """Link all embeddings, and those to come, into a graph (HNSW), while robots go on writing.

        Queries by embedding without filters then look at a small part of the records, and may miss some of the best.

        Raises:
            ValueError: if the fleet has no embeddings, or they are too long for pgvector.
            StoreError: if the server is away or refuses.
        """
        self._look_up()
        if not 0 < self._dim <= MAX_GRAPH_DIM:
            raise ValueError(f"a graph needs embeddings of at most {MAX_GRAPH_DIM} numbers, the fleet has {self._dim}")
        self._server.run_alone(f"DROP INDEX IF EXISTS {GRAPH}")  # what an attempt that failed has left
        self._server.run_alone(
            f"CREATE INDEX CONCURRENTLY {GRAPH} ON vectors"
            f" USING hnsw ((embedding::vector({self._dim})) vector_cosine_ops)"
        )

    def rewrite(self) -> None:
        """Write the tables anew, so that nothing of what was removed is left in them; nobody can use them meanwhile.

        Raises:
            StoreError: if the server is away or refuses.
        """
        self._server.run_alone("VACUUM FULL records, vectors, links, hidden")

    def _check(self, rows: Sequence[Outgoing]) -> None:
        """Refuse links to what is not there and embeddings of another length, before anything is sent.

        Raises:
            ValueError: if a row is not fit to be stored.
        """
        if not self._release.alive:
            raise StoreError("the store is closed")
        for target in {link.to for row in rows for link in row.links}:
            if target > self._last_id:
                self._look_up()
            if not 1 <= target <= self._last_id:
                raise ValueError(f"a link goes to an earlier record that is acknowledged, {target} is none")
        dims = sorted({len(row.vector) // 2 for row in rows if row.vector is not None})
        if dims and self._dim == 0 and len(dims) == 1:
            with self._server.transaction(WRITE) as db:  # the first one decides for the fleet
                db.execute("UPDATE head SET dim = %s WHERE dim = 0", (dims[0],))
            self._look_up()
        if dims and dims != [self._dim]:
            known = f"of {self._dim} numbers" if self._dim else "of one length"
            raise ValueError(f"this fleet has embeddings {known}, got {', '.join(map(str, dims))}")

    def _look_up(self) -> None:
        with self._server.transaction(READ) as db:
            self._last_id, self._dim = db.execute("SELECT last_id, dim FROM head").fetchone()


def _release(writer: GroupWriter, server: Server) -> None:
    writer.close()
    server.close()
