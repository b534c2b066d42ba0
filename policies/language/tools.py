"""What a language model may ask its memory, answered as data."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import networkx as nx

from embmem.maps.scene_graph.text import graph_text
from embmem.policies.actions import Outcome, Recall, Route, Step, WhereIs
from embmem.policies.world_state import WorldState, describe
from embmem.records import Hit
from embmem.search.context import render_context

ANSWER_TOKENS = 300  # of one answer
_FRAME = 2  # lines of a rendered block before its items: its mark and what it is
_SHARES = (0.3, 0.3)  # of short-term memory and of what the task brings to mind; the scene graph gets the rest


@runtime_checkable
class Tools(Protocol):
    """The memory as a planner asks it."""

    def places(self) -> Collection[str]:
        """Rooms and receptacles that are known to exist; a mapping says of receptacles in which room."""

    def answer(self, step: Step, state: WorldState) -> Outcome | None:
        """The answer to recall, where_is or route; None if the world has to answer."""

    def remember(self, task: str, budget_tokens: int) -> str:
        """What is remembered about a task, as a text that holds no unquoted word of the world."""


@dataclass(frozen=True)
class MemoryTools:
    """Tools on the parts of a memory that are there.

    Args:
        recall: hits for free words, best first, e.g. of `MultiLevelRecall` or `Memory.query`.
        clock: gives the present [s], on the clock of the events.
        short_term: what is at hand, best first.
        graph: the scene graph.
        ways: [m] from where the robot stands to every place that is known, inf if there is no way.
    """

    recall: Callable[[str], Sequence[Hit]]
    clock: Callable[[], float]
    short_term: Callable[[], Sequence[Hit]] | None = None
    graph: Callable[[], nx.DiGraph] | None = None
    ways: Callable[[], Mapping[str, float]] | None = None

    def places(self) -> Collection[str]:
        """Places with a way, and the rooms and furniture of the scene graph."""
        ways = {} if self.ways is None else self.ways()
        nodes = [] if self.graph is None else self.graph().nodes(data="layer")
        return [*ways, *(key for key, layer in nodes if layer in ("room", "furniture") and key not in ways)]

    def answer(self, step: Step, state: WorldState) -> Outcome | None:
        """From the state if it knows, else from the memory."""
        if isinstance(step, Route):
            return None if self.ways is None else _way(step.place, self.ways())
        if isinstance(step, WhereIs) and step.object in state.names:
            return Outcome(True, describe(state, step.object))
        if not isinstance(step, Recall | WhereIs):
            return None
        words = step.text if isinstance(step, Recall) else step.object
        return answer_of(self.recall(words.replace("_", " ")), self.clock())

    def remember(self, task: str, budget_tokens: int) -> str:
        """Short-term memory, what the task brings to mind, scene graph; each in its block, together in budget."""
        blocks: list[str] = []
        left, now = budget_tokens, self.clock()
        for hits, share in zip((self.short_term and self.short_term(), self.recall(task)), _SHARES, strict=True):
            if hits:
                context = render_context(hits, budget_tokens=int(share * budget_tokens), now=now)
                blocks.append(context.text)
                left -= context.n_tokens
        if self.graph is not None:
            blocks.append(graph_text(self.graph(), budget_tokens=max(left - 2, 0)).text)
        return "\n".join(block for block in blocks if block)


def answer_of(hits: Sequence[Hit], now: float) -> Outcome:
    """The hits that fit into an answer, as their lines alone: a prompt says by itself that what is said is data."""
    if not hits:
        return Outcome(False, "nothing is remembered")
    block = render_context(hits, budget_tokens=ANSWER_TOKENS, now=now).text
    return Outcome(True, "\n".join(block.splitlines()[_FRAME:-1]).replace('"', "'"))


def _way(place: str, ways: Mapping[str, float]) -> Outcome:
    metres = ways.get(place, math.inf)
    return Outcome(math.isfinite(metres), f"{metres:.1f} m" if math.isfinite(metres) else "no way is known")
