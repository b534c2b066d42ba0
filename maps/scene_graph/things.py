"""The things that a scene graph is made of, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from embmem.maps.identity.table import moved_boxes
from embmem.maps.objects import ObjectMemory


@dataclass(frozen=True, eq=False)
class Things:
    """What is believed to be there, ids ascending."""

    ids: Int[np.ndarray, " n"]
    categories: tuple[str, ...]
    box: Float[np.ndarray, "n 2 3"]  # [m] lowest and highest corner
    stamp: Float[np.ndarray, " n"]  # [s] last seen; also the anchor that a deformation moves the thing by
    confidence: Float[np.ndarray, " n"]  # of being there, [0, 1]

    def __post_init__(self) -> None:
        n = len(self.ids)
        shapes = (len(self.categories), self.box.shape, len(self.stamp), len(self.confidence))
        if shapes != (n, (n, 2, 3), n, n):
            raise ValueError(f"things: need categories, boxes, stamps and confidences of {n}, got {shapes}")
        problems = {
            "ids must ascend from 0": n and (self.ids[0] < 0 or (np.diff(self.ids) <= 0).any()),
            "numbers must be finite": not all(np.isfinite(a).all() for a in (self.box, self.stamp, self.confidence)),
            "a box is inside out": (self.box[:, 0] > self.box[:, 1]).any(),
            "confidences must lie in [0, 1]": ((self.confidence < 0) | (self.confidence > 1)).any(),
        }
        for problem, is_so in problems.items():
            if is_so:
                raise ValueError(f"things: {problem}")

    def __len__(self) -> int:
        return len(self.ids)

    @staticmethod
    def none() -> Things:
        """No things."""
        return Things(np.zeros(0, dtype=np.int64), (), np.zeros((0, 2, 3)), np.zeros(0), np.zeros(0))

    @staticmethod
    def of(objects: ObjectMemory, min_confidence: float = 0.5) -> Things:
        """What an object memory believes to be there."""
        rows = objects.things()
        rows = rows[rows["confidence"] >= min_confidence]
        categories = tuple(objects.categories[i] for i in rows["category"].tolist())
        ids, box, stamp, confidence = (rows[name].copy() for name in ("id", "box", "last_seen", "confidence"))
        return Things(ids, categories, box, stamp, confidence)

    @property
    def position(self) -> Float[np.ndarray, "n 3"]:
        """(n, 3) [m] middles of the boxes."""
        return self.box.mean(axis=1)

    def named(self, names: frozenset[str]) -> Bool[np.ndarray, " n"]:
        """Whether the category of each thing is one of the names, which are in lower case."""
        return np.array([category.casefold() in names for category in self.categories], dtype=np.bool_)

    def moved(self, T_new_old: Float[np.ndarray, "n 4 4"]) -> Things:
        """Each thing moved by its own transform; boxes stay axis-aligned and hold what they held."""
        return replace(self, box=moved_boxes(self.box, T_new_old))
