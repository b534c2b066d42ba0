"""Questions about a stream of sightings, and how many of them what is left of it answers right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from forgetting_stream import Stream

from embmem.forgetting.policies import Remembered

NEAR = 0.5  # [m]
N_THEN, N_ROOM = 2000, 300


@dataclass(frozen=True, eq=False)
class Exam:
    """The questions, which are the same for all, and the truth."""

    truth: np.ndarray  # (tours, things, 3) [m]
    true_room: np.ndarray  # (tours, things)
    ends: np.ndarray  # (tours,) [s]
    room_of: np.ndarray  # (n,) room of each sighting
    topic_of: np.ndarray  # (things,) topic of each thing, -1 = never seen
    then: np.ndarray  # (m, 2) tour, thing
    rooms: np.ndarray  # (k, 2) tour, room

    @classmethod
    def of(cls, stream: Stream, seed: int) -> Exam:
        """Draw the questions."""
        rng = np.random.default_rng([seed, 1])
        things = stream.houses[0].objects
        names = {name: i for i, name in enumerate(sorted({r.entities[0] for r in stream.sightings}))}
        places = [f"{room.kind} {room.id}" for room in stream.houses[0].rooms]
        n_tours = len(stream.ends)
        return cls(
            truth=np.array([[o.position for o in house.objects] for house in stream.houses]),
            true_room=np.array([[o.room for o in house.objects] for house in stream.houses]),
            ends=stream.ends,
            room_of=np.array([places.index(r.place) if r.place in places else -1 for r in stream.sightings]),
            topic_of=np.array([names.get(f"{o.category} {o.id}", -1) for o in things]),
            then=np.column_stack([rng.integers(n_tours, size=N_THEN), rng.integers(len(things), size=N_THEN)]),
            rooms=np.column_stack([rng.integers(n_tours, size=N_ROOM), rng.integers(len(places), size=N_ROOM)]),
        )

    def grade(self, left: Remembered) -> dict[str, float]:
        """Share of right answers by kind of question."""
        last = len(self.ends) - 1
        answer = np.stack([self._answers(left, tour) for tour in range(len(self.ends))])  # rows of `left`, -1 = none
        apart = np.linalg.norm(left.positions[answer] - self.truth, axis=2)
        is_right = (answer >= 0) & (apart <= NEAR)
        room = np.where(answer >= 0, self.room_of[left.ids[answer] - 1], -1)
        return {
            "now": float(is_right[last].mean()),
            "then": float(is_right[tuple(self.then.T)].mean()),
            "room": float(np.mean([_f1(room[t] == r, self.true_room[t] == r) for t, r in self.rooms])),
        }

    def _answers(self, left: Remembered, tour: int) -> np.ndarray:
        """The row that tells of each thing after a tour."""
        order = np.lexsort((left.stamps, left.topics))
        topics, stamps = left.topics[order], left.stamps[order]
        start, end = np.searchsorted(topics, self.topic_of), np.searchsorted(topics, self.topic_of, side="right")
        rows = np.full(len(self.topic_of), -1)
        for thing, (a, b) in enumerate(zip(start, end, strict=True)):
            if a < b:
                newest = a + int(np.searchsorted(stamps[a:b], self.ends[tour], side="right")) - 1
                rows[thing] = order[max(newest, a)]
        return rows


def _f1(told: np.ndarray, true: np.ndarray) -> float:
    n = int(told.sum() + true.sum())
    return 1.0 if n == 0 else 2.0 * float((told & true).sum()) / n
