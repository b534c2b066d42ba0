"""Group commit: many records share one trip to the disk.

A commit with `synchronous=FULL` waits for the disk, whatever its size. A thread gathers what is written for up to
`max_delay` and commits it in one transaction (DeWitt et al., SIGMOD 1984); a record is acknowledged when its
transaction is on the disk.

A batch that fails (no space, an I/O error) is not in the store: its tickets fail, and the store goes on with the next
one. One case is open: where the disk failed to sync, it may still have written the batch, and if the machine stops
before the next commit has overwritten it in the log, the batch is there, whole, when the file is opened again.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from embmem.errors import StoreError
from embmem.store.rows import Row

MAX_BATCH_BYTES = 32 << 20


class Batch:
    """Records that are committed together."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.n_bytes = 0
        self.done = threading.Event()
        self.error: Exception | None = None


class CommitTicket:
    """A record on its way to the disk; see `embmem.protocols.Ticket`."""

    __slots__ = ("_batch", "id")

    def __init__(self, record_id: int, batch: Batch) -> None:
        self.id = record_id
        self._batch = batch

    @property
    def is_acknowledged(self) -> bool:
        """True once the record will survive a power cut."""
        return self._batch.done.is_set() and self._batch.error is None

    def wait(self, timeout: float | None = None) -> int:
        """The id, once the record is acknowledged.

        Raises:
            StoreError: if it could not be written; it is not in the store then.
            TimeoutError: if it is not acknowledged within `timeout` [s]; it may still be later.
        """
        if not self._batch.done.wait(timeout):
            raise TimeoutError(f"record {self.id} is not acknowledged after {timeout} s")
        if self._batch.error is not None:
            raise StoreError(f"record {self.id} could not be written: {self._batch.error}") from self._batch.error
        return self.id


class GroupWriter:
    """The thread that commits.

    Args:
        commit: writes rows in one transaction, all or none.
        max_delay: [s] that a record waits for company at most.
        max_batch: records after which a batch is not waited for any longer; twice as many make `submit` wait.
        after: called when a batch is done, before the next one is begun.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Row]], None],
        *,
        max_delay: float,
        max_batch: int,
        after: Callable[[], None] | None = None,
    ) -> None:
        if not (max_delay >= 0 and max_batch >= 1):
            raise ValueError(f"need max_delay >= 0 and max_batch >= 1, got {max_delay}, {max_batch}")
        self._commit = commit
        self._after = after
        self._max_delay = max_delay
        self._max_batch = max_batch
        self._changed = threading.Condition()
        self._open = Batch()
        self._committing: Batch | None = None
        self._is_urgent = False
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="embmem-writer", daemon=True)
        self._thread.start()

    def submit(self, rows: Sequence[Row], number: Callable[[Sequence[Row]], None]) -> Batch:
        """Add rows to the open batch, as a whole; `number` gives them their ids.

        Raises:
            StoreError: if the writer is closed.
        """
        with self._changed:
            while not self._is_closed and (
                len(self._open.rows) >= 2 * self._max_batch or self._open.n_bytes >= 2 * MAX_BATCH_BYTES
            ):
                self._changed.wait()
            if self._is_closed:
                raise StoreError("the store is closed")
            number(rows)
            batch = self._open
            is_first = not batch.rows
            batch.rows.extend(rows)
            batch.n_bytes += sum(row.size for row in rows)
            if is_first or self._is_full(batch):
                self._changed.notify_all()
            return batch

    def flush(self) -> None:
        """Return when everything submitted is on the disk or has failed."""
        with self._changed:
            waiting = [batch for batch in (self._committing, self._open) if batch is not None and batch.rows]
            if self._open.rows:
                self._is_urgent = True
                self._changed.notify_all()
        for batch in waiting:
            batch.done.wait()

    @contextlib.contextmanager
    def idle(self) -> Iterator[None]:
        """Inside, everything submitted is on the disk or has failed, and nobody else submits."""
        with self._changed:
            while self._open.rows or self._committing is not None:
                self._is_urgent = True
                self._changed.notify_all()
                self._changed.wait()
            yield

    def close(self) -> None:
        """Flush and stop the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join()

    def _is_full(self, batch: Batch) -> bool:
        return len(batch.rows) >= self._max_batch or batch.n_bytes >= MAX_BATCH_BYTES

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None:
            try:
                self._commit(batch.rows)
            except Exception as error:
                batch.error = error
            finally:
                batch.rows = []  # a ticket that lives on holds no data
                batch.done.set()
            with self._changed:
                self._committing = None
                self._changed.notify_all()
            if self._after is not None:
                self._after()

    def _next_batch(self) -> Batch | None:
        """The next batch that is full, old enough or wanted; None when all is done."""
        with self._changed:
            while not self._open.rows:
                if self._is_closed:
                    return None
                self._changed.wait()
            deadline = time.monotonic() + self._max_delay
            while not (self._is_full(self._open) or self._is_urgent or self._is_closed):
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            self._committing, self._open = self._open, Batch()
            self._is_urgent = False
            self._changed.notify_all()
            return self._committing
