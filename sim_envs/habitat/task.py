"""Episodes of other people's datasets in other people's scenes, as a task of `embmem eval`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from embmem.agent import Agent, Body
from embmem.errors import InputError
from embmem.observation import Intrinsics
from embmem.sim_envs.episode_files import DATASET, read_episodes
from embmem.sim_envs.episodes import Episode
from embmem.sim_envs.habitat.missing import import_habitat
from embmem.sim_envs.habitat.rollout import Rules, run_habitat_episode
from embmem.sim_envs.habitat.simulator import HabitatScene, SceneSettings
from embmem.sim_envs.rollout import Clock
from embmem.sim_envs.sessions import AGENT, stream

log = logging.getLogger(__name__)

PREFIX = "data/scene_datasets/"
_OPEN: dict[SceneSettings, HabitatScene] = {}  # the last scene: opening one takes seconds


@dataclass(frozen=True, kw_only=True)
class HabitatEpisodes:
    """PointNav, ImageNav, ObjectNav, InstanceImageNav or VLN-CE episodes of a `{split}.json.gz` in habitat-sim.

    Args:
        path: of the file; a `content` folder beside it is read, too.
        scenes: folder that the scenes' names in the file are relative to.
        dataset: scene dataset configuration; null takes what each episode names, if anything.

    Raises:
        MissingExtraError: if habitat_sim is not installed.
        InputError: if the file is missing or malformed.
        ValueError: if a number is out of range.
    """

    name: str = "habitat_pointnav"
    path: str
    scenes: str = "."
    dataset: str | None = None
    per_session: int = 1
    rules: Rules = field(default_factory=Rules)
    intrinsics: Intrinsics
    body: Body
    semantic: bool = True
    allow_sliding: bool = True
    gpu: int | None = None

    def __post_init__(self) -> None:
        if self.per_session < 1 or self.rules.max_steps < 1 or not self.rules.success_distance > 0:
            raise ValueError(f"need per_session and max_steps >= 1 and success_distance > 0, got {self}")
        import_habitat()
        self.episodes()

    def episodes(self) -> list[Episode]:
        """All episodes, in the order of the file."""
        return _episodes(self.path)

    def settings(self, episode: Episode) -> SceneSettings:
        """What to open for an episode.

        Raises:
            InputError: if its scene is not there; a name that a scene dataset knows need not be a file.
        """
        named = episode.info.get(DATASET)
        dataset = self.dataset or _found(Path(self.scenes), named)
        if named is not None and dataset is None:
            log.warning("%s is not in %s: its scenes have no semantics", named, self.scenes)
        scene = _found(Path(self.scenes), episode.scene)
        if scene is None and dataset is None:
            raise InputError(
                f"{self.path}: scene {episode.scene} is not in {self.scenes}; set task.scenes or task.dataset"
            )
        return SceneSettings(
            scene=scene or episode.scene,
            dataset=dataset,
            intrinsics=self.intrinsics,
            body=self.body,
            sensors=("rgb", "depth", "semantic") if self.semantic else ("rgb", "depth"),
            allow_sliding=self.allow_sliding,
            gpu=self.gpu,
        )

    def play(
        self,
        agents: Mapping[str, Agent],
        *,
        seed: int,
        index: int,
        n: int,
        on_row: Callable[[dict[str, Any]], None],
    ) -> list[dict[str, Any]]:
        """The rows of a session: episodes `index * per_session` and on, in the order of the file."""
        begin = index * self.per_session
        episodes = self.episodes()
        if begin + n > len(episodes):
            raise InputError(f"{self.path} holds {len(episodes)} episodes, not {begin + n}: set episodes=")
        rows = []
        for name, agent in agents.items():
            for i, episode in enumerate(episodes[begin : begin + n]):
                agent.reset(stream(seed, index, AGENT, i))
                clock = Clock()
                row = run_habitat_episode(_scene(self.settings(episode)), agent, episode, self.rules, clock=clock)
                names = {"agent": name, "task": self.name, "session": index, "episode": i, "scene": episode.scene}
                rows.append({**names, "episode_id": episode.id, **row, "seconds": clock.seconds})
                on_row(rows[-1])
        return rows


@lru_cache(maxsize=1)
def _episodes(path: str) -> list[Episode]:
    return read_episodes(Path(path))


def _found(folder: Path, name: str | None) -> str | None:
    """The file of that name in `folder` or here; datasets begin their names with the folder of habitat-lab's data."""
    if name is None:
        return None
    short = name.removeprefix("./").removeprefix(PREFIX)
    return next((str(p) for p in (folder / short, folder / name, Path(name)) if p.is_file()), None)


def _scene(settings: SceneSettings) -> HabitatScene:
    """The scene, still open if it was the last one."""
    if settings not in _OPEN:
        close_scene()
        _OPEN[settings] = HabitatScene(settings)
    return _OPEN[settings]


def close_scene() -> None:
    """Close the scene that was kept open for the next episode."""
    while _OPEN:
        _OPEN.popitem()[1].close()
