"""A language model that is asked at junctions what to do; the ranked planner walks wherever it is of no use."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from embmem.maps.streets import Pose, StreetAction, move, validated
from embmem.maps.streets.graph import JUNCTION
from embmem.maps.streets.legs import GAP
from embmem.policies.language.client import ChatModel
from embmem.policies.language.grammar import GrammarError
from embmem.policies.language.prompt import PromptError
from embmem.policies.language.wire import ModelError
from embmem.policies.street.agent import StreetInstruction, StreetView
from embmem.policies.street.asking import Choice, Question, options, read_choice, render, schema
from embmem.policies.street.candidates import Reach
from embmem.policies.street.remembering import RememberingStreetAgent
from embmem.policies.street.weights import RegionRankers
from embmem.search.quoting import quote

logger = logging.getLogger("embmem.policies.language")
_MAX_WHY = 400


@dataclass(frozen=True)
class Asking:
    """How much may be asked of the model."""

    budget_tokens: int = 1800  # of a request
    retries: int = 1  # further answers, after one that was refused
    calls: int = 60  # for one instruction
    patience: int = 2  # requests without any answer, after which the planner finishes the instruction
    beside: float = 12.0  # [m] at which a remembered landmark is reached, which is news

    def __post_init__(self) -> None:
        if min(self.budget_tokens, self.calls, self.patience) < 1 or self.retries < 0 or self.beside <= 0:
            raise ValueError(f"limits must be positive, got {self}")


@dataclass(frozen=True)
class StreetDecision:
    """What was done where one may ask."""

    place: str  # its name
    action: StreetAction
    junctions: int  # that are then walked through
    by: Literal["model", "planner"]
    why: str  # the model's own sentence, or what kept it from deciding
    tokens: int
    refused: tuple[str, ...]  # what was wrong with the answers that were not taken

    def to_json(self) -> str:
        """One line, with nothing in it that could be taken for a line of its own."""
        fields = {
            "place": self.place, "move": self.action.value, "junctions": self.junctions, "by": self.by,
            "why": self.why[:_MAX_WHY], "tokens": self.tokens, "refused": [why[:_MAX_WHY] for why in self.refused],
        }  # fmt: skip
        return quote(fields)


class LanguageStreetAgent(RememberingStreetAgent):
    """Asks a model at the start, at junctions, at dead ends, and where memory brings news; else it walks straight on.

    News is a landmark of the instruction that is recalled at a place where the model has not been told of it, or that
    is reached. An answer is one of the moves that lead somewhere there. Where there is no usable one the plan of
    `RememberingStreetAgent` is walked, made anew from where the model has led, up to the next junction.
    """

    def __init__(
        self,
        weights: str | RegionRankers,
        model: ChatModel,
        reach: Reach | None = None,
        *,
        asking: Asking | None = None,
        seed: int = 0,
        count_tokens: Callable[[str], int] | None = None,
        **planner: Any,
    ) -> None:
        """From weights and a model.

        Args:
            weights: see `RankedStreetAgent`.
            model: that is asked.
            reach: see `RankedStreetAgent`.
            asking: its limits.
            seed: of the fences.
            count_tokens: that of the model; an estimate if not given.
            planner: settings of `RememberingStreetAgent`.
        """
        super().__init__(weights, reach, **planner)
        self.model, self.asking = model, asking or Asking()
        self._seed, self._count = seed, count_tokens
        self.decisions: list[StreetDecision] = []
        self._forget_walk()

    def begin(self, instruction: StreetInstruction, gold: Sequence[int] | None = None) -> None:
        """Plan as if there were no model, so that there is something to fall back on."""
        super().begin(instruction, gold)
        self._forget_walk()

    def act(self, view: StreetView) -> StreetAction:
        """What the model wants, straight on to where it is asked next, or what the plan says."""
        task = self._task
        if task is None:
            return StreetAction.STOP
        self.take_in(task, view)
        if self._expected is not None and view.pose.place != self._expected.place:  # somebody pushed the walker
            self._queue.clear()
            self._left, self._is_passing, self._stops, self._is_lost = 0, False, False, True
        action = self._queue.pop(0) if self._queue else self._next(task, view)
        self._expected = move(task.streets, view.pose, validated(task.streets, view.pose.place, action))
        return action

    def _forget_walk(self) -> None:
        """Nothing is decided yet."""
        self.decisions = []
        self._queue: list[StreetAction] = []
        self._left, self._is_passing, self._stops = 0, False, False  # crossings to walk through, then to stop or not
        self._is_lost = True  # whether to ask wherever it is: at the start, and after a push
        self._asked_at, self._junction_at = -1, -GAP - 1  # steps of the walk
        self._is_led = False  # by the model
        self._n_calls = self._n_silent = 0
        self._told: list[tuple[str, bool, np.ndarray]] = []  # landmarks that the model knows of

    def _next(self, task: StreetInstruction, view: StreetView) -> StreetAction:
        what = self._arrive(task, view.pose)
        if what == "stop":
            return StreetAction.STOP
        if what == "ask":
            before, refused = self.model.usage, list[str]()
            choice = self._ask(task, view.pose, refused)
            if choice is None and self._is_led:
                self._hand_over(task, view.pose)
            action = self._take(choice) if choice is not None else self.go_on(view)
            tokens = (self.model.usage - before).tokens
            self._record(task.streets.names[view.pose.place], action, choice, tokens, tuple(refused))
            return action
        return StreetAction.FORWARD if self._is_led else self.go_on(view)

    def _arrive(self, task: StreetInstruction, pose: Pose) -> Literal["ask", "stop", "go on"]:
        """What is to be done at a place; counts the crossings."""
        moved, n = len(self._walked) - 1, int(task.streets.n_exits[pose.place])
        if moved == self._asked_at:  # it turns on the spot
            return "go on"
        is_lost, self._is_lost = self._is_lost, False
        is_new = n >= JUNCTION and moved - self._junction_at > GAP
        if n >= JUNCTION:
            self._junction_at = moved
        if is_new:
            self._is_passing = self._left > 0
            self._left = max(self._left - 1, 0)
            if self._is_passing and self._stops and not self._left:
                return "stop"
        goes_through = n >= JUNCTION and self._is_passing and StreetAction.FORWARD in options(task.streets, pose)
        is_free = n == 2 or goes_through
        if is_free and not is_lost and not self._has_news(task, pose):
            return "go on"
        self._asked_at = moved
        return "ask"

    def _has_news(self, task: StreetInstruction, pose: Pose) -> bool:
        """Whether the model would be told of a landmark for the first time, or that one is reached."""
        is_news, here = False, task.streets.xy[pose.place]
        for phrase, found in self.recalled():
            where = np.array(found.position)
            is_beside = bool(np.linalg.norm(where - here) <= self.asking.beside)
            known = (
                p == phrase and b >= is_beside and _near(at, where, self.memory.parts.same) for p, b, at in self._told
            )
            is_news |= not any(known)
        return is_news

    def _ask(self, task: StreetInstruction, pose: Pose, refused: list[str]) -> Choice | None:
        """What the model wants, None if it has no usable answer; refusals are added to the list."""
        recalled, offered = self.recalled(), list(options(task.streets, pose))
        here = task.streets.xy[pose.place]
        for phrase, found in recalled:
            where = np.array(found.position)
            self._told.append((phrase, bool(np.linalg.norm(where - here) <= self.asking.beside), where))
        for _ in range(1 + self.asking.retries):
            if self._n_calls >= self.asking.calls or self._n_silent >= self.asking.patience:
                refused.append("nothing is asked any more for this instruction")
                return None
            question = Question(task.text, task.streets, pose, tuple(self._walked), recalled, tuple(refused))
            try:
                budget = self.asking.budget_tokens
                messages = render(question, budget_tokens=budget, seed=self._seed, count_tokens=self._count)
                self._n_calls += 1
                reply = self.model.complete(messages, schema(offered))
                if reply.refusal:
                    raise GrammarError("the model refused to answer; walking is harmless, answer in JSON")
                return read_choice(reply.text, offered)
            except ModelError as error:
                self._n_silent += 1
                refused.append(str(error))
                return None  # the client has tried again already
            except PromptError as error:
                refused.append(str(error))
                return None
            except GrammarError as error:
                refused.append(str(error))
        return None

    def _take(self, choice: Choice) -> StreetAction:
        """The first action of a choice; what follows is kept."""
        self._is_led = True
        self._left, self._is_passing = choice.junctions, choice.junctions > 0
        self._stops = choice.action is StreetAction.STOP and choice.junctions > 0
        if choice.action in (StreetAction.LEFT, StreetAction.RIGHT, StreetAction.TURN_AROUND):
            self._queue = [StreetAction.FORWARD]
        return StreetAction.FORWARD if self._stops else choice.action

    def _hand_over(self, task: StreetInstruction, pose: Pose) -> None:
        """Let the planner walk on from where the model has led."""
        self._is_led, n = False, self.n_replans
        self._left, self._is_passing, self._stops = 0, False, False
        self._decide(StreetInstruction(task.text, task.streets, pose, task.landmarks))
        if self.n_replans == n:  # no walk that it weighs begins like this
            self.rejoin(task.streets, pose)

    def _record(
        self, place: str, action: StreetAction, choice: Choice | None, tokens: int, refused: tuple[str, ...]
    ) -> None:
        """Log a decision; one that the model did not make is a warning."""
        if choice is not None:
            decision = StreetDecision(place, choice.action, choice.junctions, "model", choice.thought, tokens, refused)
        else:
            decision = StreetDecision(place, action, 0, "planner", refused[-1], tokens, refused)
        self.decisions.append(decision)
        logger.log(logging.WARNING if choice is None else logging.INFO, "street decision %s", decision.to_json())


def _near(a: np.ndarray, b: np.ndarray, most: float) -> bool:
    return bool(np.linalg.norm(a - b) <= most)
