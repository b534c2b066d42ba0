"""Speed of the whole evaluation loop, and where the time goes.

    python benchmarks/evaluation.py [--sessions N] [--json FILE]

Runs *search again* with the agent that remembers: tour and ten searches a house, in one process. Times are CPU
seconds, so that a busy machine does not change the split; steps a second are given by wall time, too. The row of the
JSON file asks that simulating the world is not the largest part of the loop.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from embmem.agent import Action, Agent, Answer, Body, Goal, NextAction, Question
from embmem.maps import spatial_memory
from embmem.memory import Memory
from embmem.observation import Intrinsics, Observation
from embmem.policies.search import SearchAgent
from embmem.records import Hit, Query
from embmem.sim_envs.noise import CameraNoise, Detector
from embmem.sim_envs.sessions import run_session
from embmem.sim_envs.tasks.search_again import SearchAgain
from embmem.sim_envs.world import World

SEED = 10  # houses that no published result uses
WORLD = ("render", "noise", "motion", "houses, tours, referee")


class Parts:
    """CPU seconds by part; what runs inside another part is taken out of it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.frames = 0
        self._inside = [0.0]

    @contextmanager
    def time(self, part: str) -> Iterator[None]:
        """Time a block."""
        begin = time.process_time()
        self._inside.append(0.0)
        try:
            yield
        finally:
            spent = time.process_time() - begin
            self.seconds[part] += spent - self._inside.pop()
            self._inside[-1] += spent


class TimedNoise:
    """A noise model with a clock."""

    def __init__(self, model: Any, parts: Parts) -> None:
        self._model, self._parts = model, parts

    def apply(self, *images: Any) -> Any:
        """What the model makes of the images."""
        with self._parts.time("noise"):
            return self._model.apply(*images)


class TimedWorld(World):
    """A world with a clock."""

    def __init__(self, *arguments: Any, parts: Parts, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._parts = parts

    def observe(self) -> Observation:
        """As in `World`."""
        self._parts.frames += 1
        with self._parts.time("render"):
            return super().observe()

    def apply(self, action: Action) -> bool:
        """As in `World`."""
        with self._parts.time("motion"):
            return super().apply(action)


class TimedMemory(Memory):
    """A memory with a clock."""

    def __init__(self, memory: Memory, parts: Parts) -> None:
        super().__init__(memory.layers, store=memory.store, gate=memory.gate)
        self._parts = parts

    def observe(self, observation: Observation) -> Observation:
        """As in `Memory`."""
        with self._parts.time("memory"):
            return super().observe(observation)

    def query(self, query: Query) -> list[Hit]:
        """As in `Memory`."""
        with self._parts.time("memory"):
            return super().query(query)


class TimedAgent:
    """An agent with a clock; the time of its memory is counted there."""

    remembers = True

    def __init__(self, agent: Agent, parts: Parts) -> None:
        self._agent, self._parts = agent, parts
        self.reset = agent.reset

    def watch(self, observation: Observation) -> None:
        """As the agent."""
        with self._parts.time("navigation"):
            self._agent.watch(observation)

    def begin(self, goal: Goal, shortest: NextAction | None = None) -> None:
        """As the agent."""
        with self._parts.time("navigation"):
            self._agent.begin(goal, shortest)

    def act(self, observation: Observation) -> Action:
        """As the agent."""
        with self._parts.time("navigation"):
            return self._agent.act(observation)

    def answer(self, question: Question) -> Answer:
        """As the agent."""
        return self._agent.answer(question)


def run_sessions(sessions: range, episodes: int) -> tuple[Parts, float]:
    """(CPU seconds by part, wall seconds) of some sessions with the agent that remembers."""
    parts = Parts()
    make_world: Callable[..., World] = partial(
        TimedWorld,
        parts=parts,
        intrinsics=Intrinsics.from_fov(256, 192, 79.0),
        body=Body(),
        noise=TimedNoise(CameraNoise(), parts),
        detector=TimedNoise(Detector(), parts),
    )
    begin = time.perf_counter()
    for index in sessions:
        agent = TimedAgent(SearchAgent(lambda: TimedMemory(spatial_memory(), parts), True), parts)
        with parts.time(WORLD[-1]):
            run_session(SearchAgain(), {"memory": agent}, make_world, seed=SEED, index=index, n=episodes)
    return parts, time.perf_counter() - begin


def main() -> None:
    """Print the table and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    run_sessions(range(1), 1)  # compiles
    parts, wall = run_sessions(range(1, 1 + arguments.sessions), 10)
    frames = parts.frames
    cpu = sum(parts.seconds.values())
    table = Table(title=f"search again, 256x192 depth + semantic + rgb: {frames} steps")
    table.add_column("part")
    table.add_column("CPU ms a step", justify="right")
    table.add_column("share", justify="right")
    for part, seconds in sorted(parts.seconds.items(), key=lambda item: -item[1]):
        table.add_row(part, f"{1e3 * seconds / frames:.2f}", f"{seconds / cpu:.0%}")
    console = Console()
    console.print(table)
    console.print(f"{frames / cpu:.0f} steps/s of one core, {frames / wall:.0f} steps/s by wall time")
    if arguments.json:
        arguments.json.write_text(json.dumps(_rows(parts.seconds, frames, wall), indent=1))


def _rows(seconds: Mapping[str, float], frames: int, wall: float) -> list[dict[str, Any]]:
    world = sum(seconds[part] for part in WORLD) / frames
    rest = {part: seconds[part] / frames for part in ("memory", "navigation")}
    largest = max(rest, key=lambda part: rest[part])
    cpu = sum(seconds.values())
    return [
        {
            "name": "world against the largest part of the agent [CPU s a step]",
            "ours": world,
            "peer": rest[largest],
            "peer_name": largest,
            "ratio": rest[largest] / world,
            "goal": "the world is not the largest part (ratio > 1)",
            "met": rest[largest] > world,
        },
        {
            "name": "evaluation loop [steps/s of one core]",
            "ours": frames / cpu,
            "peer": frames / wall,
            "peer_name": "the same by wall time",
            "ratio": wall / cpu,
            "goal": "none set",
            "met": True,
        },
    ]


if __name__ == "__main__":
    main()
