"""Agents that remember nothing: the floor that every other agent must clear."""

from __future__ import annotations

import numpy as np

from embmem.agent import Action, Answer, Goal, NextAction, Question
from embmem.observation import Observation
from embmem.policies.motion import forward_progress, planar_pose

_MOVES = (Action.FORWARD, Action.LEFT, Action.RIGHT)


class RandomAgent:
    """Moves at random and stops with probability `stop` a step, as Habitat's random agent does."""

    remembers = False

    def __init__(self, stop: float = 0.005, forward: float = 0.6) -> None:
        if not (0 <= stop <= 1 and 0 <= forward <= 1):
            raise ValueError(f"need probabilities in [0, 1], got stop={stop}, forward={forward}")
        self._stop = stop
        self._weights = np.array([forward, (1 - forward) / 2, (1 - forward) / 2])
        self._rng = np.random.default_rng(0)

    def reset(self, rng: np.random.Generator) -> None:
        """Take the randomness of this session."""
        self._rng = rng

    def watch(self, observation: Observation) -> None:
        """Nothing is remembered."""

    def begin(self, goal: Goal, shortest: NextAction | None = None) -> None:
        """The goal is ignored."""

    def act(self, observation: Observation) -> Action:
        """A random action."""
        if self._rng.random() < self._stop:
            return Action.STOP
        return _MOVES[int(self._rng.choice(3, p=self._weights))]

    def answer(self, question: Question) -> Answer:
        """It does not know."""
        return Answer()


class ForwardAgent:
    """Walks straight on; where it can not, it turns to a random side by a random angle. Never stops."""

    remembers = False

    def __init__(self, forward: float = 0.25) -> None:
        if forward <= 0:
            raise ValueError(f"forward must be > 0 [m], got {forward}")
        self._forward = forward
        self._rng = np.random.default_rng(0)
        self._restart()

    def _restart(self) -> None:
        self._last: tuple[Action, np.ndarray] | None = None
        self._turns_left = 0
        self._side = Action.LEFT

    def reset(self, rng: np.random.Generator) -> None:
        """Take the randomness of this session."""
        self._rng = rng
        self._restart()

    def watch(self, observation: Observation) -> None:
        """Nothing is remembered."""

    def begin(self, goal: Goal, shortest: NextAction | None = None) -> None:
        """The goal is ignored."""
        self._restart()

    def act(self, observation: Observation) -> Action:
        """Forward, or the next turn of an evasion."""
        position, yaw, _ = planar_pose(observation.T_map_camera)
        if self._last is not None and self._last[0] is Action.FORWARD:
            progress = forward_progress(self._last[1], position, yaw)
            if progress < 0.5 * self._forward:
                self._turns_left = int(self._rng.integers(1, 7))
                self._side = _MOVES[1 + int(self._rng.integers(2))]
        action = Action.FORWARD
        if self._turns_left > 0:
            self._turns_left -= 1
            action = self._side
        self._last = (action, position)
        return action

    def answer(self, question: Question) -> Answer:
        """It does not know."""
        return Answer()
