"""An agent that weighs walks by words, and by where it has seen what the words mention."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from embmem.maps.streets import StreetAction
from embmem.policies.street.agent import StreetInstruction, StreetView
from embmem.policies.street.candidates import Candidates, Reach
from embmem.policies.street.memory import Parts, Recollection, StreetMemory
from embmem.policies.street.ranked import RankedStreetAgent
from embmem.policies.street.weights import RegionRankers

_SENTENCE = re.compile(r"[.!?]\s")
STEP_SECONDS = 1.0  # of the agent's own clock


class RememberingStreetAgent(RankedStreetAgent):
    """Recalls the landmarks of the instruction, plans, and plans again when it sees one of them.

    A walk gains `weight` nats for a recollection that lies on it, less with the distance from it (`spread`); for a
    landmark of the last sentence the distance counts from the walk's end. What stood at a place once is taken to
    stand there still.
    """

    def __init__(
        self,
        weights: str | RegionRankers,
        reach: Reach | None = None,
        *,
        parts: Parts | None = None,
        remembers: bool = True,
        recovers: bool = True,
        weight: float = 1.5,
        slack: float = 25.0,
        spread: float = 15.0,
    ) -> None:
        """From weights and the parts of a memory.

        Args:
            weights: see `RankedStreetAgent`.
            reach: see `RankedStreetAgent`.
            parts: of the memory.
            remembers: whether it keeps its memory where a task lets it.
            recovers: see `RankedStreetAgent`.
            weight: [nat] of a recollection.
            slack: [m] of distance that counts nothing: landmarks are named from a few steps away.
            spread: [m] beyond that at which a recollection counts less.

        Raises:
            ValueError: if a number is out of range.
        """
        if not (np.isfinite([weight, slack, spread]).all() and slack >= 0 and spread > 0):
            raise ValueError(f"need a finite weight, slack >= 0 and spread > 0, got {weight}, {slack}, {spread}")
        super().__init__(weights, reach, recovers=recovers)
        self.memory = StreetMemory(parts or Parts())
        self.remembers, self.weight, self.slack, self.spread = remembers, weight, slack, spread
        self._clock = 0.0
        self._walked: list[int] = []
        self._n_willing: int | None = None  # places walked before somebody pushed the walker; None: nobody has
        self._task: StreetInstruction | None = None
        self._found = Candidates.none()
        self._log_odds = np.zeros(0)
        self._ends: list[bool] = []
        self.n_replans = 0

    def reset(self, rng: np.random.Generator) -> None:
        """Forget everything."""
        self.memory.clear()

    def begin(self, instruction: StreetInstruction, gold: Sequence[int] | None = None) -> None:
        """Weigh all walks by words and by what is remembered already."""
        self.forget_plan()
        self._task, self.n_replans = instruction, 0
        self._found, self._log_odds = self.weigh(instruction)
        pose = instruction.start
        self._n_willing = None
        self._walked = [pose.place] if pose.previous in (-1, pose.place) else [pose.previous, pose.place]
        last = max((m.end() for m in _SENTENCE.finditer(instruction.text.rstrip())), default=0)
        self._ends = [instruction.text.lower().rfind(phrase) >= last for phrase, _ in instruction.landmarks]
        self._decide(instruction)

    def act(self, view: StreetView) -> StreetAction:
        """Remember what is seen; if it is in the instruction, think again; then go on."""
        if self._task is None:
            return StreetAction.STOP
        self.take_in(self._task, view)
        return self.go_on(view)

    def take_in(self, task: StreetInstruction, view: StreetView) -> None:
        """Remember what is seen; if it is in the instruction, think again."""
        self._clock += STEP_SECONDS
        here = task.streets.xy[view.pose.place]
        if self._expected is not None and view.pose.place != self._expected.place and self._n_willing is None:
            self._n_willing = len(self._walked)
        if view.pose.place != self._walked[-1]:
            self._walked.append(view.pose.place)
        is_news = False
        for sighting in view.sightings:
            angle = np.radians(sighting.bearing)
            position = here + sighting.distance * np.array([np.sin(angle), np.cos(angle)])
            self.memory.write(position, sighting.embedding, self._clock, here)
            is_news |= any(float(np.dot(sighting.embedding, e)) >= self.memory.parts.similar for _, e in task.landmarks)
        if is_news:
            self._decide(StreetInstruction(task.text, task.streets, view.pose, task.landmarks))

    def known(self) -> list[tuple[float, float, str]]:
        """What the memory recalls for the instruction now, as (x [m], y [m], phrase)."""
        return [(*r.position, phrase) for phrase, r in self.recalled()]

    def recalled(self) -> list[tuple[str, Recollection]]:
        """What the memory recalls for each phrase of the instruction now."""
        if self._task is None:
            return []
        here = self._task.streets.xy[self._walked[-1]]
        return [(phrase, r) for phrase, embedding in self._task.landmarks for r in self.memory.read(embedding, here)]

    def _decide(self, instruction: StreetInstruction) -> None:
        """Plan among the walks that begin with the one taken so far; those that have ended on it still have a say.

        Without them every new plan would end a little later than the one before: the goals just passed would no
        longer speak for stopping here. Where the walker was pushed says nothing of what is meant, so after a push the
        walk up to there counts.
        """
        n_walked = len(self._walked) if self._n_willing is None else self._n_willing
        kept = self._consistent(n_walked)
        if not (self._found.end[kept] >= n_walked - 1).any():
            return
        here = instruction.streets.xy[instruction.start.place]
        log_odds = self._log_odds[kept] + self._evidence(instruction, kept, here)
        self.n_replans += 1
        self.plan(instruction, self._found.only(kept), log_odds, n_walked=n_walked)

    def _consistent(self, n: int) -> np.ndarray:
        """The walks that begin with the first n places that were walked, or end on those."""
        found = self._found
        if not len(found):
            return np.zeros(0, np.int64)
        begin = found.table[:, :n]
        shared = (begin == self._walked[:n][: begin.shape[1]]).cumprod(axis=1).sum(axis=1)[found.trunk]
        return np.flatnonzero(shared >= np.minimum(found.end + 1, n))

    def _evidence(self, instruction: StreetInstruction, kept: np.ndarray, here: np.ndarray) -> Float[np.ndarray, " k"]:
        """What the recollections of the landmarks add to the log odds of the walks."""
        total = np.zeros(len(kept))
        trunk, end = self._found.trunk[kept], self._found.end[kept]
        used, row = np.unique(trunk, return_inverse=True)
        paths = instruction.streets.xy[self._found.table[used]]
        for (_, embedding), is_end in zip(instruction.landmarks, self._ends, strict=True):
            best = np.zeros(len(kept))
            for r in self.memory.read(embedding, here):
                apart = np.linalg.norm(paths - np.array(r.position), axis=2)
                if not is_end:
                    apart = np.minimum.accumulate(apart, axis=1)
                off = np.maximum(apart[row, end] - self.slack, 0.0) / self.spread
                best = np.maximum(best, r.cosine * np.exp(-0.5 * off**2))
            total += self.weight * best
        return total
