"""Household tasks of `embmem eval`: KARMA's three levels and what only somebody knows who was told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from embmem.policies.actions import Outcome, Sight, Step
from embmem.policies.household.memory import Recollection
from embmem.policies.language.decisions import Decision
from embmem.policies.language.usage import Usage
from embmem.sim_envs.house import make_house
from embmem.sim_envs.household.days import plan_day, run_chore
from embmem.sim_envs.household.tasks import LEVELS
from embmem.sim_envs.sessions import AGENT, PLAN, stream
from embmem.sim_envs.tasks.task import house_seed


@runtime_checkable
class HouseholdPlanner(Protocol):
    """A `StepPlanner` that arrives in a home and is shown it, such as `RulePlanner`."""

    @property
    def memory(self) -> Recollection:
        """What it remembers; its tokens are counted."""

    def reset(self, rooms: Sequence[str], rng: np.random.Generator | None = None) -> None:
        """Arrive in a home with these rooms: forget everything."""

    def watch(self, sights: Sequence[Sight], tellings: Sequence[tuple[str, str]]) -> None:
        """A tour of the home, and what its people tell meanwhile."""

    def begin(self, instruction: str) -> None:
        """Take a task."""

    def next(self) -> Step:
        """The step to do now."""

    def notice(self, step: Step, outcome: Outcome) -> None:
        """What came of a step."""


@runtime_checkable
class AsksModel(Protocol):
    """A planner in front of a language model, such as `HouseholdLanguagePlanner`."""

    @property
    def usage(self) -> Usage:
        """What this task has cost."""

    @property
    def decisions(self) -> Sequence[Decision]:
        """Of this task."""


@dataclass(frozen=True, kw_only=True)
class HouseholdTask:
    """Days of `per_session` tasks of one level, each in a home of its own."""

    name: str = "household_single"
    level: str = "single"  # single, composite, complex, personal
    n_rooms: int = 8
    per_session: int = 10
    hands: int = 1  # things that can be carried at a time
    n_tellings: int = 10  # that were told on the tour

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ValueError(f"level must be one of {', '.join(LEVELS)}, got {self.level!r}")
        if min(self.n_rooms - 2, self.per_session, self.hands, self.n_tellings) < 1:
            raise ValueError(f"need n_rooms >= 3 and per_session, hands, n_tellings >= 1, got {self}")

    def play(
        self,
        agents: Mapping[str, HouseholdPlanner],
        *,
        seed: int,
        index: int,
        n: int,
        on_row: Callable[[dict[str, Any]], None],
    ) -> list[dict[str, Any]]:
        """The rows of a day: all planners, in the order given, have the same home, tour and tasks."""
        house = make_house(house_seed(seed, index), self.n_rooms)
        day = plan_day(house, self.level, n, stream(seed, index, PLAN), hands=self.hands, n_tellings=self.n_tellings)
        tellings = [(each.key, each.telling) for each in day.tellings]
        rows = []
        for name, planner in agents.items():
            planner.reset(day.world.places.rooms, stream(seed, index, AGENT))
            planner.watch(day.sights, tellings)
            for i, chore in enumerate(day.chores):
                before = planner.memory.n_tokens
                row = run_chore(day.world, chore, planner)
                rows.append({
                    "agent": name, "task": self.name, "session": index, "episode": i, **row,
                    "tokens": planner.memory.n_tokens - before, **_cost(planner),
                })  # fmt: skip
                on_row(rows[-1])
        return rows


def _cost(planner: HouseholdPlanner) -> dict[str, Any]:
    """What a task has cost at a language model, and what of it the model has decided; nothing without one."""
    if not isinstance(planner, AsksModel):
        return {}
    usage, decided = planner.usage, [decision.by == "model" for decision in planner.decisions]
    return {
        "by_model": sum(decided) / max(len(decided), 1), "model_tokens": usage.tokens,
        "requests": usage.n_calls + usage.n_failed, "from_cache": usage.n_cached, "cost": usage.cost,
    }  # fmt: skip
