"""Jumps of a clock that somebody sets: it goes otherwise than a steady one."""

from __future__ import annotations

import time
from collections.abc import Callable


class Watch:
    """Compares the node's clock with a steady one, where no /clock tells of jumps.

    Args:
        now_ns: the node's clock [ns].
        jump: [s] of difference that count as a jump.
        steady_ns: a clock that nobody sets [ns].
    """

    def __init__(
        self,
        now_ns: Callable[[], int],
        jump: Callable[[], float],
        *,
        steady_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._now_ns, self._jump, self._steady_ns = now_ns, jump, steady_ns
        self.rest()

    def rest(self) -> None:
        """Begin anew from here."""
        self._last, self._steady = self._now_ns(), self._steady_ns()

    def look(self) -> tuple[int, int] | None:
        """(where the clock should be, where it is) [ns] if it has jumped since the last look."""
        now, steady = self._now_ns(), self._steady_ns()
        expected = self._last + steady - self._steady
        self._last, self._steady = now, steady
        return (expected, now) if abs(now - expected) > self._jump() * 1e9 else None
