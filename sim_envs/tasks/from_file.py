"""Episodes from a Habitat file, in houses that the file names."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from embmem.errors import InputError
from embmem.sim_envs.episode_files import read_episodes
from embmem.sim_envs.episodes import Episode, parse_scene
from embmem.sim_envs.house import House, make_house, night
from embmem.sim_envs.tasks.task import Session, Task
from embmem.sim_envs.world import World

log = logging.getLogger(__name__)

SAME_LENGTH = 0.05  # share by which two shortest paths may differ before one of the worlds must be another


@dataclass(frozen=True, kw_only=True)
class FromFile(Task):
    """PointNav or ObjectNav episodes as `embmem episodes` (or anybody) wrote them, one a session, in the file's order.

    The houses come from the scenes' names, so the seed decides the sensors' mistakes only and `n_rooms` nothing.

    Raises:
        InputError: if the file is missing or malformed, or names a scene that is not one of our houses.
    """

    name: ClassVar[str] = "from_file"

    path: str
    per_session: int = 1
    episodes: tuple[Episode, ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.per_session != 1:
            raise ValueError(f"a session of a file is one episode, got per_session={self.per_session}")
        episodes = read_episodes(Path(self.path))
        for episode in episodes:
            parse_scene(episode.scene)
        object.__setattr__(self, "episodes", tuple(episodes))

    def house(self, seed: int, index: int) -> House:
        """The house of episode number `index`; the seed of the run does not matter.

        Raises:
            InputError: if the file holds fewer episodes.
        """
        if index >= len(self.episodes):
            raise InputError(f"{self.path} holds {len(self.episodes)} episodes, not {index + 1}: set episodes=")
        house_seed, n_rooms, night_seed = parse_scene(self.episodes[index].scene)
        house = make_house(house_seed, n_rooms)
        return house if night_seed is None else night(house, np.random.default_rng(night_seed))[0]

    def plan(self, world: World, house: House, index: int, n: int, rng: np.random.Generator) -> Session:
        """The episode, with the shortest path that this world measures; the file's own is kept in `info`."""
        episode = self.episodes[index]
        points = episode.targets[0].view_points()[:, :2]
        shortest = float(world.navmesh.distances(episode.start[None, :2], points)[0])
        told = episode.shortest_path
        if np.isfinite(told) and abs(shortest - told) > SAME_LENGTH * told:
            log.warning("%s: episode %d is %.2f m long here, %.2f m in the file", self.path, index, shortest, told)
        info = {**episode.info, "shortest_path_in_file": told if np.isfinite(told) else None}
        return Session(index, episode.scene, house, (replace(episode, shortest_path=shortest, info=info),))
