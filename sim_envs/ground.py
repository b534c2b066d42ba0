"""The floor as worlds show it to tasks: where a body may stand, how it moves, how far things are."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int


@runtime_checkable
class GoalDistances(Protocol):
    """Distances to the nearest of some goals, for asking again and again."""

    def distances(self, starts: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, " n"]:
        """Length [m] of the shortest path of each start; inf where it is blocked or no goal can be reached."""


@runtime_checkable
class Ground(Protocol):
    """Free space of a body in the `map` frame [m]: `navmesh.NavMesh`, or Habitat's navigation mesh."""

    def is_free(self, points: Float[np.ndarray, "n 2"]) -> Bool[np.ndarray, " n"]:
        """Whether the body fits at each point; NaN is nowhere."""

    def steps(
        self, position: Float[np.ndarray, "2"], deltas: Float[np.ndarray, "k 2"]
    ) -> tuple[Float[np.ndarray, "k 2"], Bool[np.ndarray, " k"]]:
        """(positions, collided) after each of several alternative moves from one position."""

    def field(self, goals: Float[np.ndarray, "m 2"]) -> GoalDistances:
        """Distances to the nearest of `goals`."""

    def distances(self, starts: Float[np.ndarray, "n 2"], goals: Float[np.ndarray, "m 2"]) -> Float[np.ndarray, " n"]:
        """Geodesic distance [m] of each start to its nearest goal; inf if blocked or out of reach."""

    def path(self, start: Float[np.ndarray, "2"], goals: Float[np.ndarray, "m 2"]) -> Float[np.ndarray, "k 2"]:
        """The shortest polyline from `start` to its nearest goal, both included; empty if there is none."""

    def island(self, points: Float[np.ndarray, "n 2"]) -> Int[np.ndarray, " n"]:
        """Number of the connected part of free space that each point is in, the largest is 1; 0 if it is blocked."""

    def sample(
        self, rng: np.random.Generator, island_of: Float[np.ndarray, "2"] | None = None
    ) -> Float[np.ndarray, "2"]:
        """A free point, uniform over the largest island or over the island of a given free point."""
