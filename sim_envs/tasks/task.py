"""What all tasks share: the rules of the game, and the session, which is the unit of work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float

from embmem.sim_envs.episodes import Episode, scene_name
from embmem.sim_envs.house import House, make_house
from embmem.sim_envs.world import World

Tour = Literal["none", "guided", "self"]

HOUSES_PER_SEED = 10_000


def house_seed(seed: int, session: int) -> int:
    """The house of a session: evaluation with seed s uses 10,000 (s + 1) and up, tuning the houses below 10,000."""
    return HOUSES_PER_SEED * (seed + 1) + session


@dataclass(frozen=True, eq=False)
class Session:
    """One house, what happens in it, and what is done there afterwards; the same for every agent."""

    index: int
    scene: str
    house: House  # during the tour
    episodes: tuple[Episode, ...] = ()
    later: House | None = None  # during the episodes, where a night lies between
    n_questions: int = 0


@dataclass(frozen=True, kw_only=True)
class Task:
    """The rules of the game; a child says by `plan` what is to be done in a house."""

    name: ClassVar[str]

    n_rooms: int = 6
    per_session: int = 10  # episodes in one house
    max_steps: int = 500  # an episode, STOP included
    success_distance: float = 0.1  # [m], geodesic, strictly below
    tour: Tour = "none"
    tour_steps_per_room: int = 100  # at most; a guided tour takes about 65
    keeps_memory: bool = False  # from episode to episode; a remembering agent starts afresh otherwise
    night_hours: float = 8.0
    min_path: float = 2.0  # [m], shortest path of an episode
    max_path: float = 30.0  # [m]

    def __post_init__(self) -> None:
        if self.n_rooms < 1 or self.per_session < 1 or self.max_steps < 1 or self.success_distance <= 0:
            raise ValueError(f"need n_rooms, per_session, max_steps >= 1 and success_distance > 0, got {self}")
        if self.tour not in ("none", "guided", "self") or self.tour_steps_per_room < 0:
            raise ValueError(f"tour must be none, guided or self and tour_steps_per_room >= 0, got {self}")
        if not 0 <= self.min_path < self.max_path:
            raise ValueError(f"need 0 <= min_path < max_path, got {self.min_path}, {self.max_path}")

    @property
    def tour_steps(self) -> int:
        """The most steps that a guided tour may and a self-made tour must take, unless its agent stops."""
        return self.tour_steps_per_room * self.n_rooms

    def house(self, seed: int, index: int) -> House:
        """The house of session number `index` in a run with that seed."""
        return make_house(house_seed(seed, index), self.n_rooms)

    def plan(self, world: World, house: House, index: int, n: int, rng: np.random.Generator) -> Session:
        """Session number `index` with `n` episodes in `house`, where `world` stands.

        The world may be used (placed, changed) while planning; it stands in `house` again afterwards.

        Raises:
            EmbmemError: if the house is too small for the rules.
        """
        return Session(index, scene_name(house.seed, self.n_rooms), house)

    def measure(
        self, world: World, episode: Episode, path: Float[np.ndarray, "n 2"], *, stop_called: bool
    ) -> dict[str, Any]:
        """What a row holds beyond the scores that all tasks share, of the positions [m] that the body came through."""
        return {}
