"""The clock of a node, the system's or /clock's, and the timers that run on it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from embmem.ros.ports import Closable

JUMP = 10_000_000_000  # [ns] forward at once that is a jump, beyond what a fast replay skips; backward everything is
NANOSECONDS = 1_000_000_000


@runtime_checkable
class Turns(Protocol):
    """What runs callbacks: `embmem.dds.executor.Executor`."""

    def post(self, callback: Callable[[], None]) -> None:
        """Run it soon."""

    def later(self, delay: float, callback: Callable[[], None]) -> Closable:
        """Run it after `delay` seconds of the system's clock."""


class Timer:
    """Calls back every so often until it is closed; what was missed is left out, not caught up with."""

    def __init__(self, clock: NodeClock, period: float, callback: Callable[[], None], *, is_steady: bool) -> None:
        if not period > 0:
            raise ValueError(f"a timer's period is > 0 s, not {period}")
        self.period_ns, self.callback, self._clock = max(1, round(period * NANOSECONDS)), callback, clock
        self.is_steady = is_steady
        self.due_ns: int | None = None  # of /clock
        self.later: Closable | None = None  # of the system's clock

    def close(self) -> None:
        """End it."""
        self._clock.forget(self)


class NodeClock:
    """The time of a node; all but `now_ns` on the thread of the callbacks.

    Args:
        executor: whose thread the timers run on.
    """

    def __init__(self, executor: Turns) -> None:
        self._executor = executor
        self._is_simulated = False
        self._simulated_ns = 0
        self._timers: list[Timer] = []
        self._on_jump: list[Callable[[int, int], None]] = []

    def now_ns(self) -> int:
        """[ns]; 0 before the first /clock."""
        return self._simulated_ns if self._is_simulated else time.time_ns()

    def simulate(self, is_simulated: bool) -> None:
        """Take the time from `tick`, or from the system."""
        if is_simulated == self._is_simulated:
            return
        self._is_simulated, self._simulated_ns = is_simulated, 0
        for timer in self._moving():
            self._arm(timer)

    def tick(self, now_ns: int) -> None:
        """What /clock says."""
        before, self._simulated_ns = self._simulated_ns, now_ns
        if not self._is_simulated:
            return
        if before and not 0 <= now_ns - before <= JUMP:
            for timer in self._moving():
                timer.due_ns = now_ns + timer.period_ns
            for callback in list(self._on_jump):
                self._executor.post(lambda callback=callback: callback(before, now_ns))  # type: ignore[misc]
        for timer in self._moving():
            if timer.due_ns is None:
                timer.due_ns = now_ns + timer.period_ns
            elif now_ns >= timer.due_ns:
                timer.due_ns += timer.period_ns * (1 + (now_ns - timer.due_ns) // timer.period_ns)
                self._executor.post(lambda timer=timer: self._fire(timer))  # type: ignore[misc]

    def timer(self, period: float, callback: Callable[[], None], *, is_steady: bool = False) -> Timer:
        """Call back every `period` seconds, of the system's steady clock whatever /clock does if `is_steady`."""
        timer = Timer(self, period, callback, is_steady=is_steady)
        self._timers.append(timer)
        self._arm(timer)
        return timer

    def _moving(self) -> list[Timer]:
        """The timers of the node's clock."""
        return [timer for timer in self._timers if not timer.is_steady]

    def forget(self, timer: Timer) -> None:
        """End a timer."""
        if timer in self._timers:
            self._timers.remove(timer)
            if timer.later is not None:
                timer.later.close()

    def on_jump(self, callback: Callable[[int, int], None]) -> None:
        """Call back with (before, after) [ns] when /clock goes back, or forward by more than ten seconds at once."""
        self._on_jump.append(callback)

    def _arm(self, timer: Timer) -> None:
        if timer.later is not None:
            timer.later.close()
        timer.due_ns, timer.later = None, None
        if not self._is_simulated or timer.is_steady:
            self._begin(timer, time.monotonic())
        elif self._simulated_ns:
            timer.due_ns = self._simulated_ns + timer.period_ns

    def _begin(self, timer: Timer, last: float) -> None:
        now, period = time.monotonic(), timer.period_ns / NANOSECONDS
        due = last + period * max(1.0, (now - last) // period)

        def fire() -> None:
            self._begin(timer, due)
            self._fire(timer)

        timer.later = self._executor.later(max(0.0, due - now), fire)

    def _fire(self, timer: Timer) -> None:
        if timer in self._timers:
            timer.callback()
