"""Answers about the past, from the object memory alone."""

from __future__ import annotations

from embmem.agent import Answer, Question
from embmem.memory import Memory
from embmem.policies.recall import remembered
from embmem.records import Hit


def answer(memory: Memory, question: Question, min_confidence: float = 0.5) -> Answer:
    """The answer to the question; its field stays None where the memory holds nothing.

    Where several objects fit, `where_is` names the one that was seen last and `last_seen` its time.
    """
    objects = {name: _objects(memory, name, min_confidence) for name in question.categories}
    first = objects[question.categories[0]] if question.categories else []
    if question.kind == "where_is":
        return Answer(position=_latest(first).position) if first else Answer()
    if question.kind == "last_seen":
        return Answer(stamp=_latest(first).stamp) if first else Answer()
    if question.kind == "how_many":
        return Answer(count=len(first))
    if question.kind == "which_first":
        seen = {name: min(h.detail["first_seen"] for h in hits) for name, hits in objects.items() if hits}
        return Answer(category=min(seen, key=lambda name: (seen[name], name))) if seen else Answer()
    raise ValueError(f"kind must be where_is, last_seen, how_many or which_first, got {question.kind!r}")


def _objects(memory: Memory, category: str, min_confidence: float) -> list[Hit]:
    return [hit for hit in remembered(memory, category) if hit.detail["confidence"] >= min_confidence]


def _latest(hits: list[Hit]) -> Hit:
    return max(hits, key=lambda hit: (hit.stamp, hit.score))
