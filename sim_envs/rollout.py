"""One episode of one agent: the loop observe, act, move, and the referee's verdict as a row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np

from embmem.agent import Action, Agent, Goal
from embmem.observation import Observation
from embmem.sim_envs.episodes import Episode, Target
from embmem.sim_envs.metrics.continuous import score
from embmem.sim_envs.tasks.goals import leg_lengths
from embmem.sim_envs.tasks.task import Task
from embmem.sim_envs.world import World

TRAJECTORY_DECIMALS = 3  # 1 mm and 1 mrad


@dataclass
class Clock:
    """Seconds by part of the loop; they are measured, so they never enter the episode-log hash."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def time(self, part: str) -> Iterator[None]:
        """Add the time of the block to `part`."""
        begin = perf_counter()
        try:
            yield
        finally:
            self.seconds[part] = self.seconds.get(part, 0.0) + perf_counter() - begin


@dataclass(eq=False)
class Trace:
    """What happened in an episode."""

    path: list[np.ndarray]  # (3,) x, y [m], yaw [rad]
    found: int = 0  # targets
    leg_start: int = 0  # index in `path` where the current target was given
    steps: int = 0
    collisions: int = 0
    stop_called: bool = False


def run_episode(
    world: World,
    agent: Agent,
    episode: Episode,
    task: Task,
    *,
    clock: Clock | None = None,
    watch: Callable[[Observation], None] | None = None,
) -> dict[str, Any]:
    """The row of an episode, without the names of agent and session.

    The agent is placed at the start; `watch` sees what the agent sees.
    """
    clock = clock or Clock()
    world.place(episode.start[:2], episode.yaw)
    trace = Trace([_pose(world)])
    _give_target(world, agent, episode.targets[0])
    while trace.steps < task.max_steps:
        with clock.time("observe"):
            observation = world.observe()
        if watch is not None:
            watch(observation)
        with clock.time("act"):
            action = agent.act(observation)
        trace.steps += 1
        if action is Action.STOP:
            if not _accept_stop(world, agent, episode, task, trace):
                break
            continue
        with clock.time("move"):
            trace.collisions += bool(world.apply(action))
        trace.path.append(_pose(world))
    with clock.time("referee"):
        return _verdict(world, episode, task, trace)


def explore(world: World, agent: Agent, max_steps: int, clock: Clock) -> None:
    """A self-made tour: a goal that asks for nothing, until the agent stops or the steps are spent."""
    agent.begin(Goal(), None)
    for _ in range(max_steps):
        with clock.time("observe"):
            observation = world.observe()
        with clock.time("act"):
            action = agent.act(observation)
        if action is Action.STOP:
            return
        with clock.time("move"):
            world.apply(action)


def _pose(world: World) -> np.ndarray:
    return np.array([world.position[0], world.position[1], world.yaw])


def _give_target(world: World, agent: Agent, target: Target) -> None:
    points = np.ascontiguousarray(target.view_points()[:, :2])
    agent.begin(target.goal, lambda: world.next_action(points))


def _accept_stop(world: World, agent: Agent, episode: Episode, task: Task, trace: Trace) -> bool:
    """Judge a STOP; True if it found a target and there is another one to find."""
    points = episode.targets[trace.found].view_points()[:, :2]
    is_there = float(world.navmesh.distances(world.position[None], points)[0]) < task.success_distance
    if is_there:
        trace.found += 1
    if is_there and trace.found < len(episode.targets):
        trace.leg_start = len(trace.path) - 1
        _give_target(world, agent, episode.targets[trace.found])
        return True
    trace.stop_called = True
    return False


def _verdict(world: World, episode: Episode, task: Task, trace: Trace) -> dict[str, Any]:
    path = np.array(trace.path)
    current = min(trace.found, len(episode.targets) - 1)
    end, least = _distances_left(world, path[trace.leg_start :, :2], episode.targets[current:])
    scores = score(
        path[:, :2],
        stop_called=trace.stop_called,
        distance_to_goal=end,
        distance_min=least,
        shortest=episode.shortest_path,
        threshold=task.success_distance,
    )
    return {
        "goal": ", ".join(str(target.goal) for target in episode.targets),
        **{key: _finite(value) for key, value in scores.items()},
        "progress": trace.found / len(episode.targets),
        "shortest_path": episode.shortest_path,
        "steps": trace.steps,
        "stop_called": trace.stop_called,
        "collisions": trace.collisions,
        "outcome": _outcome(scores, trace),
        **task.measure(world, episode, path[:, :2], stop_called=trace.stop_called),
        "trajectory": (np.round(path, TRAJECTORY_DECIMALS) + 0.0).tolist(),
    }


def _distances_left(world: World, leg: np.ndarray, targets: Sequence[Target]) -> tuple[float, float]:
    """(at the end, at the best moment) distance [m] still to go over the targets that are left."""
    to_target = world.navmesh.distances(leg, targets[0].view_points()[:, :2])
    if len(targets) == 1:
        return float(to_target[-1]), float(to_target.min())
    best = leg[int(np.argmin(to_target))]
    return sum(leg_lengths(world, leg[-1], targets)), sum(leg_lengths(world, best, targets))


def _outcome(scores: dict[str, float], trace: Trace) -> str:
    if scores["success"]:
        return "found"
    if not trace.stop_called:
        return "out of steps"
    return "stopped elsewhere"


def _finite(value: float) -> float | None:
    """JSON has no infinity: what is unreachable has no distance."""
    return float(value) if np.isfinite(value) else None
