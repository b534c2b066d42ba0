"""A thread that does one thing after the other: frames as they come, jobs in between."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Stopped(Exception):
    """The worker stops: what was asked is not done."""


@dataclass(eq=False)
class _Job:
    do: Callable[[], Any]
    future: Future[Any]


class Worker(Generic[T]):
    """Handles items in their order on a thread of its own; as many wait as there is room for.

    Jobs are done in the order in which they come among the items; urgent ones before all that waits.

    Args:
        handle: what is done with an item; it must not raise.
        name: of the thread.
    """

    def __init__(self, handle: Callable[[T], None], *, name: str) -> None:
        self._handle = handle
        self._queue: deque[T | _Job] = deque()
        self._urgent: deque[_Job] = deque()
        self._n_items, self._is_stopping = 0, False
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def n_waiting(self) -> int:
        """Items that wait."""
        return self._n_items

    def offer(self, item: T, *, room: int, drop_oldest: bool) -> int:
        """Let an item wait; how many are dropped for it, the item itself included.

        Args:
            item: it.
            room: how many may wait.
            drop_oldest: whether the oldest make room, else the new one goes.
        """
        with self._wake:
            if self._is_stopping or (self._n_items >= room and not drop_oldest):
                return 1
            n_dropped = 0
            while self._n_items >= room:
                self._drop_oldest()
                n_dropped += 1
            self._queue.append(item)
            self._n_items += 1
            self._wake.notify()
            return n_dropped

    def _drop_oldest(self) -> None:
        at = next(i for i, entry in enumerate(self._queue) if not isinstance(entry, _Job))
        del self._queue[at]
        self._n_items -= 1

    def submit(self, do: Callable[[], R], *, urgent: bool = False) -> Future[R]:
        """Let a job wait; its future gets what it returns or raises, or `Stopped`."""
        future: Future[R] = Future()
        job = _Job(do, future)
        with self._wake:
            if not self._is_stopping:
                (self._urgent if urgent else self._queue).append(job)
                self._wake.notify()
                return future
        future.set_exception(Stopped("the node stops"))
        return future

    def stop(self) -> int:
        """Finish what is in hand and end; what waits is not done. Returns how many items were dropped."""
        with self._wake:
            self._is_stopping = True
            left = [*self._urgent, *(entry for entry in self._queue if isinstance(entry, _Job))]
            n_dropped, self._n_items = self._n_items, 0
            self._urgent.clear()
            self._queue.clear()
            self._wake.notify()
        for job in left:
            job.future.set_exception(Stopped("the node stops"))
        self._thread.join()
        return n_dropped

    def _run(self) -> None:
        while (entry := self._next()) is not None:
            if isinstance(entry, _Job):
                _do(entry)
            else:
                self._handle(entry)

    def _next(self) -> T | _Job | None:
        with self._wake:
            while not (self._urgent or self._queue or self._is_stopping):
                self._wake.wait()
            if self._is_stopping:
                return None
            entry = self._urgent.popleft() if self._urgent else self._queue.popleft()
            self._n_items -= not isinstance(entry, _Job)
            return entry


def _do(job: _Job) -> None:
    try:
        result = job.do()
    except Exception as error:  # the one who asked learns of it
        job.future.set_exception(error)
    else:
        job.future.set_result(result)
