"""The agent that is told: an upper bound, not a competitor."""

from __future__ import annotations

import numpy as np

from embmem.agent import Action, Answer, Goal, NextAction, Question
from embmem.observation import Observation


class OracleAgent:
    """Follows the true shortest path that the driver hands to `begin`. Knows nothing by itself."""

    remembers = False

    def __init__(self) -> None:
        self._shortest: NextAction | None = None

    def reset(self, rng: np.random.Generator) -> None:
        """Nothing is random here."""
        self._shortest = None

    def watch(self, observation: Observation) -> None:
        """Nothing is remembered."""

    def begin(self, goal: Goal, shortest: NextAction | None = None) -> None:
        """Keep the way.

        Raises:
            ValueError: if there is no `shortest`; on a robot there never is.
        """
        if shortest is None:
            raise ValueError("the oracle needs `shortest`: it runs in a simulator only")
        self._shortest = shortest

    def act(self, observation: Observation) -> Action:
        """The next action of the shortest path; STOP at its end."""
        return Action.STOP if self._shortest is None else self._shortest()

    def answer(self, question: Question) -> Answer:
        """It does not know."""
        return Answer()
