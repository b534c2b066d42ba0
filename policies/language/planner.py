"""The decision loop: memory in, a few checked steps out, and a rule planner wherever the model has no usable answer."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, field, replace

from embmem.experience import ExperienceStore
from embmem.policies.actions import STEPS, Outcome, Recall, Route, Step, StepPlanner, Stop, WhereIs, to_text
from embmem.policies.language.checks import Geometry, problem, sound_beginning
from embmem.policies.language.client import ChatModel
from embmem.policies.language.critic import Critic, LanguageCritic
from embmem.policies.language.decisions import Decision, record
from embmem.policies.language.grammar import GrammarError, Plan, parse, schema
from embmem.policies.language.lessons import Lessons
from embmem.policies.language.prompt import PromptError, Situation, render
from embmem.policies.language.tools import Tools
from embmem.policies.language.usage import Usage
from embmem.policies.language.wire import ModelError
from embmem.policies.world_state import WorldState, write
from embmem.search.quoting import quote

_MAX_THE_SAME = 2  # times that a step may be taken in one state of the world; then it is refused


@dataclass(frozen=True)
class Limits:
    """How much a planner may ask of its model."""

    budget_tokens: int = 3500  # of a request
    replans: int = 2  # further answers for one step, after one that was refused
    questions: int = 4  # to the memory, for one step
    calls: int = 80  # for one task
    patience: int = 2  # requests without any answer in a task, after which the rules finish it

    def __post_init__(self) -> None:
        if min(self.budget_tokens, self.calls, self.patience) < 1 or min(self.replans, self.questions) < 0:
            raise ValueError(f"limits must be positive, got {self}")


@dataclass
class _Task:
    """What belongs to one task."""

    text: str = ""
    recent: list[tuple[Step, Outcome]] = field(default_factory=list)
    queue: list[Step] = field(default_factory=list)  # planned, not yet taken
    thought: str = ""
    tried: Counter[tuple[Step, Hashable]] = field(default_factory=Counter)  # steps, and the state they were taken in
    objections: list[str] = field(default_factory=list)  # of the critic, to the plan that was dropped
    n_calls: int = 0
    n_silent: int = 0  # requests without an answer
    decisions: list[Decision] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)  # when it began


class LanguagePlanner:
    """Decides what a robot does next by asking a model; a `StepPlanner`.

    The model sees the state of the world, what happened last, what the memory holds and what earlier attempts taught,
    within a budget of tokens. Its answer is read by the grammar and checked against the state; what does not fit goes
    back to it as an error. Whatever else happens - no answer, a refusal, nonsense, a spent budget - the fallback
    decides, and every decision is logged.

    Args:
        model: that is asked.
        fallback: a planner without any model, that can do every task. Without one the robot stops instead.
        tools: the memory; without them the world answers questions.
        critic: judges planned steps after the first.
        experience: of earlier tasks.
        geometry: of the maps, for steps about to be taken.
        hands: things that can be carried.
        limits: of what is asked.
        remembers: whether the state of the world outlives a task.
        seed: of the fences.
        count_tokens: that of the model; an estimate if not given.
        clock: gives the present [s], for experiences.
    """

    def __init__(
        self,
        model: ChatModel,
        fallback: StepPlanner | None,
        *,
        tools: Tools | None = None,
        critic: Critic | None = None,
        experience: ExperienceStore | None = None,
        geometry: Geometry | None = None,
        hands: int = 1,
        limits: Limits | None = None,
        remembers: bool = True,
        seed: int = 0,
        count_tokens: Callable[[str], int] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if hands < 1:
            raise ValueError(f"need a hand at least, got {hands}")
        self.model, self.fallback, self.tools, self.critic = model, fallback, tools, critic
        self.geometry, self.hands, self.limits, self.remembers = geometry, hands, limits or Limits(), remembers
        self.state = WorldState()
        self._lessons = Lessons(experience, clock)
        self._seed, self._count = seed, count_tokens
        self._models = [model]
        if isinstance(critic, LanguageCritic) and critic.model is not model:
            self._models.append(critic.model)
        self._task = _Task()

    @property
    def decisions(self) -> Sequence[Decision]:
        """Of this task, in order."""
        return self._task.decisions

    @property
    def usage(self) -> Usage:
        """Of the models of planner and critic in this task."""
        return self._spent() - self._task.usage

    def begin(self, instruction: str) -> None:
        """Take a task in words."""
        if not self.remembers:
            self.state = WorldState()
        self._task = _Task(instruction, usage=self._spent())
        self._lessons.begin(instruction)
        if self.fallback is not None:
            self.fallback.begin(instruction)

    def next(self) -> Step:
        """The step to do now; it is in the grammar and it fits what is known, whoever decided it."""
        before, refused = self._spent(), list[str]()
        decision = self._planned() or self._asked(refused) or self._by_rule(refused)
        tokens = (self._spent() - before).tokens
        decision = replace(decision, tokens=tokens, refused=tuple(refused))
        self._task.decisions.append(decision)
        record(decision)
        return decision.step

    def notice(self, step: Step, outcome: Outcome) -> None:
        """What came of a step, whoever decided it."""
        task = self._task
        task.tried[step, self.state.key] += 1
        self.state = write(self.state, step, outcome)
        task.recent.append((step, outcome))
        if not outcome.ok:
            task.queue.clear()
        self._lessons.notice(step, outcome)
        if self.fallback is not None:
            self.fallback.notice(step, outcome)

    def finish(self, ok: bool, reason: str = "") -> None:
        """The task is over; remember how it went."""
        self._lessons.finish([step for step, _ in self._task.recent], ok, reason)

    def _spent(self) -> Usage:
        """What has been asked of all models since they were made."""
        return sum((model.usage for model in self._models), Usage())

    def _planned(self) -> Decision | None:
        """The next step of the plan, if it still fits and the critic does not mind."""
        task = self._task
        if not task.queue:
            return None
        step = task.queue.pop(0)
        why = self._problem(step)
        if why is None and self.critic is not None:
            verdict = self.critic.judge(self._situation(()), step)
            why = None if verdict.keep else f"the critic says: {verdict.reason}"
        if why is None:
            return Decision(step, "model", task.thought)
        task.queue.clear()
        task.objections = [f"{quote(to_text(step))} was planned, but {why}"]
        return None

    def _asked(self, refused: list[str]) -> Decision | None:
        """The first step of a new plan, None if the model has no usable one; refusals are added to the list."""
        task, limits = self._task, self.limits
        n_answers = n_questions = 0
        while n_answers <= limits.replans + n_questions and task.n_silent < limits.patience:
            if task.n_calls >= limits.calls:
                refused.append(f"{limits.calls} requests were made for this task")
                return None
            task.n_calls, n_answers = task.n_calls + 1, n_answers + 1
            try:
                plan = self._ask([*task.objections, *refused])
            except ModelError as error:
                task.n_silent += 1
                refused.append(str(error))
                return None
            except (GrammarError, PromptError) as error:
                refused.append(str(error))
                continue
            steps, why = sound_beginning(self.state, plan.steps, places=self._places(), hands=self.hands)
            why = self._problem(steps[0]) if steps else why
            if why is not None or not steps:
                refused.append(str(why))
                continue
            if n_questions < limits.questions and self._answers(steps[0]):
                n_questions += 1
                continue
            if self.tools is not None and isinstance(steps[0], Recall | WhereIs) and n_questions >= limits.questions:
                refused.append("that was enough asking; do something with what is known")
                continue
            task.queue, task.thought, task.objections = list(steps[1:]), plan.thought, []
            return Decision(steps[0], "model", plan.thought, n_answers)
        return None

    def _ask(self, problems: Sequence[str]) -> Plan:
        """One answer of the model."""
        tools, task = self.tools, self._task
        prompt = render(
            self._situation(problems),
            budget_tokens=self.limits.budget_tokens,
            seed=self._seed,
            memory=None if tools is None else lambda budget: tools.remember(task.text, budget),
            count_tokens=self._count,
        )
        reply = self.model.complete(prompt.messages, schema())
        if reply.refusal:
            raise GrammarError("the model refused to answer; the task is harmless housework, answer in JSON")
        return parse(reply.text)

    def _answers(self, step: Step) -> bool:
        """Whether the memory has answered the step, which is then done."""
        if self.tools is None or not isinstance(step, Recall | WhereIs | Route):
            return False
        outcome = self.tools.answer(step, self.state)
        if outcome is None:
            return False
        self._task.recent.append((step, outcome))
        return True

    def _by_rule(self, refused: Sequence[str]) -> Decision:
        """The step of the fallback, or a stop."""
        why = refused[-1] if refused else "the model has not answered before"
        if self.fallback is None:
            return Decision(Stop(f"no usable answer: {why}"), "nobody", why, len(refused))
        step = self.fallback.next()
        if type(step) not in STEPS:
            return Decision(Stop("the rules gave no step"), "nobody", why, len(refused))
        return Decision(step, "rules", why, len(refused))

    def _problem(self, step: Step) -> str | None:
        """Why the step is not to be taken now."""
        n_times = self._task.tried[step, self.state.key]
        if n_times >= _MAX_THE_SAME:
            return f"it was done {n_times} times in the very same situation and led nowhere; do something else"
        return problem(self.state, step, places=self._places(), hands=self.hands, geometry=self.geometry)

    def _places(self) -> Collection[str]:
        return () if self.tools is None else self.tools.places()

    def _situation(self, problems: Sequence[str]) -> Situation:
        task = self._task
        return Situation(
            task.text, self.state, self._places(), task.recent, problems, self._lessons.useful(task.text, self.state)
        )
