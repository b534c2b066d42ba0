"""What a driver of a robot is told and what it tells, so that a node can drive without knowing how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int8


@dataclass(frozen=True, eq=False)
class Grid:
    """An occupancy grid; nobody writes its cells any more."""

    cells: Int8[np.ndarray, "h w"]  # -1 unknown, else 0 free to 100 occupied; row 0 is the lowest y
    origin: Float[np.ndarray, "2"]  # x, y [m] of the corner of cell (0, 0)
    resolution: float  # edge of a cell [m]


@dataclass(frozen=True, eq=False)
class Target:
    """What to drive to: a place to stand on, or a thing to stand in front of."""

    position: Float[np.ndarray, "2"]  # [m], frame of the grid
    heading: float | None = None  # [rad] at the end
    is_thing: bool = False
    size: float = 0.0  # [m] longer edge of a thing
    tolerance: float = 0.25  # [m] from the position; of a thing: from its edge


@dataclass(frozen=True, eq=False)
class Way:
    """A line of points from the robot to where it will stand."""

    path: Float[np.ndarray, "k 2"]  # [m]
    heading: float | None  # [rad] at the end


@dataclass(frozen=True)
class Move:
    """What the wheels should do now."""

    speed: float  # [m/s] ahead
    turn: float  # [rad/s] to the left
    remaining: float  # [m] of the way
    has_arrived: bool = False
    is_blocked: bool = False  # something that the grid knows is in the way; then the wheels stand


@runtime_checkable
class Driver(Protocol):
    """Plans on grids and follows what it has planned. `travel` and `way` may be called by another thread."""

    def travel(self, grid: Grid, robot: Float[np.ndarray, "2"], targets: Sequence[Target]) -> list[float]:
        """How far [m], or worse, it is to each target; inf where no way leads."""

    def way(self, grid: Grid, robot: Float[np.ndarray, "2"], target: Target) -> Way | None:
        """The way to a target; None if there is none."""

    def follow(self, way: Way | None) -> None:
        """Take this way from now on; None: forget it, and stand."""

    def move(self, grid: Grid, pose: tuple[float, float, float], dt: float) -> Move:
        """What to do for the next `dt` [s] with the robot at x, y [m], yaw [rad]."""


@dataclass(frozen=True)
class Stop:
    """One place of several that words name in their order."""

    words: str  # as a memory is asked for them


@runtime_checkable
class StopReader(Protocol):
    """Whoever makes places to go to of words. It may take long: it is called by a thread of its own."""

    def read(self, words: str) -> tuple[Stop, ...]:
        """The places in the order of the words; none where nothing was understood."""
