"""A second opinion on the later steps of a plan; the first step of a plan is never vetoed.

After the planner-critic loops of RoboMemory (Lei et al., arXiv 2508.01415) and STMA (Lei et al., arXiv 2502.10177): a
critic that may veto every step can keep the robot from ever doing anything, so it is asked only once the first step of
a plan has been taken, about whether the rest still fits what was seen since.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from embmem.policies.actions import Step, to_text
from embmem.policies.language.client import ChatModel
from embmem.policies.language.fence import Fence, line
from embmem.policies.language.grammar import GrammarError, read_object
from embmem.policies.language.prompt import MAX_TASK, Situation, recent_lines, state_lines
from embmem.policies.language.wire import ModelError
from embmem.search.quoting import quote
from embmem.search.token_count import estimate_tokens

MAX_REASON = 240
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"keep": {"type": "boolean"}, "reason": {"type": "string"}},
    "required": ["keep", "reason"],
    "additionalProperties": False,
}
_RULES = """You judge whether the next step of a household robot's plan still makes sense after what it has just seen.
Answer with one JSON object and nothing else: {{"keep": true or false, "reason": "one sentence"}}
{rule}"""


@dataclass(frozen=True)
class Verdict:
    """Whether a step is to be taken."""

    keep: bool
    reason: str = ""


@runtime_checkable
class Critic(Protocol):
    """Judges steps that were planned a while ago."""

    def judge(self, situation: Situation, step: Step) -> Verdict:
        """Whether the step still makes sense."""


class LanguageCritic:
    """A critic that asks a model. Without a usable answer the step is kept: the checks still come after.

    Args:
        model: that is asked.
        budget_tokens: of a request.
        seed: of the fence.
    """

    def __init__(self, model: ChatModel, *, budget_tokens: int = 1500, seed: int = 0) -> None:
        self.model, self._budget, self._seed = model, budget_tokens, seed

    def judge(self, situation: Situation, step: Step) -> Verdict:
        """Ask once."""
        try:
            reply = self.model.complete(self._messages(situation, step), SCHEMA)
            said = read_object(reply.text)
        except (ModelError, GrammarError):
            return Verdict(True, "the critic has no usable answer")
        match said:
            case {"keep": bool(keep), "reason": str(reason)}:
                return Verdict(keep, reason[:MAX_REASON])
        return Verdict(True, "the critic has no usable answer")

    def _messages(self, situation: Situation, step: Step) -> list[dict[str, str]]:
        lines: list[str] = []
        left = self._budget - 400  # rules, task and step
        for text in [*recent_lines(situation.recent)[:4], *state_lines(situation)]:
            left -= estimate_tokens(text + "\n")
            if left < 0:
                break
            lines.append(text)
        planned = quote({"next_step": to_text(step)})
        fence = Fence(self._seed, planned, *lines)
        task = f"The task, in the words of the person who gave it: {line(situation.task, MAX_TASK)}"
        body = fence.wrap("last steps newest first and state of the world", "\n".join([*lines, planned]))
        return [
            {"role": "system", "content": _RULES.format(rule=fence.rule)},
            {"role": "user", "content": f"{body}\n{task}\nIs the next step to be taken? One JSON object."},
        ]
