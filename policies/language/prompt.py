"""What a language model is shown: the task, the state of the world, what just happened, what is remembered; in budget.

Everything but the task and our own words stands inside a fence, as JSON, one line a fact. What matters more comes
first and is the last to be left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from embmem.errors import EmbmemError
from embmem.experience import Remembered
from embmem.policies.actions import QUESTIONS, Outcome, Step, to_text
from embmem.policies.language.fence import Fence, line
from embmem.policies.language.grammar import MAX_NAME, MAX_STEPS, help_text
from embmem.policies.world_state import WorldState, outermost
from embmem.search.quoting import quote
from embmem.search.token_count import estimate_tokens

MAX_TASK = 1200  # characters
MAX_REASON = 240
MAX_ANSWERED = 1500  # of what a question was answered
RECENT = 12  # steps that are shown
_MOST_THINGS = 40  # on one line
_TRIES = 4
_MARK = "data-" + "0" * 16  # as long as any, to reckon with
_RULE = Fence(0).rule.replace(Fence(0).tag, _MARK)
_TITLES = (
    "state of the world",
    "remembered",
    "earlier attempts at such tasks",
    "last steps and what came of them",
    "why your answers were refused",
)
_ASK = "What are the next steps? One JSON object."
_WORD = re.compile(r"[^\W_]+")
_SHARES = {
    "problems": 0.15,
    "recent": 0.2,
    "memory": 0.35,
    "lessons": 0.15,
}  # of what is left for data; state: the rest

SYSTEM = """You decide what a household robot does next. You see what it knows and answer with steps it will take.
Answer with one JSON object and nothing else:
{{"thought": "one sentence", "steps": [STEP, ...]}}, 1 to {most} steps, each one of
{steps}
Use names exactly as they stand in the data. Something can be taken, put down, opened or closed only where the robot
stands: go there first. What is inside something closed is reached by opening it. Plan only as far as you know what
you will find; after look, recall, where_is, route and ask you are called again. Stop when the task is done, or cannot
be done. Every step is checked before it is taken, and refused with a reason if it does not fit the world.
{rule}"""


class PromptError(EmbmemError):
    """A request cannot be made within its budget."""


@dataclass(frozen=True)
class Situation:
    """What the model is told besides its memory."""

    task: str
    state: WorldState
    places: Collection[str] = ()  # rooms and receptacles that are known to exist, perhaps with the rooms of the latter
    recent: Sequence[tuple[Step, Outcome]] = ()  # oldest first
    problems: Sequence[str] = ()  # why earlier answers to this very request were refused
    lessons: Sequence[Remembered] = ()  # most useful first


@dataclass(frozen=True)
class Prompt:
    """A request as it is sent."""

    messages: list[dict[str, str]]
    n_tokens: int
    left_out: dict[str, int] = field(default_factory=dict)  # lines that did not fit, by section


def render(
    situation: Situation,
    *,
    budget_tokens: int,
    seed: int = 0,
    memory: Callable[[int], str] | None = None,
    count_tokens: Callable[[str], int] | None = None,
) -> Prompt:
    """The messages of a request; they have at most `budget_tokens`, by `count_tokens`.

    Args:
        situation: what is to be decided.
        budget_tokens: of the whole request.
        seed: of the fence.
        memory: gives what is remembered as a text of at most so many tokens.
        count_tokens: that of the model; `estimate_tokens` if not given.

    Raises:
        PromptError: if not even the rules and the task fit.
    """
    count, slack = count_tokens or estimate_tokens, 0
    for _ in range(_TRIES):
        prompt = _render(situation, budget_tokens - slack, seed, memory, count)
        if prompt.n_tokens <= budget_tokens:
            return prompt
        slack += prompt.n_tokens - budget_tokens  # some tokenizers count a whole text dearer than its lines
    raise PromptError(f"{prompt.n_tokens} tokens do not fit into {budget_tokens}")


def _render(
    situation: Situation, budget: int, seed: int, memory: Callable[[int], str] | None, count: Callable[[str], int]
) -> Prompt:
    ask = f"The task, in the words of the person who gave it: {line(situation.task, MAX_TASK)}\n{_ASK}"
    frames = "\n".join(f"<{_MARK}> {title}\n\n</{_MARK}>" for title in _TITLES)
    rules = SYSTEM.format(most=MAX_STEPS, steps=help_text(), rule=_RULE)
    room = budget - count(rules) - count(ask + frames)
    if room < 0:
        raise PromptError(f"rules and task alone need {budget - room} tokens, the budget is {budget}")
    shares = {name: int(room * share) for name, share in _SHARES.items()}
    problems, no_problems = fit_lines(
        [line(p, MAX_REASON) for p in reversed(situation.problems)], shares["problems"], count
    )
    recent, no_recent = fit_lines(recent_lines(situation.recent), shares["recent"], count)
    lessons, no_lessons = fit_lines([_lesson(r) for r in situation.lessons], shares["lessons"], count)
    remembered = "" if memory is None else memory(shares["memory"])
    used = sum(count(text + "\n") for text in (*problems, *recent, *lessons, remembered))
    state, no_state = fit_lines(state_lines(situation), room - used, count)
    sections = [state, [remembered] if remembered else [], lessons, recent[::-1], problems[::-1]]
    fence = Fence(seed, *("\n".join(lines) for lines in sections))
    body = [fence.wrap(name, "\n".join(lines)) for name, lines in zip(_TITLES, sections, strict=True) if lines]
    messages = [
        {"role": "system", "content": SYSTEM.format(most=MAX_STEPS, steps=help_text(), rule=fence.rule)},
        {"role": "user", "content": "\n".join([*body, ask])},
    ]
    left_out = {"problems": no_problems, "recent": no_recent, "lessons": no_lessons, "state": no_state}
    return Prompt(messages, sum(count(m["content"]) for m in messages), left_out)


def fit_lines(lines: Sequence[str], budget: int, count: Callable[[str], int]) -> tuple[list[str], int]:
    """The longest beginning that fits, and how many lines are left out."""
    kept, used = [], 0
    for text in lines:
        used += count(text + "\n")
        if used > budget:
            break
        kept.append(text)
    return kept, len(lines) - len(kept)


def state_lines(situation: Situation) -> list[str]:
    """The robot, then a line a receptacle: what the task names and what is near first."""
    state = situation.state
    here = None if state.at is None else outermost(state, state.at)
    held = [name[:MAX_NAME] for name in state.held]
    robot = {"robot_at": _name(state.at), "room": _name(here), "holding": held} | _states(state, state.held)
    receptacles = {*(w for n, w in state.inside.items() if n not in state.inside.values()), *state.is_open}
    rooms = {where for name, where in state.inside.items() if name in receptacles}
    receptacles -= rooms
    words = set(_WORD.findall(situation.task.casefold()))

    held_by: dict[str, list[str]] = {name: [] for name in receptacles}
    for thing, where in sorted(state.inside.items()):
        held_by.get(where, []).append(thing)

    def order(name: str) -> tuple[int, bool, str]:
        there = set(_WORD.findall(" ".join([name, *held_by[name]]).casefold()))
        return -len(words & there), outermost(state, name) != here, name

    lines = [quote(robot)]
    for name in sorted(receptacles, key=order):
        room = state.inside.get(name)
        door = {"door": "open" if state.is_open[name] else "closed"} if name in state.is_open else {}
        shown = held_by[name][:_MOST_THINGS]
        fact = {"receptacle": _name(name), "room": _name(room), **door, "holds": [thing[:MAX_NAME] for thing in shown]}
        lines.append(quote(fact | _states(state, shown)))
    others = sorted({*situation.places, *rooms} - receptacles)
    return [*lines[:1], *(quote(_place(name, situation.places)) for name in others), *lines[1:]]


def _place(name: str, places: Collection[str]) -> dict[str, str]:
    room = places.get(name) if isinstance(places, Mapping) else None
    return {"place": name[:MAX_NAME]} | ({"room": room[:MAX_NAME]} if room else {})


def recent_lines(recent: Sequence[tuple[Step, Outcome]]) -> list[str]:
    """Newest first."""
    lines = []
    for step, outcome in list(recent)[-RECENT:][::-1]:
        limit = MAX_ANSWERED if isinstance(step, QUESTIONS) else MAX_REASON
        said = {"said": outcome.reason[:limit]} if outcome.reason else {}
        lines.append(quote({"step": to_text(step), "worked": outcome.ok, **said}))
    return lines


def _lesson(remembered: Remembered) -> str:
    """An earlier attempt, or what repaired an error."""
    tried = remembered.experience
    reason = {"because": tried.reason[:MAX_REASON]} if tried.reason else {}
    after = {"after": tried.repaired[:MAX_REASON]} if tried.repaired else {}
    plan = [step[:MAX_NAME] for step in tried.plan[:MAX_STEPS]]
    return quote({"task": tried.task[:MAX_REASON], **after, "plan": plan, "worked": tried.ok, **reason})


def _states(state: WorldState, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """`{"states": {"mug_2": "dirty"}}`, beside the names, which are used as they stand; empty without states."""
    known = {name[:MAX_NAME]: state.states[name][:MAX_NAME] for name in names if name in state.states}
    return {"states": known} if known else {}


def _name(name: str | None) -> str | None:
    return None if name is None else name[:MAX_NAME]
