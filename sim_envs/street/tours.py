"""Streets with landmarks to see (E4), a persistent tour through them (E5), and wrong turns that nobody wanted (E7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from embmem.maps.streets import Pose, StreetMap
from embmem.policies.street.agent import Sighting, StreetAgent
from embmem.sim_envs.sessions import AGENT, EPISODE, PLAN, stream
from embmem.sim_envs.street.episodes import StreetEpisode, read_split
from embmem.sim_envs.street.files import read_streets
from embmem.sim_envs.street.landmarks import LandmarkWorld, embed, mentions, place_landmarks
from embmem.sim_envs.street.perception import Perception
from embmem.sim_envs.street.task import FollowInstructions, street_folder
from embmem.sim_envs.street.walk import Rules, walk

GROUP = 50  # episodes of a tour that are shown as one point


@dataclass(frozen=True, kw_only=True)
class LandmarkTour(FollowInstructions):
    """Episodes in a world of noisy landmarks; a session is a tour through `per_session` of them in an order of its own.

    With `keeps_memory` an agent that remembers begins a tour with nothing and keeps what it learns to its end; else,
    and for one that does not remember, every episode begins with nothing. Instructions of one route come one after
    the other, so that a tour meets every route in one place of its order only.
    """

    name: str = "street_tour"
    per_session: int = 100
    keeps_memory: bool = False
    n_shoves: int = 0  # junctions an episode at which the walker is pushed into another street
    perception: Perception = field(default_factory=Perception)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_shoves < 0:
            raise ValueError(f"n_shoves must be 0 or more, got {self.n_shoves}")

    def play(
        self,
        agents: Mapping[str, StreetAgent],
        *,
        seed: int,
        index: int,
        n: int,
        on_row: Callable[[dict[str, Any]], None],
    ) -> list[dict[str, Any]]:
        """The rows of tour number `index`."""
        streets, episodes = self.load()
        world = _world(street_folder(self.folder), self.split, seed)
        tour = in_groups(episodes, stream(seed, index, PLAN))[:n]
        if len(tour) < n:
            raise ValueError(f"{self.split} has {len(episodes)} episodes, asked for a tour of {n}")
        rows = []
        for name, agent in agents.items():
            keeps = self.keeps_memory and bool(getattr(agent, "remembers", False))
            for i, episode in enumerate(tour):
                if i == 0 or not keeps:
                    agent.reset(stream(seed, index, AGENT, i))
                row = self._walk(streets, world, episode, agent, seed)
                rows.append(
                    {"agent": name, "task": self.name, "session": index, "episode": i, "index": i // GROUP, **row}
                )
                on_row(rows[-1])
        return rows

    def _walk(
        self, streets: StreetMap, world: LandmarkWorld, episode: StreetEpisode, agent: StreetAgent, seed: int
    ) -> dict[str, Any]:
        """One episode; what is seen at a place is the same for every agent that comes there with the same goal."""
        entropy = [seed, int.from_bytes(f"{episode.split}/{episode.id}".encode()[-8:], "little")]
        visits: dict[int, int] = {}

        def sense(pose: Pose) -> tuple[Sighting, ...]:
            visits[pose.place] = visits.get(pose.place, -1) + 1
            rng = np.random.default_rng([*entropy, pose.place, visits[pose.place]])
            return self.perception.see(streets, world, pose, rng)

        phrases = dict.fromkeys(mention.phrase for mention in mentions(episode.text))
        shoves = np.random.default_rng([*entropy, EPISODE]) if self.n_shoves else None
        row = walk(
            streets,
            episode,
            agent,
            Rules(self.max_steps, self.n_shoves),
            sense=sense,
            landmarks=tuple((phrase, embed(phrase)) for phrase in phrases),
            shoves=shoves,
        )
        memory = getattr(agent, "memory", None)
        if memory is None:
            return row
        known = [[round(x, 1), round(y, 1), phrase] for x, y, phrase in agent.known()]  # type: ignore[attr-defined]
        return {**row, "memory": memory.stats(), "known": known}


def in_groups(episodes: tuple[StreetEpisode, ...], rng: np.random.Generator) -> list[StreetEpisode]:
    """The episodes in a shuffled order, those of one route together."""
    groups: dict[tuple[int, ...], list[StreetEpisode]] = {}
    for episode in episodes:
        groups.setdefault(episode.route, []).append(episode)
    routes = list(groups.values())
    return [episode for i in rng.permutation(len(routes)) for episode in routes[i]]


@lru_cache(maxsize=4)
def _world(folder: Path, split: str, seed: int) -> LandmarkWorld:
    streets = read_streets(folder / "graph")
    return place_landmarks(streets, read_split(folder, split, streets), np.random.default_rng(seed))
