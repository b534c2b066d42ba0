"""Where the robot's world frame lies in the memory: known from the start, trusted, found again, or not known.

A robot that was switched off may stand anywhere, and its odometry begins anew. So nothing is mapped into a memory that
was taken up again until the frame of the poses is known in it: a frame that is mapped in the wrong place is never
found out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from embmem.building.keyframes import Keyframes
from embmem.geometry import invert_pose
from embmem.memory import Memory
from embmem.observation import Observation
from embmem.occupancy import find_occupancy
from embmem.protocols import PoseCorrector
from embmem.ros.outgoing.parts import Fields, header, pose

UNKNOWN, BEGAN, TRUSTED, FOUND = 0, 1, 2, 3  # of embmem_msgs/Localisation
LEAST_FRAMES = 6  # before the first look at the map ...
MORE_FRAMES = 4  # ... and between two
MOST_FRAMES = 40  # that are looked at together
APART, TURNED = 0.15, 0.2  # [m], [rad] between two of them


@runtime_checkable
class Relocalisation(Protocol):
    """What looking at the map gave; see `embmem.maps.relocalise`."""

    T_map_session: np.ndarray
    score: float
    is_accepted: bool
    why: str


@runtime_checkable
class Relocaliser(Protocol):
    """Finds sessions in one map."""

    def locate(self, frames: Sequence[Observation]) -> Any:
        """Where the session of these frames lies in the map."""


@dataclass(frozen=True, eq=False)
class Localisation:
    """Whether the robot's place in the memory is known."""

    state: int
    why: str
    T_map_world: Float[np.ndarray, "4 4"] = field(default_factory=lambda: np.eye(4))
    score: float = math.nan
    n_tries: int = 0

    @property
    def is_known(self) -> bool:
        """Whether poses can be taken to the map."""
        return self.state != UNKNOWN

    def fields(self, stamp_ns: int, map_frame: str, world_frame: str) -> Fields:
        """An embmem_msgs/Localisation."""
        return {
            "header": header(stamp_ns, map_frame), "state": self.state, "why": self.why,
            "world": pose(self.T_map_world), "world_frame": world_frame, "score": self.score, "n_tries": self.n_tries,
        }  # fmt: skip


class Localiser:
    """Knows, or finds out, where the world frame lies in the memory. `now` may be read by any thread.

    Args:
        relocaliser: makes one of a map.
    """

    def __init__(self, relocaliser: Callable[[Any], Relocaliser]) -> None:
        self._make = relocaliser
        self.now = Localisation(UNKNOWN, "no memory yet")
        self._begin()

    def _begin(self) -> None:
        self._frames: list[Observation] = []
        self._keyframes = Keyframes(distance=APART, angle=TURNED)
        self._n_at_last_look = 0
        self._relocaliser: Relocaliser | None = None

    def take_up(self, *, is_fresh: bool, is_trusted: bool) -> None:
        """A memory was begun or taken up, or the world frame may have moved."""
        self._begin()
        if is_trusted:
            self.now = Localisation(TRUSTED, "the frame of the poses is trusted to be the same in every session")
        elif is_fresh:
            self.now = Localisation(BEGAN, "this session began the memory")
        else:
            self.now = Localisation(UNKNOWN, "the memory was taken up again; the robot has not been found in it yet")

    def to_map(self, memory: Memory) -> Float[np.ndarray, "4 4"]:
        """What poses in the world are multiplied with before the memory sees them.

        A pose graph corrects all that it is given by what it knew of the drift of the session before; that is taken out
        where the robot was found anew.
        """
        if self.now.state != FOUND:
            return self.now.T_map_world
        corrector = next((layer for layer in memory.layers if isinstance(layer, PoseCorrector)), None)
        if corrector is None:
            return self.now.T_map_world
        return np.asarray(self._uncorrected @ self.now.T_map_world)

    def look(self, observations: Sequence[Observation], memory: Memory) -> bool:
        """Keep what a frame shows, posed in the world, and look for it in the map now and then; whether it was found.

        Raises:
            InputError: if the memory has no map to look in.
        """
        for observation in observations:
            if observation.depth is not None and self._keyframes.keep(observation.T_map_camera):
                self._frames.append(observation)
        del self._frames[:-MOST_FRAMES]
        n = len(self._frames)
        wanted = LEAST_FRAMES if not self._n_at_last_look else min(self._n_at_last_look + MORE_FRAMES, MOST_FRAMES)
        if n < wanted or (n == MOST_FRAMES == self._n_at_last_look and not self._is_renewed(n)):
            return False
        self._n_at_last_look, self._last = n, self._frames[-1]
        if self._relocaliser is None:
            self._relocaliser = self._make(find_occupancy(memory))
        try:
            found: Relocalisation = self._relocaliser.locate(self._frames)
        except ValueError as error:  # map and session are too large to search
            self.now = replace(self.now, why=f"not found: {error}", n_tries=self.now.n_tries + 1)
            return False
        n_tries = self.now.n_tries + 1
        if not found.is_accepted:
            self.now = replace(self.now, why=f"not found yet: {found.why}", n_tries=n_tries)
            return False
        self.now = Localisation(FOUND, found.why, np.asarray(found.T_map_session), float(found.score), n_tries)
        corrector = next((layer for layer in memory.layers if isinstance(layer, PoseCorrector)), None)
        self._uncorrected = np.eye(4) if corrector is None else invert_pose(corrector.T_map_odom)
        self._frames, self._relocaliser = [], None
        return True

    def _is_renewed(self, n: int) -> bool:
        """Whether so many of the frames are new since the last look that another is worth its time."""
        last = self._last
        return all(frame is not last for frame in self._frames[n - MORE_FRAMES :])
