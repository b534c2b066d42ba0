"""Agents without a clue: straight on, and the gold route."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from embmem.maps.streets import StreetAction, actions_along
from embmem.policies.street.agent import StreetInstruction, StreetView

FORWARD_STEPS = 39  # 40 panoramas, as the published baseline walks


class ForwardStreetAgent:
    """Walks straight on for a fixed number of steps, whatever it is told."""

    def __init__(self, steps: int = FORWARD_STEPS) -> None:
        """Args: steps: forward moves until STOP, a free one included."""
        self.steps = steps

    def reset(self, rng: np.random.Generator) -> None:
        """There is nothing to forget."""

    def begin(self, instruction: StreetInstruction, gold: Sequence[int] | None = None) -> None:
        """Ignore the instruction."""

    def act(self, view: StreetView) -> StreetAction:
        """Forward, then STOP."""
        return StreetAction.FORWARD if view.step < self.steps else StreetAction.STOP


class GoldStreetAgent:
    """Walks the gold route: the replay that shows that rules and routes fit."""

    is_privileged = True  # is given the gold route

    def __init__(self) -> None:
        self._actions: list[StreetAction] = []

    def reset(self, rng: np.random.Generator) -> None:
        """There is nothing to forget."""

    def begin(self, instruction: StreetInstruction, gold: Sequence[int] | None = None) -> None:
        """Plan the actions of the gold route.

        Raises:
            ValueError: if there is none, or it does not pass the start.
        """
        places, start = list(gold or ()), instruction.start
        if start.place not in places:
            raise ValueError(f"the gold agent needs a gold route through its start, place {start.place}, got {places}")
        left = places[places.index(start.place) :]  # a free step may have been taken
        self._actions = actions_along(instruction.streets, start, left)

    def act(self, view: StreetView) -> StreetAction:
        """The next action of the route; STOP behind its end."""
        return self._actions.pop(0) if self._actions else StreetAction.STOP
