"""An agent that hears the turns of a route and sees nothing: what is left of a route without its nouns."""

from __future__ import annotations

import numpy as np

from embmem.agent import Action, Answer, Body, Goal, NextAction, Question
from embmem.observation import Observation
from embmem.policies.instructions.parsing import Parser, RouteReader
from embmem.policies.motion import forward_progress, planar_pose

_QUARTER = 90.0  # [degrees]


class TurnsAgent:
    """Walks straight on until it touches something, takes the next turn that was told, and stops after the last one."""

    remembers = False

    def __init__(self, *, body: Body | None = None, parser: RouteReader | None = None) -> None:
        self._body = body or Body()
        self._parser: RouteReader = parser or Parser()
        self.begin(Goal())

    def reset(self, rng: np.random.Generator) -> None:
        """Nothing is random here."""

    def watch(self, observation: Observation) -> None:
        """Nothing is remembered."""

    def begin(self, goal: Goal, shortest: NextAction | None = None) -> None:
        """Listen for turns."""
        steps = self._parser.parse(goal.instruction or "")
        self._turns = [step.turn for step in steps if step.turn in ("left", "right")]
        self._left: list[Action] = []  # actions of the turn that is being made
        self._last: np.ndarray | None = None  # (2,) [m] before the last step ahead

    def act(self, observation: Observation) -> Action:
        """Ahead, or the next bit of a turn; STOP where there is none left to take."""
        position, yaw, _ = planar_pose(observation.T_map_camera)
        if self._last is not None and forward_progress(self._last, position, yaw) < 0.5 * self._body.forward:
            if not self._turns:
                return Action.STOP
            side = Action.LEFT if self._turns.pop(0) == "left" else Action.RIGHT
            self._left = [side] * round(_QUARTER / self._body.turn)
        self._last = None
        if self._left:
            return self._left.pop()
        self._last = position
        return Action.FORWARD

    def answer(self, question: Question) -> Answer:
        """It does not know."""
        return Answer()
