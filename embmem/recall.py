"""Retrieval over the levels of memory: what is at hand if it is good enough, else what was written down."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from embmem.forgetting.budgets import Uses
from embmem.long_term import LongTermMemory
from embmem.records import Hit, Query
from embmem.short_term.memory import ShortTermMemory


@dataclass(frozen=True, eq=False)
class Recalled:
    """An answer and where it comes from."""

    hits: list[Hit]  # best first; empty where no level knows
    level: str  # "short_term", "long_term" or "none"
    why: str


@dataclass(frozen=True)
class MultiLevelRecall:
    """Short-term first above a similarity gate, else the best of the long-term memory (after Mem4Nav's retrieval).

    The short-term memory answers if anything within `radius` of where the question is asked is at least `similarity`
    alike; a question without an embedding has no similarity, so anything that matches there is good enough. Reads
    count as use: in the short-term memory for its policy, in the long-term memory for forgetting.
    """

    short_term: ShortTermMemory
    long_term: LongTermMemory
    similarity: float = 0.7
    radius: float = 3.0  # [m]
    k: int = 3
    uses: Uses | None = None
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        if not (-1 <= self.similarity <= 1 and self.radius > 0 and self.k >= 1):
            raise ValueError(f"need a cosine, radius > 0 and k >= 1, got {self.similarity}, {self.radius}, {self.k}")

    def recall(self, query: Query) -> Recalled:
        """At most `k` hits of one level; `query.near` says where it is asked, `query.radius` bounds both levels."""
        gate = max(self.similarity, query.min_similarity)
        near = replace(query, k=self.k, min_similarity=gate, radius=min(self.radius, query.radius))
        hits = self.short_term.query(near)
        if hits:
            return Recalled(hits, "short_term", f"{len(hits)} at hand, best: {hits[0].why}")
        missed = self._why_not(query, near)
        hits = self.long_term.search(replace(query, k=self.k))
        if not hits:
            return Recalled([], "none", f"{missed}; the long-term memory has nothing that matches")
        if self.uses is not None:
            self.uses.count([hit.record.id for hit in hits if hit.record and hit.record.id], self.clock())
        return Recalled(hits, "long_term", f"{missed}; long-term memory, best: {hits[0].why}")

    def _why_not(self, query: Query, near: Query) -> str:
        """What kept the short-term memory from answering."""
        if query.embedding is None:
            return f"nothing at hand matches within {near.radius:g} m"
        best = self.short_term.query(replace(near, k=1, min_similarity=-1.0), is_read=False)
        if not best:
            where = "" if query.near is None or not np.isfinite(near.radius) else f" within {near.radius:g} m"
            return f"nothing at hand{where}"
        return f"the best at hand has cosine {best[0].score:.2f}, below {near.min_similarity:.2f}"
