"""Memory questions with exact answers: where is, when last seen, how many, which came first.

The truth is what could really be seen on the tour: pixels of the noiseless instance image. A thing counts as *seen*
where it was clear (enough pixels, near enough, in enough frames). What was only glimpsed makes an answer a matter
of taste, so categories with a glimpsed but never clear instance are not asked about.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int

from embmem.agent import Answer, Question
from embmem.sim_envs.episodes import scene_name
from embmem.sim_envs.house import OBJECT_CATEGORIES, House
from embmem.sim_envs.tasks.task import Session, Task, Tour
from embmem.sim_envs.world import World

KINDS = ("where_is", "last_seen", "how_many", "which_first")


@dataclass
class Sighting:
    """When one thing was in sight on the tour [s]."""

    clear_frames: int = 0
    first_glimpse: float = np.inf
    first_clear: float = np.inf
    last_clear: float = -np.inf
    last_glimpse: float = -np.inf


@dataclass
class Witness:
    """Watches the noiseless frames of a tour and keeps who was in sight when."""

    min_pixels: int
    max_range: float  # [m]
    sightings: dict[int, Sighting] = field(default_factory=dict)  # by instance id

    def watch(self, stamp: float, instance: Int[np.ndarray, "h w"], depth: Float[np.ndarray, "h w"]) -> None:
        """Note a frame; NaN depth is far."""
        pixels = np.bincount(instance.ravel())
        near = np.bincount(instance[depth <= self.max_range], minlength=len(pixels))
        for thing in np.flatnonzero(pixels[1:]) + 1:
            sighting = self.sightings.setdefault(int(thing), Sighting())
            sighting.first_glimpse = min(sighting.first_glimpse, stamp)
            sighting.last_glimpse = stamp
            if near[thing] >= self.min_pixels:
                sighting.clear_frames += 1
                sighting.first_clear = min(sighting.first_clear, stamp)
                sighting.last_clear = stamp


@dataclass(frozen=True, eq=False)
class Truth:
    """The answer to a question; only the field of its kind is set."""

    positions: Float[np.ndarray, "n 3"] | None = None  # where_is: any of them is right; none: it was never seen
    between: tuple[float, float] | None = None  # last_seen: from the last clear view to the last glimpse [s]
    count: int | None = None
    category: str | None = None


@dataclass(frozen=True, kw_only=True)
class Questions(Task):
    """A tour, then questions about what was seen; a share of `unseen` asks for things that were not there."""

    name: ClassVar[str] = "questions"

    per_session: int = 20
    tour: Tour = "guided"
    keeps_memory: bool = True
    min_pixels: int = 40  # of a clear view
    max_range: float = 4.0  # [m], of a clear view
    min_frames: int = 3  # that make a thing seen
    distance_tolerance: float = 0.5  # [m], where_is, horizontally
    stamp_tolerance: float = 1.0  # [s], last_seen
    order_margin: float = 2.0  # [s] between two things of which one was first
    unseen: float = 0.2  # share of where_is and how_many that ask for what is not there

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tour != "guided":
            raise ValueError(f"the truth of the questions is what a guided tour showed, got tour={self.tour!r}")

    def plan(self, world: World, house: House, index: int, n: int, rng: np.random.Generator) -> Session:
        """The questions themselves follow from the tour: `ask`."""
        return Session(index, scene_name(house.seed, self.n_rooms), house, n_questions=n)

    def witness(self) -> Witness:
        """A fresh witness of a tour."""
        return Witness(self.min_pixels, self.max_range)

    def ask(
        self, sightings: dict[int, Sighting], house: House, n: int, rng: np.random.Generator
    ) -> list[tuple[Question, Truth]]:
        """`n` questions with their answers, the kinds in turn."""
        seen = self.seen_categories(sightings, house)
        absent = sorted(set(OBJECT_CATEGORIES) - {thing.category for thing in house.objects})
        asked = []
        for i in range(n):
            kind = KINDS[i % len(KINDS)]
            if kind == "which_first":
                pair = _ordered_pair(seen, self.order_margin, rng)
                if pair is not None:
                    asked.append((Question(kind, tuple(sorted(pair))), Truth(category=pair[0])))
                continue
            draw_absent = kind != "last_seen" and rng.random() < self.unseen
            names = absent if draw_absent else sorted(seen)
            if names:
                category = str(rng.choice(names))
                asked.append((Question(kind, (category,)), _truth(kind, seen.get(category, {}), house)))
        return asked

    def seen_categories(self, sightings: dict[int, Sighting], house: House) -> dict[str, dict[int, Sighting]]:
        """The seen things by category and id, without the categories of which one was only glimpsed."""
        seen: dict[str, dict[int, Sighting]] = {}
        doubtful = set()
        for thing in house.objects:
            sighting = sightings.get(thing.id)
            if sighting is None:
                continue
            if sighting.clear_frames >= self.min_frames:
                seen.setdefault(thing.category, {})[thing.id] = sighting
            else:
                doubtful.add(thing.category)
        return {category: things for category, things in seen.items() if category not in doubtful}

    def grade(self, question: Question, truth: Truth, answer: Answer) -> dict[str, Any]:
        """success, and the error where one can be measured: `distance_to_goal` [m] or `stamp_error` [s]."""
        if question.kind == "where_is" and truth.positions is not None:
            return self._grade_place(truth.positions, answer)
        if question.kind == "last_seen" and truth.between is not None:
            low, high = truth.between
            if answer.stamp is None:
                return {"success": 0.0}
            error = max(low - answer.stamp, answer.stamp - high, 0.0)
            return {"success": float(error <= self.stamp_tolerance), "stamp_error": error}
        if question.kind == "how_many":
            return {"success": float(answer.count == truth.count)}
        return {"success": float(answer.category == truth.category)}

    def _grade_place(self, positions: Float[np.ndarray, "n 3"], answer: Answer) -> dict[str, Any]:
        if answer.position is None or not len(positions):
            return {"success": float(answer.position is None and not len(positions))}
        error = float(np.linalg.norm(positions[:, :2] - np.asarray(answer.position)[:2], axis=1).min())
        return {"success": float(error <= self.distance_tolerance), "distance_to_goal": error}


def _truth(kind: str, things: dict[int, Sighting], house: House) -> Truth:
    if kind == "how_many":
        return Truth(count=len(things))
    if kind == "where_is":
        places = [np.asarray(thing.position) for thing in house.objects if thing.id in things]
        return Truth(positions=np.array(places, dtype=np.float64).reshape(-1, 3))
    last_clear = max(s.last_clear for s in things.values())
    return Truth(between=(last_clear, max(s.last_glimpse for s in things.values())))


def _ordered_pair(
    seen: dict[str, dict[int, Sighting]], margin: float, rng: np.random.Generator
) -> tuple[str, str] | None:
    """Two categories of which the first was clear before the second was even glimpsed; None if there are none."""
    clear = {c: min(s.first_clear for s in things.values()) for c, things in seen.items()}
    glimpse = {c: min(s.first_glimpse for s in things.values()) for c, things in seen.items()}
    pairs = [(a, b) for a in sorted(seen) for b in sorted(seen) if clear[a] + margin <= glimpse[b]]
    return pairs[int(rng.integers(len(pairs)))] if pairs else None
