"""What a language model may ask a household memory: places, things by name, and what was told.

These are the `Tools` of `embmem.policies.language.planner.LanguagePlanner`; the same memory serves the rule planner.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from embmem.policies.actions import Outcome, Recall, Step, WhereIs
from embmem.policies.household.memory import HouseholdMemory, Recollection
from embmem.policies.language.tools import answer_of
from embmem.policies.world_state import WorldState, describe
from embmem.records import Hit
from embmem.search.context import render_context
from embmem.search.token_count import estimate_tokens

_WORDS_OF_A_NAME = 3  # the longest names are "red water bottle"


class HouseholdTools:
    """Tools on a household memory. Ways are not its own: the world answers `route`."""

    def __init__(self, memory: Callable[[], Recollection], rooms: Callable[[], Sequence[str]]) -> None:
        """Tools.

        Args:
            memory: the memory of the planner as it is now; a planner that arrives in a new home makes a new one.
            rooms: of the home, which are always known.
        """
        self._memory, self._rooms = memory, rooms

    def places(self) -> Mapping[str, str]:
        """Rooms, which are in no room, and the receptacles that are remembered, with theirs."""
        return dict.fromkeys(self._rooms(), "") | dict(sorted(self._memory().receptacles().items()))

    def answer(self, step: Step, state: WorldState) -> Outcome | None:
        """From the state if it knows, else from the memory; None for what the world has to answer."""
        if isinstance(step, WhereIs) and step.object in state.names:
            return Outcome(True, describe(state, step.object))
        if not isinstance(step, Recall | WhereIs):
            return None
        memory = self._memory()
        hits = self._hits(step.text if isinstance(step, Recall) else step.object.replace("_", " "))
        outcome = answer_of(hits, memory.stamp if isinstance(memory, HouseholdMemory) else 0.0)
        memory.n_tokens += estimate_tokens(outcome.reason)
        return outcome

    def remember(self, task: str, budget_tokens: int) -> str:
        """The things that the task names and what was told about it; strings of the world are quoted as data."""
        return self._rendered(self._hits(task), budget_tokens)

    def _hits(self, text: str) -> list[Hit]:
        """Things that are named in a text, then tellings."""
        memory, found = self._memory(), dict[str, Hit]()
        if not isinstance(memory, HouseholdMemory):
            return []
        words = [word.strip(".,;:?!'\"").lower() for word in text.replace("_", " ").split()]
        for size in range(_WORDS_OF_A_NAME, 0, -1):
            for i in range(len(words) - size + 1):
                for hit in memory.things(words[i : i + size]):
                    found.setdefault(str(hit.entity), hit)
        return [*found.values(), *memory.tellings(text)]

    def _rendered(self, hits: Sequence[Hit], budget_tokens: int) -> str:
        memory = self._memory()
        if not hits or not isinstance(memory, HouseholdMemory):
            return ""
        context = render_context(hits, budget_tokens=budget_tokens, now=memory.stamp)
        memory.n_tokens += context.n_tokens
        return context.text
