"""What was decided, by whom and why: every step of a planner leaves one line."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from embmem.policies.actions import Step, to_text
from embmem.search.quoting import quote

logger = logging.getLogger("embmem.policies.language")
MAX_WHY = 400


@dataclass(frozen=True)
class Decision:
    """One step. `why` is the model's own sentence, or what kept its answers from being taken."""

    step: Step
    by: str  # "model", "rules" or "nobody": neither had a step, so the robot stops
    why: str
    n_answers: int = 0  # of the model, for this step
    tokens: int = 0  # of prompts and completions, for this step
    refused: tuple[str, ...] = ()  # what was wrong with the answers that were not taken

    def to_json(self) -> str:
        """One line, with nothing in it that could be taken for a line of its own."""
        fields = {
            "step": to_text(self.step), "by": self.by, "why": self.why[:MAX_WHY], "n_answers": self.n_answers,
            "tokens": self.tokens, "refused": [why[:MAX_WHY] for why in self.refused],
        }  # fmt: skip
        return quote(fields)


def record(decision: Decision) -> None:
    """Write a decision to the log of the program; one that the model did not make is a warning."""
    level = logging.INFO if decision.by == "model" else logging.WARNING
    logger.log(level, "decision %s", decision.to_json())
