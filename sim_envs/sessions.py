"""One session: a house, its tour and night, and every agent's episodes there, from one seed.

All agents of a session see the same house, tour, starts, goals and sensor noise, and what one does never reaches
another: the rows of an agent are the same whoever else takes part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from embmem.agent import Agent
from embmem.sim_envs.rollout import Clock, explore, run_episode
from embmem.sim_envs.strips import Strip
from embmem.sim_envs.tasks.questions import Questions, Witness
from embmem.sim_envs.tasks.task import Session, Task
from embmem.sim_envs.tasks.tours import guided_tour, tour_stops
from embmem.sim_envs.world import World

# What a random stream is for: the last word of its spawn key.
PLAN, TOUR, AGENT, ASK, EPISODE = range(5)

MakeWorld = Callable[..., World]  # (house, rng=...) -> World


def stream(seed: int, session: int, *use: int) -> np.random.Generator:
    """The random stream for one use in one session; independent of all others (numpy's `spawn`)."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(session, *use)))


def plan_session(task: Task, make_world: MakeWorld, *, seed: int, index: int, n: int) -> tuple[World, Session]:
    """What happens in session `index` with `n` episodes, and the world where it does."""
    house = task.house(seed, index)
    world = make_world(house, rng=stream(seed, index, TOUR))
    return world, task.plan(world, house, index, n, stream(seed, index, PLAN))


@dataclass(eq=False)
class _Tourist:
    """An agent of a session and when its tour ended."""

    name: str
    agent: Agent
    stamp: float  # [s]

    @property
    def remembers(self) -> bool:
        """Agents that do not say otherwise remember."""
        return bool(getattr(self.agent, "remembers", True))


def run_session(
    task: Task,
    agents: Mapping[str, Agent],
    make_world: MakeWorld,
    *,
    seed: int,
    index: int,
    n: int,
    on_row: Callable[[dict[str, Any]], None] | None = None,
    strip_for: Callable[[str, int], Strip | None] | None = None,
) -> list[dict[str, Any]]:
    """The rows of all agents in session `index` with `n` episodes each, agents in the order given.

    Args:
        task: the rules and what is to be done.
        agents: by name.
        make_world: the world of a house: `make_world(house, rng=...)`.
        seed: of the whole run.
        index: of the session.
        n: episodes (or questions) for each agent.
        on_row: called with every row as soon as it is there, e.g. for a progress bar.
        strip_for: (agent, episode) -> where to keep pictures of that episode, or None.
    """
    world, session = plan_session(task, make_world, seed=seed, index=index, n=n)
    with closing(world):
        return _play(world, session, task, agents, seed=seed, index=index, on_row=on_row, strip_for=strip_for)


def _play(
    world: World,
    session: Session,
    task: Task,
    agents: Mapping[str, Agent],
    *,
    seed: int,
    index: int,
    on_row: Callable[[dict[str, Any]], None] | None,
    strip_for: Callable[[str, int], Strip | None] | None,
) -> list[dict[str, Any]]:
    tourists = [_Tourist(name, agent, world.stamp) for name, agent in agents.items()]
    for tourist in tourists:
        tourist.agent.reset(stream(seed, index, AGENT))
    witness = task.witness() if isinstance(task, Questions) else None
    _tour(world, session, task, tourists, witness, seed)
    rows = []
    for tourist in tourists:
        if isinstance(task, Questions) and witness is not None:
            new = _answers(task, session, tourist, witness, stream(seed, index, ASK))
        else:
            new = _episodes(world, session, task, tourist, seed, strip_for)
        for row in new:
            rows.append({"agent": tourist.name, "task": task.name, "session": index, **row})
            if on_row is not None:
                on_row(rows[-1])
    return rows


def _tour(
    world: World, session: Session, task: Task, tourists: list[_Tourist], witness: Witness | None, seed: int
) -> None:
    """Show the house to everybody who can remember it; a guided tour is walked once, with all of them."""
    guests = [t for t in tourists if t.remembers]
    if task.tour == "none" or not (guests or witness):
        return
    stops = tour_stops(world, session.house)
    begin = world.stamp
    if task.tour == "guided":
        world.rng = stream(seed, session.index, TOUR)
        world.place(stops[0], 0.0)
        for action in guided_tour(world, stops, task.tour_steps):
            _show(world, guests, witness)
            world.apply(action)
        _show(world, guests, witness)
        for guest in tourists:
            guest.stamp = world.stamp
        return
    for guest in guests:
        world.stamp = begin
        world.rng = stream(seed, session.index, TOUR)
        world.place(stops[0], 0.0)
        explore(world, guest.agent, task.tour_steps, Clock())
        guest.stamp = world.stamp


def _show(world: World, guests: list[_Tourist], witness: Witness | None) -> None:
    observation = world.observe()
    for guest in guests:
        guest.agent.watch(observation)
    if witness is not None:
        truth = world.truth()
        witness.watch(observation.stamp, truth.instance, truth.depth)


def _episodes(
    world: World,
    session: Session,
    task: Task,
    tourist: _Tourist,
    seed: int,
    strip_for: Callable[[str, int], Strip | None] | None,
) -> Iterator[dict[str, Any]]:
    """The rows of one agent, in the order of the episodes."""
    world.stamp = tourist.stamp
    if session.later is not None:
        world.set_house(session.later)
        world.advance(task.night_hours * 3600.0)
    for i, episode in enumerate(session.episodes):
        if not (tourist.remembers and task.keeps_memory):
            tourist.agent.reset(stream(seed, session.index, AGENT, i))
        world.rng = stream(seed, session.index, EPISODE, i)
        strip = None if strip_for is None else strip_for(tourist.name, i)
        clock = Clock()
        watch = None if strip is None else strip.watch
        row = run_episode(world, tourist.agent, episode, task, clock=clock, watch=watch)
        if strip is not None:
            strip.save()
        yield {**_names(session, i), **episode.info, **row, "seconds": clock.seconds}


def _answers(
    task: Questions, session: Session, tourist: _Tourist, witness: Witness, rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """The graded answers of one agent."""
    for i, (question, truth) in enumerate(task.ask(witness.sightings, session.house, session.n_questions, rng)):
        clock = Clock()
        with clock.time("act"):
            answer = tourist.agent.answer(question)
        yield {
            **_names(session, i),
            "goal": f"{question.kind} {' or '.join(question.categories)}",
            "kind": question.kind,
            **task.grade(question, truth, answer),
            "seconds": clock.seconds,
        }


def _names(session: Session, i: int) -> dict[str, Any]:
    return {
        "episode": i,
        "scene": session.scene,
        "house_seed": session.house.seed,
        "n_rooms": len(session.house.rooms),
    }
