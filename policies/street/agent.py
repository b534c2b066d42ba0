"""What a street agent is told, what it sees, and the protocol that the world calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from embmem.maps.streets import Pose, StreetAction, StreetMap


@dataclass(frozen=True, eq=False)
class Sighting:
    """Something that is seen from a place."""

    embedding: Float[np.ndarray, " d"]  # unit vector of what it looks like
    bearing: float  # [degrees] compass direction in which it is seen
    distance: float  # [m]


@dataclass(frozen=True, eq=False)
class StreetInstruction:
    """A task: words, a start, and the map that is walked on."""

    text: str
    streets: StreetMap
    start: Pose
    landmarks: tuple[tuple[str, Float[np.ndarray, " d"]], ...] = ()  # phrases of the text with their embeddings


@dataclass(frozen=True, eq=False)
class StreetView:
    """What is known at a step."""

    pose: Pose
    step: int  # actions taken so far, free ones included
    sightings: tuple[Sighting, ...] = ()


@runtime_checkable
class StreetAgent(Protocol):
    """The life of a street agent: `reset` forgets everything, then `begin` an instruction and `act`."""

    def reset(self, rng: np.random.Generator) -> None:
        """Forget everything; draw randomness from `rng` only."""

    def begin(self, instruction: StreetInstruction, gold: Sequence[int] | None = None) -> None:
        """Take an instruction. `gold` is given to agents only that say of themselves `is_privileged = True`."""

    def act(self, view: StreetView) -> StreetAction:
        """The next action."""
