"""The parts of a route that is told: rooms, doors, turns, landmarks, and where to stop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["leave", "door", "turn", "cross", "pass", "enter", "stop"]
KINDS: tuple[Kind, ...] = ("leave", "door", "turn", "cross", "pass", "enter", "stop")
TURNS = ("left", "right", "straight")
SIDES = ("left", "right")


@dataclass(frozen=True)
class Step:
    """One thing that is told; what a kind does not need is None.

    "leave": out of `room`, by the door near `landmark`. "door": through the door near `landmark`. "turn": to `turn`
    behind a door. "cross": through `room`. "pass": by `landmark`, which is on that `side`. "enter": into `room`.
    "stop": in front of `landmark`.
    """

    kind: Kind
    room: str | None = None
    landmark: str | None = None
    turn: str | None = None
    side: str | None = None

    def __post_init__(self) -> None:
        needs = {"door": self.landmark, "turn": self.turn, "pass": self.landmark, "stop": self.landmark}
        if self.kind not in KINDS or needs.get(self.kind, "") is None:
            raise ValueError(f"a step needs a kind of {KINDS} and what that kind is about, got {self}")
        if self.turn not in (None, *TURNS) or self.side not in (None, *SIDES):
            raise ValueError(f"a turn is one of {TURNS}, a side one of {SIDES}, got {self}")
