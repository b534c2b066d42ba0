"""A language model that does household tasks, with the memories of the rule planner, which finishes what it cannot."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from embmem.experience import ExperienceStore
from embmem.policies.actions import Outcome, Sight, Step
from embmem.policies.household.memory import Recollection
from embmem.policies.household.planner import RulePlanner
from embmem.policies.household.tools import HouseholdTools
from embmem.policies.language.client import ChatModel
from embmem.policies.language.critic import Critic
from embmem.policies.language.decisions import Decision
from embmem.policies.language.planner import LanguagePlanner, Limits
from embmem.policies.language.usage import Usage


class HouseholdLanguagePlanner:
    """A `LanguagePlanner` with `HouseholdTools`, and rules to fall back on."""

    def __init__(
        self,
        model: ChatModel,
        make_memory: Callable[[], Recollection],
        *,
        hands: int = 1,
        limits: Limits | None = None,
        critic: Critic | None = None,
        experience: ExperienceStore | None = None,
        seed: int = 0,
    ) -> None:
        """A planner.

        Args:
            model: that is asked.
            make_memory: a new memory, e.g. `partial(HouseholdMemory, short_term=20)`.
            hands: things that can be carried at a time.
            limits: of what is asked.
            critic: judges planned steps after the first.
            experience: of earlier tasks, in whatever home; what repaired an error is added to it at once.
            seed: of the fences around data.
        """
        self.rules = RulePlanner(make_memory, hands=hands)
        tools = HouseholdTools(lambda: self.rules.memory, lambda: self.rules.rooms)
        self.planner = LanguagePlanner(
            model, self.rules, tools=tools, critic=critic, experience=experience, hands=hands, limits=limits,
            remembers=False, seed=seed,
        )  # fmt: skip

    @property
    def memory(self) -> Recollection:
        """What rules and model both ask."""
        return self.rules.memory

    @property
    def usage(self) -> Usage:
        """What this task has cost at the models."""
        return self.planner.usage

    @property
    def decisions(self) -> Sequence[Decision]:
        """Of this task, in order, and who made them."""
        return self.planner.decisions

    def reset(self, rooms: Sequence[str], rng: np.random.Generator | None = None) -> None:
        """Arrive in a home with these rooms: forget everything."""
        self.rules.reset(rooms, rng)

    def watch(self, sights: Sequence[Sight], tellings: Sequence[tuple[str, str]]) -> None:
        """A tour of the home, and what its people tell meanwhile."""
        self.rules.watch(sights, tellings)

    def begin(self, instruction: str) -> None:
        """Take a task."""
        self.planner.begin(instruction)

    def next(self) -> Step:
        """The step to do now."""
        return self.planner.next()

    def notice(self, step: Step, outcome: Outcome) -> None:
        """What came of a step."""
        self.planner.notice(step, outcome)

    def finish(self, ok: bool, reason: str = "") -> None:
        """The task is over, and somebody who knows says how it went; kept as experience."""
        self.planner.finish(ok, reason)
