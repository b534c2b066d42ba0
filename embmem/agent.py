"""What an agent is told, what it may do, and the protocol that the drivers (simulator, robot) call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol, runtime_checkable

import numpy as np

from embmem.observation import Observation


class Action(IntEnum):
    """Habitat's action space, with Habitat's numbers."""

    STOP = 0
    FORWARD = 1
    LEFT = 2
    RIGHT = 3
    LOOK_UP = 4
    LOOK_DOWN = 5


@dataclass(frozen=True)
class Body:
    """The moving body, known to world and planner alike (Habitat's ObjectNav defaults)."""

    radius: float = 0.18  # [m]
    height: float = 0.88  # [m], camera height above the floor
    forward: float = 0.25  # [m] a step
    turn: float = 30.0  # [degrees] a step; 10 for PointNav
    look: float = 30.0  # [degrees] a step


@dataclass(frozen=True, eq=False)
class Goal:
    """One thing to reach.

    Any instance of `category`, the point `position`, where `instruction` leads in words, or what `image` shows.
    """

    category: str | None = None
    position: np.ndarray | None = None  # (3,) [m], map frame
    instruction: str | None = None
    image: np.ndarray | None = None  # (h, w, 3) uint8

    def __str__(self) -> str:
        if self.instruction is not None:
            return self.instruction
        if self.category is not None:
            return self.category
        if self.image is not None:
            return "what the picture shows"
        return "nowhere" if self.position is None else f"point {np.round(self.position, 2).tolist()}"


@dataclass(frozen=True)
class Question:
    """A question about the past. `kind` is one of where_is, last_seen, how_many, which_first."""

    kind: str
    categories: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Answer:
    """The answer in the form that the question asks for; a None field means "I do not know"."""

    position: np.ndarray | None = None  # (3,) [m], where_is
    stamp: float | None = None  # [s], last_seen
    count: int | None = None  # how_many
    category: str | None = None  # which_first


# What only an oracle may use: the next best action from where the agent stands now.
NextAction = Callable[[], Action]


@runtime_checkable
class Agent(Protocol):
    """The life of an agent: `reset` in a new place, `watch` what it is shown, then `begin` a goal and `act`."""

    def reset(self, rng: np.random.Generator) -> None:
        """Arrive in an unknown place: forget everything, draw randomness from `rng` only."""

    def watch(self, observation: Observation) -> None:
        """See something without deciding, e.g. on a guided tour."""

    def begin(self, goal: Goal, shortest: NextAction | None = None) -> None:
        """Take a goal. `shortest` is privileged and ignored by all but the oracle."""

    def act(self, observation: Observation) -> Action:
        """The next action; STOP claims that the goal is reached."""

    def answer(self, question: Question) -> Answer:
        """Answer from memory, without looking."""
