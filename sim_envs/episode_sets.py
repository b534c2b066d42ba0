"""Episodes of a task as a Habitat file, for other programs or for `task=from_file`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from embmem.errors import InputError, OutputExistsError
from embmem.sim_envs.episode_files import write_episodes
from embmem.sim_envs.episodes import Episode
from embmem.sim_envs.sessions import plan_session
from embmem.sim_envs.tasks.task import Task
from embmem.sim_envs.world import World


def write_episode_set(
    task: Task,
    world: Callable[..., World],
    episodes: int,
    seed: int,
    out: str | Path,
    *,
    overwrite: bool = False,
    on_episode: Callable[[], None] = lambda: None,
) -> list[Episode]:
    """The episodes that `embmem eval` would run with that task and seed, written to `out` (.json.gz).

    Raises:
        OutputExistsError: if `out` exists and `overwrite` is not set.
        InputError: if the folder of `out` does not exist.
        ValueError: if Habitat's form cannot hold the task: several goals, a tour or a night before, or questions.
    """
    path = Path(out)
    if path.exists() and not overwrite:
        raise OutputExistsError(f"{path} exists; choose another name or set overwrite=true")
    if not path.parent.is_dir():
        raise InputError(f"{path.parent} is not a folder; create it first")
    if task.tour != "none":
        raise ValueError(f"Habitat's form holds no tours, so no {task.name} with one; set task.tour=none")
    found: list[Episode] = []
    while len(found) < episodes:
        index, n = len(found) // task.per_session, min(task.per_session, episodes - len(found))
        place, session = plan_session(task, world, seed=seed, index=index, n=n)
        place.close()
        for episode in session.episodes:
            found.append(episode)
            on_episode()
    write_episodes(path, found, overwrite=overwrite)
    return found
