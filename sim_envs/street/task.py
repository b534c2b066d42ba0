"""Following instructions on the streets, as tasks of `embmem eval`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embmem.errors import InputError
from embmem.maps.streets import StreetMap
from embmem.policies.street.agent import StreetAgent
from embmem.sim_envs.sessions import AGENT, stream
from embmem.sim_envs.street.episodes import SPLITS, StreetEpisode, read_split
from embmem.sim_envs.street.files import read_streets
from embmem.sim_envs.street.walk import Rules, walk

DATA = "EMBMEM_DATA_DIR"


def street_folder(folder: str | None) -> Path:
    """Where the street data lie: what is given, else `street` in the folder that EMBMEM_DATA_DIR names.

    Raises:
        InputError: if neither is known.
    """
    if folder is not None:
        return Path(folder)
    if DATA not in os.environ:
        raise InputError(f"the street data are not in this package: set {DATA} or task.folder, see docs/streets.md")
    return Path(os.environ[DATA]) / "street"


@dataclass(frozen=True, kw_only=True)
class FollowInstructions:
    """Every episode of a split, each on its own (E2, E3)."""

    name: str = "street_instructions"
    split: str = "map2seq_unseen"
    max_steps: int = 55  # an episode, free steps included; null: as many as the agent likes
    per_session: int = 1  # nothing is shared between episodes, so each is its own unit of the bootstrap
    folder: str | None = None  # of the data

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {self.split!r}")
        if self.max_steps < 1 or self.per_session < 1:
            raise ValueError(f"need max_steps, per_session >= 1, got {self.max_steps}, {self.per_session}")

    def load(self) -> tuple[StreetMap, tuple[StreetEpisode, ...]]:
        """The map and the episodes of the split."""
        folder = street_folder(self.folder)
        streets = read_streets(folder / "graph")
        return streets, read_split(folder, self.split, streets)

    def play(
        self,
        agents: Mapping[str, StreetAgent],
        *,
        seed: int,
        index: int,
        n: int,
        on_row: Callable[[dict[str, Any]], None],
    ) -> list[dict[str, Any]]:
        """The rows of a session: episodes `index * per_session` and on, in the order of the file."""
        streets, episodes = self.load()
        begin = index * self.per_session
        if begin + n > len(episodes):
            raise ValueError(f"{self.split} has {len(episodes)} episodes, asked for number {begin + n}")
        rows = []
        for name, agent in agents.items():
            for i, episode in enumerate(episodes[begin : begin + n]):
                agent.reset(stream(seed, index, AGENT, i))
                row = walk(streets, episode, agent, Rules(self.max_steps))
                rows.append({"agent": name, "task": self.name, "session": index, "episode": i, **row})
                on_row(rows[-1])
        return rows
