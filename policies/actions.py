"""The closed grammar of what a planner may call: eleven steps, plain values, nothing else.

Rules, learned policies and language models speak it alike; what a world does not know it answers with an `Outcome`
that is not ok. Names are those that the world, or the memory, gave to rooms, receptacles and objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from typing import Protocol, TypeAlias, runtime_checkable


@dataclass(frozen=True)
class Recall:
    """Ask the memory in free words."""

    text: str


@dataclass(frozen=True)
class WhereIs:
    """Ask the memory for the place of an object."""

    object: str


@dataclass(frozen=True)
class Route:
    """Ask for the way to a place, without going."""

    place: str


@dataclass(frozen=True)
class Look:
    """See what is here."""


@dataclass(frozen=True)
class Go:
    """Walk to a room, to a receptacle or to an object."""

    place: str


@dataclass(frozen=True)
class Pick:
    """Take an object that is within reach into the hand."""

    object: str


@dataclass(frozen=True)
class Place:
    """Put the object in the hand on or into a receptacle within reach."""

    object: str
    receptacle: str


@dataclass(frozen=True)
class Open:
    """Open a receptacle within reach."""

    receptacle: str


@dataclass(frozen=True)
class Close:
    """Close a receptacle within reach."""

    receptacle: str


@dataclass(frozen=True)
class Ask:
    """Ask the person who gave the task."""

    question: str


@dataclass(frozen=True)
class Stop:
    """The task is done, or cannot be; `reason` is for the log."""

    reason: str = ""


Step: TypeAlias = Recall | WhereIs | Route | Look | Go | Pick | Place | Open | Close | Ask | Stop
STEPS: tuple[type[Step], ...] = (Recall, WhereIs, Route, Look, Go, Pick, Place, Open, Close, Ask, Stop)
# Answered from memory or by a person; the world stays as it is and no time passes in it.
QUESTIONS: tuple[type[Step], ...] = (Recall, WhereIs, Route, Ask)


@dataclass(frozen=True)
class Sight:
    """What a step showed, by name."""

    inside: Mapping[str, str] = field(default_factory=dict)  # a thing -> what it is on or in; a receptacle -> its room
    complete: tuple[str, ...] = ()  # receptacles of which everything was seen: what is not listed there is not there
    is_open: Mapping[str, bool] = field(default_factory=dict)  # of receptacles that can be opened
    states: Mapping[str, str] = field(default_factory=dict)  # of things that have one, e.g. "dirty"


@dataclass(frozen=True)
class Outcome:
    """What came of a step. `reason` says why not; of a question it holds the answer, for people and models."""

    ok: bool
    reason: str = ""
    seen: Sight = Sight()


@runtime_checkable
class StepPlanner(Protocol):
    """Decides step by step: `begin` a task, then `next` and, once the world has answered, `notice`.

    `notice` may also tell of steps that somebody else decided; the planner goes on from what came of them.
    """

    def begin(self, instruction: str) -> None:
        """Take a task in words."""

    def next(self) -> Step:
        """The step to do now."""

    def notice(self, step: Step, outcome: Outcome) -> None:
        """What came of a step."""


def to_text(step: Step) -> str:
    """The step as a log writes it, `place(mug_2, table_1)`."""
    return f"{verb(type(step))}({', '.join(astuple(step))})"


def verb(step: type[Step]) -> str:
    """The name of a step in the grammar: recall, where_is, route, look, go, pick, place, open, close, ask, stop."""
    return "where_is" if step is WhereIs else step.__name__.lower()
