"""What both ways of driving have in common: how far it is, and how it ended."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

ARRIVED, FAILED, CANCELED = "arrived", "failed", "canceled"


@dataclass(frozen=True)
class Progress:
    """Of one drive."""

    end: str = ""  # empty: under way
    remaining: float = math.nan  # [m]
    message: str = ""  # why it ended
    fault: str = ""  # of a failure, a word for the counters
    is_waiting: bool = False  # stands before something in its way


@runtime_checkable
class Drive(Protocol):
    """One way to one place."""

    def tick(self, dt: float) -> Progress:
        """Look after it; `dt` [s] have passed since the last time. Once it has ended it stays so."""

    def cancel(self) -> None:
        """Stop as soon as can be; `tick` says when it is so."""

    def abandon(self) -> None:
        """Stop now, and never mind what becomes of it."""
