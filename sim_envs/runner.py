"""Evaluation: all sessions of a task for some agents, on any number of workers, resumable, with one log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from embmem.sim_envs.run_folder import Row, RunFolder
from embmem.sim_envs.sessions import MakeWorld, run_session
from embmem.sim_envs.strips import Strip
from embmem.sim_envs.tasks.own_world import OwnWorld
from embmem.sim_envs.tasks.task import Task
from embmem.sim_envs.workers import run_jobs

log = logging.getLogger(__name__)

STRIP_SESSIONS = 2  # sessions of which first-person pictures are kept


def evaluate(config: Mapping[str, Any], out: Path, *, workers: int = 1, console: Console | None = None) -> list[Row]:
    """The rows of a whole run, ordered by session, agent and episode; sessions that `out` has are not run again.

    Args:
        config: plain values: `task`, `world` and `noise` as Hydra targets, `agents` by name, `episodes` for each
            agent, `seed`, and `strips`.
        out: folder of the run.
        workers: processes; 0 works in this one. The rows do not depend on it.
        console: where progress is shown; nowhere by default.

    Raises:
        OutputExistsError: if `out` is taken by something else.
        EmbmemError: if a session fails; what is finished stays in `out`.
    """
    if config["episodes"] < 1 or not config["agents"] or workers < 0:
        raise ValueError(
            f"need episodes >= 1, at least one agent and workers >= 0, got episodes={config['episodes']}, "
            f"agents={list(config['agents'])}, workers={workers}"
        )
    task, *_ = _instantiate(config)  # all of it, so that a wrong setting is refused before anything is written
    folder = RunFolder(out, config)
    n_sessions = -(-config["episodes"] // task.per_session)
    done = folder.finished()
    jobs = [i for i in range(n_sessions) if i not in done]
    payload = {"config": dict(config), "out": str(out)}
    console = console or Console(quiet=True)
    n_rows = config["episodes"] * len(config["agents"])
    try:
        with _progress(console, n_rows, sum(len(rows) for rows in done.values())) as advance:
            run_jobs(work_session, payload, jobs, workers, on_result=folder.add, on_message=advance)
    except KeyboardInterrupt:
        console.print(
            f"{len(folder.finished())} of {n_sessions} sessions are kept in {out}; the same command goes on from there"
        )
        raise
    return folder.close()


@contextmanager
def _progress(console: Console, total: int, done: int) -> Iterator[Callable[[int, Any], None]]:
    """A bar over all rows; yields what takes (session, its rows so far). A session that starts again falls back."""
    rows: dict[int, int] = {}
    columns = (TextColumn("episodes"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("episodes", total=total, completed=done)

        def advance(session: int, n: int) -> None:
            rows[session] = n
            progress.update(bar, completed=done + sum(rows.values()))

        yield advance


def make_task(config: Mapping[str, Any]) -> Task | OwnWorld:
    """The task of a configuration."""
    from hydra.utils import instantiate

    task: Task | OwnWorld = instantiate(config["task"])
    return task


def _instantiate(config: Mapping[str, Any]) -> tuple[Task | OwnWorld, dict[str, Any], MakeWorld | None]:
    """The task, the agents by name and the maker of worlds of a configuration; None where the task brings its own."""
    from hydra.utils import instantiate

    agents = {name: instantiate(agent) for name, agent in config["agents"].items()}
    if config.get("world") is None:
        return make_task(config), agents, None
    noise = {name: instantiate(part) for name, part in config["noise"].items()}
    make_world = partial(instantiate(config["world"]), noise=noise.get("camera"), detector=noise.get("detector"))
    return make_task(config), agents, make_world


def work_session(payload: Mapping[str, Any], index: int, say: Callable[[Any], None]) -> list[Row]:
    """One session from plain data: what a worker does. Says the number of rows that are there so far."""
    config = payload["config"]
    task, agents, make_world = _instantiate(config)
    strips = Path(payload["out"]) / "strips"
    n_done = 0

    def on_row(row: Row) -> None:
        nonlocal n_done
        n_done += 1
        say(n_done)

    def strip_for(agent: str, episode: int) -> Strip | None:
        if not config.get("strips") or index >= STRIP_SESSIONS:
            return None
        return Strip(strips / f"{agent}_{index}_{episode}.png")

    n = min(task.per_session, config["episodes"] - index * task.per_session)
    if isinstance(task, OwnWorld):
        return task.play(agents, seed=config["seed"], index=index, n=n, on_row=on_row)
    if make_world is None:
        raise ValueError(f"the task {task.name} needs a world, e.g. world=house")
    return run_session(
        task,
        agents,
        make_world,
        seed=config["seed"],
        index=index,
        n=n,
        on_row=on_row,
        strip_for=strip_for,
    )
