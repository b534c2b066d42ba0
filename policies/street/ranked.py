"""An agent that reads an instruction on the map: it weighs all walks, and walks the one that most likely completes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float

from embmem.maps.streets import Pose, StreetAction, StreetMap, actions_along, move, validated
from embmem.policies.street.agent import StreetInstruction, StreetView
from embmem.policies.street.candidates import Candidates, Reach, candidates
from embmem.policies.street.features import featurise
from embmem.policies.street.weights import RegionRankers, load_rankers
from embmem.policies.street.words import parse

WEIGHTS = Path(__file__).parent / "weights"


class RankedStreetAgent:
    """Plans once, before the first step, from words and map alone; there is nothing that it would see on the way."""

    def __init__(self, weights: str | RegionRankers, reach: Reach | None = None, *, recovers: bool = True) -> None:
        """From weights.

        Args:
            weights: a name in `policies/street/weights`, a file, or rankers.
            reach: which walks count; by default what the weights were fitted with.
            recovers: whether it goes the shortest way to its end when it finds itself off its way.
        """
        self._rankers = load_weights(weights) if isinstance(weights, str) else weights
        self.reach = reach or self._rankers.reach
        self.recovers = recovers
        self._actions: list[StreetAction]
        self._streets: StreetMap | None
        self._end: int  # where the plan leads
        self._expected: Pose | None
        self.forget_plan()

    def reset(self, rng: np.random.Generator) -> None:
        """There is nothing to forget."""

    def begin(self, instruction: StreetInstruction, gold: Sequence[int] | None = None) -> None:
        """Weigh all walks and plan the best."""
        self.forget_plan()
        found, log_odds = self.weigh(instruction)
        self.plan(instruction, found, log_odds)

    def forget_plan(self) -> None:
        """Nothing is planned, and nothing expected: what came of the instruction before does not matter any more."""
        self._actions, self._streets, self._end, self._expected = [], None, -1, None

    def weigh(self, instruction: StreetInstruction) -> tuple[Candidates, Float[np.ndarray, " n"]]:
        """All walks with their log probabilities; agents with the same weights share the work on one instruction."""
        return _weighed(self._rankers, instruction.streets, instruction.start, instruction.text, self.reach)

    def plan(
        self, instruction: StreetInstruction, found: Candidates, log_odds: Float[np.ndarray, " n"], n_walked: int = 1
    ) -> None:
        """Take the walk that most likely completes the task; none to choose from means to stop at once.

        Args:
            instruction: its start is where the walker stands; from beside the walk it goes the shortest way to its end.
            found: the walks.
            log_odds: of each.
            n_walked: places that have been walked already; walks that end before are not taken.
        """
        if not len(found):
            self._actions = [StreetAction.STOP]
            return
        path = found.path(best_walk(instruction.streets, found, log_odds, n_walked - 1))
        pose, self._streets, self._end = instruction.start, instruction.streets, path[-1]
        self._actions = [StreetAction.STOP]
        if pose.place in path:
            self._actions = actions_along(instruction.streets, pose, path[path.index(pose.place) :])
        else:
            self.rejoin(instruction.streets, pose)

    def act(self, view: StreetView) -> StreetAction:
        """The next action of the plan."""
        return self.go_on(view)

    def go_on(self, view: StreetView) -> StreetAction:
        """The next action of the plan, or of the shortest way to its end for who is off it and recovers."""
        if self._streets is None:
            return StreetAction.STOP
        if self.recovers and self._expected is not None and view.pose.place != self._expected.place:
            self.rejoin(self._streets, view.pose)
        action = self._actions.pop(0) if self._actions else StreetAction.STOP
        self._expected = move(self._streets, view.pose, validated(self._streets, view.pose.place, action))
        return action

    def rejoin(self, streets: StreetMap, pose: Pose) -> None:
        """Plan the shortest way from a pose to the end of the plan, if there is one."""
        way = streets.way(pose.place, self._end) if self._end >= 0 else None
        if way is not None:
            self._actions = actions_along(streets, pose, way)


@lru_cache(maxsize=256)
def _weighed(
    rankers: RegionRankers, streets: StreetMap, pose: Pose, text: str, reach: Reach
) -> tuple[Candidates, Float[np.ndarray, " n"]]:
    """All walks from a pose with their log probabilities under a text; nobody may change them."""
    found = candidates(streets, pose, reach)
    if not len(found):
        return found, np.zeros(0)
    program = parse(text)
    features = featurise(streets, program, found, pose.heading)
    log_odds = rankers.of(streets.xy[found.trunks[0][0]]).scores(features, text, program)
    log_odds.flags.writeable = False
    return found, log_odds


def load_weights(name: str) -> RegionRankers:
    """Weights by their name in the package, or from a file.

    Raises:
        InputError: if there are none, or the file is malformed.
    """
    file = Path(name)
    return load_rankers(file if file.suffix == ".safetensors" else WEIGHTS / f"{name}.safetensors")


def best_walk(streets: StreetMap, found: Candidates, log_odds: Float[np.ndarray, " n"], least: int = 0) -> int:
    """The walk with the highest chance to end at the goal or next to it, which is what task completion asks.

    Chances of walks with the same end add up; of walks to the best end the likeliest is taken, of equal ones the first.
    Walks of fewer than `least` hops are not taken, but what they say of the goal counts.
    """
    odds = np.exp(log_odds - log_odds.max())
    places, of = np.unique(found.last, return_inverse=True)
    mass = np.bincount(of, odds)
    first, neighbours = streets.undirected
    n_near = first[places + 1] - first[places]
    owner = np.repeat(np.arange(len(places)), n_near)
    near = neighbours[np.arange(len(owner)) + np.repeat(first[places] - np.cumsum(n_near) + n_near, n_near)]
    at = np.minimum(np.searchsorted(places, near), len(places) - 1)
    is_end = places[at] == near
    completes = mass + np.bincount(owner[is_end], mass[at[is_end]], len(places))
    completes[np.bincount(of, found.end >= least) == 0] = -1.0
    there = np.flatnonzero((of == int(completes.argmax())) & (found.end >= least))
    return int(there[odds[there].argmax()])
