"""What calls to a language model have cost."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from operator import add, sub


@dataclass(frozen=True)
class Usage:
    """Counts of calls and tokens; add and subtract them to get the share of a task."""

    n_calls: int = 0  # answered by the endpoint
    n_cached: int = 0  # answered from the cache
    n_retries: int = 0
    n_failed: int = 0  # without an answer after all retries
    prompt_tokens: int = 0  # of calls to the endpoint
    completion_tokens: int = 0
    cached_tokens: int = 0  # prompt and completion that the cache saved
    cost: float = 0.0  # in the currency of the prices

    @property
    def tokens(self) -> int:
        """Of prompts and completions, whoever answered: what the task needs."""
        return self.prompt_tokens + self.completion_tokens + self.cached_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(*map(add, astuple(self), astuple(other)))

    def __sub__(self, other: Usage) -> Usage:
        return Usage(*map(sub, astuple(self), astuple(other)))
