"""Questions about houses whose answers follow from the true boxes of things, for the rules that read a map's text.

Only clear questions are asked: where another answer is nearly as right, a little of the geometry decides and not the
map. What was not to be seen on the tour is not asked about.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
from grid_houses import Seen

from embmem.maps.semantic_map.annotation import seen_from
from embmem.maps.semantic_map.rules import Item, answer

CONE = math.radians(50.0)  # of the rules
CLEAR_ANGLE = math.radians(12.0)
CLEAR_GAP = 0.2  # [m]
SIDES = {"left": math.pi / 2, "right": -math.pi / 2}


@dataclass(frozen=True, eq=False)
class Question:
    """What to ask and what is right: a thing or a truth value."""

    kind: str
    text: str
    thing: Seen | None = None
    is_so: bool | None = None


def questions(seen: list[Seen], agent: np.ndarray) -> list[Question]:
    """All clear questions about the things seen by an agent at (x, y, heading)."""
    counts = Counter(thing.category for thing in seen)
    subjects = [thing for thing in seen if counts[thing.category] == 1]
    pose = (float(agent[0]), float(agent[1]), float(agent[2]))
    asked = [question for thing in subjects for question in _of_me(thing, pose)]
    for thing in subjects:
        asked += [q for side in SIDES if (q := _beside(thing, side, seen, pose)) is not None]
        others = [each for each in seen if each is not thing]
        if (q := _nearest(f"what is the nearest thing to the {thing.category}?", thing, others)) is not None:
            asked.append(q)
        for category in sorted({each.category for each in others if counts[each.category] > 1}):
            of_kind = [each for each in others if each.category == category]
            if (q := _nearest(f"which is the nearest {category} to the {thing.category}?", thing, of_kind)) is not None:
                asked.append(q)
    return asked


def is_right(question: Question, text: str) -> bool:
    """Whether the rules answer it from the text alone."""
    try:
        reply = answer(text, question.text)
    except ValueError:  # what it asks about is not on the map
        return False
    if question.thing is None:
        return reply.is_so == question.is_so
    return bool(reply.items) and _is_it(reply.items[0], question.thing)


def _is_it(item: Item, thing: Seen) -> bool:
    """Whether a label means a thing: its category, and a place inside of its box or near its middle."""
    point = np.array([item.x, item.y])
    gap = np.maximum(np.maximum(thing.box[0, :2] - point, point - thing.box[1, :2]), 0.0)
    return item.category == thing.category and float(np.hypot(*gap)) < 0.15


def _middle(thing: Seen) -> tuple[float, float]:
    x, y = thing.box[:, :2].mean(axis=0).tolist()
    return x, y


def _of_me(thing: Seen, pose: tuple[float, float, float]) -> list[Question]:
    distance, bearing = seen_from(pose, *_middle(thing))
    if distance < 0.7:
        return []
    asked = []
    for place, direction in (("in front of", 0.0), ("behind", math.pi), ("to the left of", math.pi / 2)):
        off = abs(math.remainder(bearing - direction, math.tau))
        if abs(off - math.pi / 2) > CLEAR_ANGLE:
            asked.append(Question("of me", f"is the {thing.category} {place} me?", is_so=off < math.pi / 2))
    return asked


def _beside(thing: Seen, side: str, seen: list[Seen], pose: tuple[float, float, float]) -> Question | None:
    """What is on that side of a thing, as the agent sees it; None unless one answer is clearly the nearest."""
    x, y = _middle(thing)
    if math.hypot(x - pose[0], y - pose[1]) < 0.7:
        return None
    sight = math.atan2(y - pose[1], x - pose[0])
    sure, maybe = [], []
    for other in seen:
        if other is thing:
            continue
        _, bearing = seen_from((x, y, sight + SIDES[side]), *_middle(other))
        if abs(bearing) <= CONE + CLEAR_ANGLE:
            maybe.append(other)
        if abs(bearing) <= CONE - CLEAR_ANGLE:
            sure.append(other)
    question = _nearest(f"what is {side} of the {thing.category}?", thing, maybe)
    if question is None or not any(question.thing is each for each in sure):
        return None
    return Question("beside", question.text, question.thing)


def _nearest(text: str, thing: Seen, others: list[Seen]) -> Question | None:
    """The nearest of the others, by the gap between the boxes; None unless it is clearly so."""
    ranked = sorted(others, key=thing.gap)
    if not ranked or (len(ranked) > 1 and thing.gap(ranked[1]) - thing.gap(ranked[0]) < CLEAR_GAP):
        return None
    return Question("nearest", text, ranked[0])
