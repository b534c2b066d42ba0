"""How a store object writes: what it sends is numbered and committed in groups, none is stored twice."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from typing import cast

from embmem.errors import StoreError
from embmem.fleet.log import take
from embmem.fleet.rows import Outgoing, add_words
from embmem.fleet.server import WRITE, LostError, Server
from embmem.store.rows import Row
from embmem.store.writer import Batch

PAUSE = 0.1  # [s] between attempts to reach a lost server


class FleetTicket:
    """A record on its way to the server; see `embmem.protocols.Ticket`. Its id is given when it is committed."""

    __slots__ = ("_batch", "_flush", "_receipt")

    def __init__(self, row: Outgoing, batch: Batch, flush: Callable[[], None]) -> None:
        self._receipt = row.receipt
        self._batch = batch
        self._flush = flush

    @property
    def id(self) -> int:
        """Of the record; has it committed at once, since the commit gives it.

        Raises:
            StoreError: if the record could not be written.
        """
        if not self._batch.done.is_set():
            self._flush()
        return self.wait()

    @property
    def is_acknowledged(self) -> bool:
        """True once the record will survive a power cut of the server."""
        return self._batch.done.is_set() and self._batch.error is None

    def wait(self, timeout: float | None = None) -> int:
        """The id, once the record is acknowledged.

        Raises:
            StoreError: if it could not be written.
            TimeoutError: if it is not acknowledged within `timeout` [s]; it may still be later.
        """
        if not self._batch.done.wait(timeout):
            raise TimeoutError(f"a record is not acknowledged after {timeout} s")
        if self._batch.error is not None:
            raise StoreError(f"a record could not be written: {self._batch.error}") from self._batch.error
        return self._receipt[0]


class Intake:
    """The writing side of one store object: the records it sends are numbered, so that none is stored twice.

    Args:
        server: where they go.
        robot: who sends them.
        patience: [s] for which a lost server is looked for before a batch fails.
    """

    def __init__(self, server: Server, robot: str, patience: float) -> None:
        self._server = server
        self._robot = robot
        self._patience = patience
        self._memory = str(uuid.uuid4())
        self._n_sent = 0

    def number(self, rows: Sequence[Row]) -> None:
        """Called by one thread at a time, in the order of writing."""
        for row in cast(Sequence[Outgoing], rows):
            self._n_sent += 1
            row.local_id = self._n_sent

    def commit(self, rows: Sequence[Row]) -> None:
        """Store the rows in one transaction, all or none; if the connection broke, look whether they are there.

        Raises:
            StoreError: if they could not be written.
        """
        sent = cast(Sequence[Outgoing], rows)
        add_words(sent)
        deadline = time.monotonic() + self._patience
        while True:
            try:
                with self._server.transaction(WRITE) as db:
                    ids = take(db, self._memory, self._robot, sent)
                break
            except LostError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(PAUSE)
        for row, record_id in zip(sent, ids, strict=True):
            row.receipt.append(record_id)
