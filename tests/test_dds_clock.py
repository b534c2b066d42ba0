"""The clock of a node: /clock's time, jumps, timers; against a plain count of what is due."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from embmem.dds.clock import JUMP, NodeClock

NS = 1_000_000_000


class Hand:
    """An executor that is turned by hand."""

    def __init__(self) -> None:
        self.posted: deque[Callable[[], None]] = deque()

    def post(self, callback: Callable[[], None]) -> None:
        self.posted.append(callback)

    def later(self, delay: float, callback: Callable[[], None]) -> Any:
        raise AssertionError("the system's clock is not asked")

    def turn(self) -> None:
        while self.posted:
            self.posted.popleft()()


def _clock() -> tuple[NodeClock, Hand]:
    hand = Hand()
    clock = NodeClock(hand)
    clock.simulate(True)
    return clock, hand


@given(
    st.lists(st.integers(1, JUMP), min_size=1, max_size=30),
    st.floats(0.01, 5.0),
)
def test_timers_run_on_the_time_of_clock(steps: list[int], period: float) -> None:
    """Once for every tick that passes a multiple of the period, however many it passes."""
    clock, hand = _clock()
    fired: list[int] = []
    timer = clock.timer(period, lambda: fired.append(clock.now_ns()))
    begin = now = NS
    period_ns, expected = round(period * NS), []
    assert clock.now_ns() == 0
    clock.tick(now)
    for step in steps:
        if (now + step - begin) // period_ns > (now - begin) // period_ns:
            expected.append(now + step)
        now += step
        clock.tick(now)
        hand.turn()
    assert fired == expected
    timer.close()
    clock.tick(now + round(2 * period_ns) + 1)
    hand.turn()
    assert fired == expected


@given(st.lists(st.integers(0, 100 * NS), min_size=2, max_size=30))
def test_every_jump_is_told_once(times: list[int]) -> None:
    clock, hand = _clock()
    jumps: list[tuple[int, int]] = []
    clock.on_jump(lambda before, after: jumps.append((before, after)))
    for now in times:
        clock.tick(now)
    hand.turn()
    assert jumps == [(a, b) for a, b in pairwise(times) if a and (b < a or b - a > JUMP)]


def test_after_a_jump_back_timers_go_on_from_there() -> None:
    clock, hand = _clock()
    fired: list[int] = []
    clock.timer(1.0, lambda: fired.append(clock.now_ns()))
    for now in (100 * NS, 101 * NS, 5 * NS, 5 * NS + NS // 2, 6 * NS):
        clock.tick(now)
        hand.turn()
    assert fired == [101 * NS, 6 * NS]


def test_a_tick_does_not_move_the_system_s_clock() -> None:
    clock, _ = _clock()
    clock.simulate(False)
    clock.tick(NS)
    assert clock.now_ns() > 1_000_000 * NS


class Delays(Hand):
    """One that keeps what is to come later."""

    def __init__(self) -> None:
        super().__init__()
        self.delayed: list[Callable[[], None]] = []

    def later(self, delay: float, callback: Callable[[], None]) -> Any:
        self.delayed.append(callback)
        return self

    def close(self) -> None:
        self.delayed.clear()


def test_a_steady_timer_goes_on_when_the_bag_has_ended() -> None:
    hand = Delays()
    clock = NodeClock(hand)
    clock.simulate(True)
    fired: list[str] = []
    clock.timer(1.0, lambda: fired.append("steady"), is_steady=True)
    clock.timer(1.0, lambda: fired.append("simulated"))
    clock.tick(NS)  # and never again
    for _ in range(3):
        hand.delayed.pop(0)()
    hand.turn()
    assert fired == ["steady"] * 3
