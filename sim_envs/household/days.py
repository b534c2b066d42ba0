"""A day in a home: a tour, a night, then one task after the other; the referee's verdict on each as a row.

Whatever a robot achieves, the next task begins in the world as it was drawn: what it left undone, somebody else does
while it is away. So all robots have the same tasks, and a memory can be wrong about what it did not see.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from embmem.errors import EmbmemError
from embmem.policies.actions import QUESTIONS, Outcome, Sight, Step, StepPlanner, Stop
from embmem.policies.household.memory import Guess, is_called
from embmem.policies.household.planner import RulePlanner
from embmem.sim_envs.house import House, night
from embmem.sim_envs.household.tasks import LEVELS, Assignment, Drawer, Personal, draw_tellings
from embmem.sim_envs.household.world import Household

MAX_ACTIONS = 200  # a task
MAX_QUESTIONS = 2000  # a task; they cost nothing, but no planner may ask for ever


@dataclass(frozen=True, eq=False)
class Chore:
    """A task and the world in which it begins."""

    assignment: Assignment
    on: Mapping[str, str]
    state: Mapping[str, str]
    start: str  # room
    metres: float  # of the planner that knows everything
    actions: int


@dataclass(frozen=True, eq=False)
class Day:
    """All that happens in one home."""

    world: Household
    sights: tuple[Sight, ...]  # of the tour, the evening before
    tellings: tuple[Personal, ...]
    chores: tuple[Chore, ...]


def plan_day(
    house: House, level: str, n: int, rng: np.random.Generator, *, hands: int = 1, n_tellings: int = 10
) -> Day:
    """A day with `n` tasks of a level.

    Raises:
        ValueError: if there is no such level.
        EmbmemError: if the planner that knows everything fails at a task: task and world do not fit.
    """
    if level not in LEVELS:
        raise ValueError(f"the level must be one of {', '.join(LEVELS)}, got {level!r}")
    for_world, for_night, for_tellings, for_tasks = rng.spawn(4)
    world = Household(house, for_world, hands=hands)
    sights = tour(world)
    tellings = draw_tellings(world, for_tellings, n_tellings)
    morning, _ = night(house, for_night)
    world.set_house(morning)
    drawer, chores = Drawer(world, for_tasks), list[Chore]()
    last: Assignment | None = None
    before: Mapping[str, str] = dict(world.on)
    for _ in range(n):
        assignment = _draw(drawer, level, last, before, tellings)
        start = world.places.rooms[int(for_tasks.integers(len(world.places.rooms)))]
        before = dict(world.on)
        chores.append(_measured(world, assignment, start, tellings))
        last = assignment
    return Day(world, sights, tellings, tuple(chores))


def tour(world: Household) -> tuple[Sight, ...]:
    """What every room shows with all its doors open; the doors are closed again."""
    doors = dict(world.is_open)
    world.is_open = dict.fromkeys(doors, True)
    sights = []
    for room in world.places.rooms:
        world.put_body(room)
        sights.append(world.sight())
    world.is_open = doors
    return tuple(sights)


def run_chore(
    world: Household, chore: Chore, planner: StepPlanner, log: Callable[[Step, Outcome], None] | None = None
) -> dict[str, Any]:
    """The row of one task: the planner decides until it stops or its actions are spent; `log` sees every step."""
    world.restore(chore.on, chore.state)
    world.put_body(chore.start)
    planner.begin(chore.assignment.text)
    stopped, questions = False, 0
    while world.actions < MAX_ACTIONS and questions < MAX_QUESTIONS:
        step = planner.next()
        questions += isinstance(step, QUESTIONS)
        outcome = world.do(step)
        if log is not None:
            log(step, outcome)
        if isinstance(step, Stop):
            stopped = True
            break
        planner.notice(step, outcome)
    done = [goal.holds(world.on) for goal in chore.assignment.goals]
    success = stopped and all(done)
    # A way of 0 m (all in reach) is as good as the reference if the robot did not walk either.
    longest = max(world.metres, chore.metres)
    return {
        "goal": chore.assignment.text, "kind": chore.assignment.form, "success": success,
        "spl": float(success) * (chore.metres / longest if longest > 0 else 1.0),
        "progress": sum(done) / len(done), "steps": world.actions, "path_length": round(world.metres, 3),
        "shortest_path": round(chore.metres, 3), "failures": world.failures, "stop_called": stopped,
        "outcome": "done" if success else "gave up" if stopped else "out of steps",
    }  # fmt: skip


class Omniscient:
    """The memory of one who knows the world as it is, and what was told: what tasks are measured with."""

    def __init__(self, world: Household, assignment: Assignment, tellings: Sequence[Personal]) -> None:
        self._world, self._assignment, self._tellings = world, assignment, tellings
        self.n_tokens = 0

    def where(self, words: Sequence[str]) -> list[Guess]:
        """Where things are."""
        there = self._world.places.receptacles
        return [Guess(t, where, 0.0) for t, where in self._world.on.items() if where in there and is_called(t, words)]

    def receptacles(self) -> dict[str, str]:
        """All of them."""
        return self._world.places.receptacles

    def origin(self, thing: str) -> str | None:
        """What the assignment means."""
        return self._assignment.origins.get(thing)

    def told(self, phrase: str) -> list[str]:
        """The telling that the phrase asks for."""
        low = phrase.lower()
        keys = self._assignment.told
        wanted = [each for each in self._tellings if each.key in keys]
        return [each.telling for each in wanted if any(_is_asked(form, low) for form in each.asked)]

    def notice(self, step: Step, outcome: Outcome) -> None:
        """Nothing is news."""


def _is_asked(form: str, phrase: str) -> bool:
    return form.lower().rstrip(".?!") in phrase or phrase in form.lower()


def _draw(
    drawer: Drawer, level: str, last: Assignment | None, before: Mapping[str, str], tellings: tuple[Personal, ...]
) -> Assignment:
    if level == "personal":
        return drawer.personal(tellings)
    if level == "complex":
        return drawer.complex(last, before)
    return drawer.single() if level == "single" else drawer.composite()


def _measured(world: Household, assignment: Assignment, start: str, tellings: tuple[Personal, ...]) -> Chore:
    """The task with the way of the planner that knows everything; the world is left as the task leaves it."""
    unmeasured = Chore(assignment, dict(world.on), dict(world.state), start, 0.0, 0)
    memory = Omniscient(world, assignment, tellings)
    planner = RulePlanner(lambda: memory, hands=world.hands)
    planner.reset(world.places.rooms)
    row = run_chore(world, unmeasured, planner)
    if not row["success"]:
        raise EmbmemError(f"nobody can do this task: {assignment.text!r}, {row}")
    return Chore(assignment, unmeasured.on, unmeasured.state, start, world.metres, world.actions)
