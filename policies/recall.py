"""What the memory says about where a thing may be, and which of it has turned out to be wrong."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from embmem.memory import Memory
from embmem.records import Hit, Query

LAYER = "objects"
_ALL = 10_000  # more objects of one category than any home holds
_SAME = 0.35  # [m] within which two positions are the same hypothesis


@dataclass(eq=False)
class Recall:
    """The hypotheses of one search: remembered objects of a category, less those that were seen to be gone."""

    category: str
    min_confidence: float  # of the object's existence
    weak: float = 0.35  # confidence of a hint, which counts where there is nothing better
    dismissed: list[tuple[np.ndarray, float]] = field(default_factory=list)  # position [m], stamp [s]

    def hypotheses(self, memory: Memory) -> list[Hit]:
        """The hits of the object layer that are worth a walk, best first; hints only where there is nothing better.

        A single sighting may be a mistake of the detector, but going to see costs less than searching the house.
        """
        hits = [hit for hit in remembered(memory, self.category) if self._is_open(hit)]
        sure = [hit for hit in hits if hit.detail["confidence"] >= self.min_confidence]
        return sure or [hit for hit in hits if hit.detail["confidence"] >= self.weak]

    def dismiss(self, hit: Hit, stamp: float) -> None:
        """It was not there; only a sighting after `stamp` brings it back."""
        if hit.position is not None:
            self.dismissed.append((hit.position, stamp))

    def forgive(self) -> None:
        """Give every hypothesis another chance."""
        self.dismissed.clear()

    def _is_open(self, hit: Hit) -> bool:
        """Whether the hit has a place that was not found empty since."""
        position = hit.position
        return position is not None and not any(
            hit.stamp <= stamp and np.linalg.norm(position - where) < _SAME for where, stamp in self.dismissed
        )


def remembered(memory: Memory, category: str) -> list[Hit]:
    """All that the object layer holds of a category, best first; its other layers and its log are not asked."""
    query = Query(entity=category, k=_ALL)
    return [hit for layer in memory.layers if layer.kind == LAYER for hit in layer.query(query)]


def same_object(a: Hit, b: Hit) -> bool:
    """Whether two hits, perhaps of different instants, speak of one thing."""
    if a.position is None or b.position is None:
        return False
    return bool(np.linalg.norm(a.position - b.position) < _SAME)
