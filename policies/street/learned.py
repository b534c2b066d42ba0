"""A trained policy with attention over what the street memory recalls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embmem.errors import InputError, import_extra
from embmem.maps.streets import Pose, StreetAction, move
from embmem.policies.street.agent import StreetInstruction, StreetView
from embmem.policies.street.memory import Parts, StreetMemory
from embmem.policies.street.tokens import MOVES, STEP_SECONDS, Walker, stacked, street_spec


class LearnedStreetAgent:
    """Takes the offered move that a network deems best; the network has learned from walks that nobody is judged by.

    A network says at every place how likely the walk ends there. The walk ends where it is likelier than `stops_at`
    that it should have ended by then: at each place alone that is hardly ever likely, as nobody knows the goal to a
    step.
    """

    def __init__(
        self,
        policy: str | Any,
        *,
        parts: Parts | None = None,
        remembers: bool = True,
        stops_at: float = 0.3,
        most: int = 54,
    ) -> None:
        """From a trained network.

        Args:
            policy: a name in `policies/learned/checkpoints`, a file, or a network.
            parts: of the memory.
            remembers: whether it keeps its memory where a task lets it.
            stops_at: chance that the goal is reached or passed, at which it stops.
            most: hops after which it stops in any case.

        Raises:
            InputError: if there is no such policy, the file is damaged, or the network is not made for streets.
            ValueError: if a setting is out of range.
        """
        if not 0 < stops_at <= 1 or most < 1:
            raise ValueError(f"stops_at must lie in (0, 1] and most be at least 1, got {stops_at}, {most}")
        self.network = _load(policy) if isinstance(policy, str) else policy
        spec = self.network.spec
        if spec != street_spec(spec.vocabulary) or not self.network.shape.points:
            raise InputError(f"{policy} is not a policy for streets: its tokens are of other kinds or sizes")
        self.memory = StreetMemory(parts or Parts())
        self.remembers, self.stops_at, self.most = remembers, stops_at, most
        self._clock = 0.0
        self.walker: Walker | None = None
        self._turned: Pose | None = None
        self._walks_on = 1.0  # chance that the goal lies ahead still
        self._kept = self.network.begin(1)

    def reset(self, rng: np.random.Generator) -> None:
        """Forget everything."""
        self.memory.clear()

    def begin(self, instruction: StreetInstruction, gold: Sequence[int] | None = None) -> None:
        """Begin with what is remembered."""
        self.walker = Walker(instruction, self.memory, self.network.spec)
        self._turned, self._walks_on, self._kept = None, 1.0, self.network.begin(1)

    def act(self, view: StreetView) -> StreetAction:
        """Remember what is seen; then one move, a turn and the step after it being two actions."""
        if self.walker is None:
            return StreetAction.STOP
        self._clock += STEP_SECONDS
        self.walker.see(view.pose, view.sightings, self._clock)
        if view.pose == self._turned:
            self._turned = None
            return StreetAction.FORWARD
        action = MOVES[self._choose(self.walker)]
        if action in (StreetAction.LEFT, StreetAction.RIGHT, StreetAction.TURN_AROUND):
            self._turned = move(self.walker.streets, view.pose, action)
        return action

    def known(self) -> list[tuple[float, float, str]]:
        """What the memory recalls for the instruction now, as (x [m], y [m], phrase)."""
        if self.walker is None:
            return []
        return [(*r.position, self.walker.task.landmarks[i][0]) for i, r, _ in self.walker.recalled]

    def _choose(self, walker: Walker) -> int:
        """A move that is offered."""
        from embmem.policies.learned.networks import as_inputs

        logits, _, self._kept = self.network.act(as_inputs(stacked([walker.tokens()])), self._kept)
        chances = logits[0].softmax(-1).numpy().astype(float)
        self._walks_on *= 1.0 - chances[0]
        if self._walks_on < 1.0 - self.stops_at or len(walker.walked) > self.most or not walker.moves():
            return 0
        return 1 + int(chances[1:].argmax())


def _load(name: str) -> Any:
    import_extra("torch", "learn")
    from embmem.policies.learned.checkpoints import SHIPPED, load_policy

    file = Path(name)
    return load_policy(file if file.suffix == ".safetensors" else SHIPPED / f"{name}.safetensors")[0]
