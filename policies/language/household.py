"""The language planner as a household robot: the rules that do its tasks without a model are its fallback."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from embmem.policies.actions import Outcome, Recall, Sight, Step, WhereIs
from embmem.policies.household.memory import Recollection
from embmem.policies.household.parse import noun_phrases
from embmem.policies.household.planner import RulePlanner
from embmem.policies.language.planner import LanguagePlanner
from embmem.policies.world_state import WorldState, describe
from embmem.search.quoting import quote
from embmem.search.token_count import estimate_tokens

MAX_TOLD = 400  # characters
MAX_GUESSES = 12


class HouseholdTools:
    """A household memory as a language model asks it (`embmem.policies.language.tools.Tools`)."""

    def __init__(self, memory: Recollection, rooms: Sequence[str]) -> None:
        self._memory, self._rooms = memory, tuple(rooms)

    def places(self) -> Sequence[str]:
        """The rooms of the home and the receptacles that are remembered."""
        return [*self._rooms, *self._memory.receptacles()]

    def answer(self, step: Step, state: WorldState) -> Outcome | None:
        """Where things were, and what was told."""
        if isinstance(step, WhereIs):
            if step.object in state.inside or step.object in state.held:
                return Outcome(True, describe(state, step.object))
            found = self._guesses([tuple(step.object.replace("_", " ").split())])
        elif isinstance(step, Recall):
            found = [*self._guesses([*noun_phrases(step.text), tuple(step.text.split())]), *self._told(step.text)]
        else:
            return None
        return Outcome(bool(found), "; ".join(found) if found else "nothing is remembered")

    def remember(self, task: str, budget_tokens: int) -> str:
        """Where the things that the task names were seen last, and what people told about it; a fact a line."""
        kept, left = list[str](), budget_tokens
        for text in [*self._guesses(noun_phrases(task)), *self._told(task), *self._receptacles()]:
            left -= estimate_tokens(text + "\n")
            if left < 0:
                break
            kept.append(text)
        return "\n".join(kept)

    def _guesses(self, called: Sequence[tuple[str, ...]]) -> list[str]:
        rooms = self._memory.receptacles()
        guesses = {guess.thing: guess for words in called if words for guess in self._memory.where(words)}
        facts = [
            {"thing": guess.thing, "was_on": guess.receptacle, "room": rooms.get(guess.receptacle)}
            for guess in list(guesses.values())[:MAX_GUESSES]
        ]
        return [quote(fact) for fact in facts]

    def _told(self, text: str) -> list[str]:
        return [quote({"told": told[:MAX_TOLD]}) for told in self._memory.told(text)]

    def _receptacles(self) -> list[str]:
        rooms = self._memory.receptacles()
        return [quote({"there_is": name, "room": rooms[name]}) for name in sorted(rooms)]


class Meter:
    """Counts the tokens of a planner's model, over all tasks."""

    def __init__(self, planner: LanguagePlanner) -> None:
        self._planner = planner

    @property
    def n_tokens(self) -> int:
        """Of prompts and completions so far."""
        return self._planner.model.usage.tokens


class HouseholdLanguagePlanner:
    """A `StepPlanner` for whole days in a home.

    Args:
        make_memory: a new memory, e.g. `partial(HouseholdMemory, short_term=20)`.
        planner: makes the language planner from a fallback, e.g. `partial(LanguagePlanner, ChatModel("gpt-4o-mini"))`.
        hands: things that can be carried at a time.
    """

    def __init__(
        self, make_memory: Callable[[], Recollection], planner: Callable[..., LanguagePlanner], *, hands: int = 1
    ) -> None:
        self.rules = RulePlanner(make_memory, hands=hands)
        self.planner = planner(fallback=self.rules)
        self.planner.hands, self.planner.remembers = hands, False  # what outlives a task is up to the memory
        self.memory = Meter(self.planner)

    def reset(self, rooms: Sequence[str], rng: np.random.Generator | None = None) -> None:
        """Arrive in a home with these rooms: forget everything."""
        self.rules.reset(rooms, rng)
        self.planner.tools = HouseholdTools(self.rules.memory, rooms)

    def watch(self, sights: Sequence[Sight], tellings: Sequence[tuple[str, str]]) -> None:
        """A tour of the home, and what its people tell meanwhile."""
        self.rules.watch(sights, tellings)

    def begin(self, instruction: str) -> None:
        """Take a task in words."""
        self.planner.begin(instruction)

    def next(self) -> Step:
        """The step to do now."""
        return self.planner.next()

    def notice(self, step: Step, outcome: Outcome) -> None:
        """What came of a step."""
        self.planner.notice(step, outcome)
