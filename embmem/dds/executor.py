"""One thread that runs all callbacks of a node: messages, timers, and what other threads post."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from embmem.dds.participant import Participant
from embmem.dds.types import Raw

_AT_ONCE = 16  # samples of one reader before the others have their turn
_LONGEST = 3600.0  # [s] of waiting for nothing


class Watch:
    """A reader whose samples are called back with, until it is closed."""

    def __init__(self, executor: Executor, reader: Any, callback: Callable[[Raw], None]) -> None:
        from cyclonedds.core import InstanceState, ReadCondition, SampleState, ViewState

        self._executor, self.reader, self.callback = executor, reader, callback
        self.condition = ReadCondition(reader, SampleState.Any | ViewState.Any | InstanceState.Any)
        self.is_open = True

    def close(self) -> None:
        """No callback comes afterwards; the reader is ended."""
        self._executor.unwatch(self)


class Later:
    """A call to come, unless it is closed before."""

    def __init__(self, due: float, callback: Callable[[], None]) -> None:
        self.due, self.callback, self.is_open = due, callback, True

    def close(self) -> None:
        """It will not come."""
        self.is_open = False


class Executor:
    """The thread; begins with `start`.

    Args:
        participant: whose readers it waits for.
        on_error: gets what a callback raised; a callback never ends the thread.
    """

    def __init__(self, participant: Participant, on_error: Callable[[Exception], None]) -> None:
        from cyclonedds.core import GuardCondition, WaitSet

        self._participant, self._on_error = participant, on_error
        self._waitset, self._guard = WaitSet(participant.entity), GuardCondition(participant.entity)
        self._waitset.attach(self._guard)
        self._watches: list[Watch] = []
        self._later: list[tuple[float, int, Later]] = []
        self._counter = itertools.count()
        self._posted: deque[Callable[[], None]] = deque()
        self._is_stopping = False
        self._is_over = False
        self._lock = threading.Lock()  # of the guard, which must not be touched when it is gone
        self._thread = threading.Thread(target=self._run, name="embmem-dds", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    @property
    def is_mine(self) -> bool:
        """Whether the caller is on the thread of the callbacks."""
        return threading.current_thread() is self._thread

    @property
    def is_alive(self) -> bool:
        """Whether callbacks are run."""
        return self._thread.is_alive()

    def post(self, callback: Callable[[], None]) -> None:
        """Run it on the thread soon; by any thread. After the end it is not run."""
        self._posted.append(callback)
        if not self.is_mine:
            self._wake()

    def later(self, delay: float, callback: Callable[[], None]) -> Later:
        """Run it after `delay` seconds; on the thread, or before it starts."""
        made = Later(time.monotonic() + delay, callback)
        heapq.heappush(self._later, (made.due, next(self._counter), made))
        return made

    def watch(self, reader: Any, callback: Callable[[Raw], None]) -> Watch:
        """Call back with every valid sample of the reader; on the thread, or before it starts."""
        watch = Watch(self, reader, callback)
        self._watches.append(watch)
        self._waitset.attach(watch.condition)
        return watch

    def unwatch(self, watch: Watch) -> None:
        """End the watch and its reader."""
        if watch.is_open:
            watch.is_open = False
            self._watches.remove(watch)
            self._waitset.detach(watch.condition)
            watch.condition.__del__()
            self._participant.delete(watch.reader)

    def stop(self) -> None:
        """End the thread after what was posted before; waits for it."""
        self._is_stopping = True
        self._wake()
        if self._thread.ident is not None and not self.is_mine:
            self._thread.join()

    def _wake(self) -> None:
        with self._lock:
            if not self._is_over:
                self._guard.set(True)

    def _run(self) -> None:
        while not self._is_stopping:
            self._guarded(self._participant.announce)
            self._waitset.wait(self._nanoseconds_to_wait())
            self._guard.set(False)
            self._turn()
        self._turn()
        self._end()

    def _end(self) -> None:
        with self._lock:
            self._is_over = True
        for watch in list(self._watches):
            self.unwatch(watch)
        self._waitset.__del__()
        self._guard.__del__()

    def _nanoseconds_to_wait(self) -> int:
        if self._posted:
            return 0
        delay = self._later[0][0] - time.monotonic() if self._later else _LONGEST
        return int(min(max(delay, 0.0), _LONGEST) * 1e9)

    def _turn(self) -> None:
        for _ in range(len(self._posted)):
            self._guarded(self._posted.popleft())
        while self._later and self._later[0][0] <= time.monotonic():
            later = heapq.heappop(self._later)[2]
            if later.is_open:
                self._guarded(later.callback)
        for watch in list(self._watches):
            if watch.is_open and watch.condition.triggered:
                self._take(watch)

    def _take(self, watch: Watch) -> None:
        taken: list[Any] = []
        self._guarded(lambda: taken.extend(watch.reader.take(_AT_ONCE)))
        for raw in taken:
            if watch.is_open and isinstance(raw, Raw) and raw.sample_info is not None:
                self._guarded(lambda raw=raw: watch.callback(raw))  # type: ignore[misc]

    def _guarded(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception as error:  # whatever a callback does, the others go on
            self._on_error(error)
