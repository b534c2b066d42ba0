"""A rule agent without tuning: turns as the grammar of phrases reads them, and stops after forty panoramas."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from embmem.maps.streets import StreetAction, StreetMap
from embmem.maps.streets.graph import JUNCTION
from embmem.maps.streets.legs import GAP
from embmem.policies.street.agent import StreetInstruction, StreetView
from embmem.policies.street.simple import FORWARD_STEPS
from embmem.policies.street.words import Leg, parse


class RuleStreetAgent:
    """Counts crossings as it walks and turns where its program says so; knows only the place where it stands."""

    def __init__(self, steps: int = FORWARD_STEPS) -> None:
        """Args: steps: forward moves until STOP, a free one included."""
        self.steps = steps
        self._legs: list[Leg] = []
        self._streets: StreetMap | None = None
        self._n_passed = self._moved = 0
        self._last_junction = -GAP - 1
        self._has_turned = False

    def reset(self, rng: np.random.Generator) -> None:
        """There is nothing to forget."""

    def begin(self, instruction: StreetInstruction, gold: Sequence[int] | None = None) -> None:
        """Read the instruction."""
        self._streets = instruction.streets
        self._legs = list(parse(instruction.text).legs)
        self._n_passed, self._moved = 0, int(instruction.start.previous not in (-1, instruction.start.place))
        self._last_junction, self._has_turned = -GAP - 1, False

    def act(self, view: StreetView) -> StreetAction:
        """Turn at the crossing that the program names, else forward.

        Raises:
            RuntimeError: if no instruction was given.
        """
        if self._streets is None:
            raise RuntimeError("begin an instruction first")
        if self._moved >= self.steps:
            return StreetAction.STOP
        is_junction = self._streets.n_exits[view.pose.place] >= JUNCTION and self._moved > 0
        if is_junction and not self._has_turned:
            is_new = self._moved - self._last_junction > GAP
            self._last_junction = self._moved
            if is_new and self._legs and self._legs[0].turn is not None:
                if self._n_passed >= self._legs[0].n_pass:
                    self._n_passed, self._has_turned = 0, True
                    return StreetAction.LEFT if self._legs.pop(0).turn == "L" else StreetAction.RIGHT
                self._n_passed += 1
        self._has_turned = False
        self._moved += 1
        return StreetAction.FORWARD
