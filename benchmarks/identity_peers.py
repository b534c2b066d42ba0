"""Simpler ways to tell things apart, in a memory that is the same in everything else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from embmem.maps import ObjectMemory
from embmem.maps.association import associate
from embmem.maps.identity.recognise import Frame, add_looks, read_frame
from embmem.maps.identity.table import ThingTable
from embmem.maps.sightings import confirmed
from embmem.observation import Observation

NEAR = 0.5  # [m]
ALIKE = 0.8  # cosine, in the middle between that of one instance (.88) and of two of a category (.71)


def nearest(table: ThingTable, frame: Frame) -> np.ndarray:
    """(n, m) costs: distances up to `NEAR`, whatever the category."""
    distance = np.linalg.norm(table.rows["position"][:, None] - frame.segments.position[None], axis=2)
    return np.where(distance <= NEAR, distance, np.inf)


def alike(table: ThingTable, frame: Frame) -> np.ndarray:
    """(n, m) costs: 1 - cosine from `ALIKE` on, wherever it is."""
    if table.looks.shape[1] != frame.looks.shape[1] or not table.looks.shape[1]:
        return np.full((len(table), len(frame.segments)), np.inf)
    means = table.looks / np.maximum(np.linalg.norm(table.looks, axis=1, keepdims=True), 1e-9)
    cosine = means.astype(np.float64) @ frame.looks.T
    return np.where(cosine >= ALIKE, 1.0 - cosine, np.inf)


class SimpleMemory(ObjectMemory):
    """Sightings, existence and absence as in `ObjectMemory`; who is who is decided by one cost."""

    def __init__(self, costs: Callable[[ThingTable, Frame], np.ndarray]) -> None:
        super().__init__()
        self._costs = costs

    def observe(self, observation: Observation) -> None:
        """Learn from one frame."""
        read = self.read(observation)
        frame = read_frame(observation, read.segments, read.category)
        table, segments = self.table, frame.segments
        seen, columns = associate(self._costs(table, frame))
        old, new = table.rows["box"][seen], segments.box[columns]
        jumped = (np.maximum(old[:, 0] - new[:, 1], new[:, 0] - old[:, 1]) > 0).any(axis=1)
        table.rows["weight"][seen[jumped]] = 0.0  # it is where it is seen
        table.rows["box"][seen[jumped]] = new[jumped]
        table.rows[seen] = confirmed(table.rows[seen], segments, columns, stamp=frame.stamp)
        self._believe(seen)
        self._doubt(observation, seen, np.asarray(observation.semantic))
        ids = np.full(len(segments), -1)
        ids[columns] = table.rows["id"][seen]
        others = np.flatnonzero(ids < 0)
        ids[others] = self._append(segments, frame.category, others, frame.stamp)
        add_looks(table, np.searchsorted(table.rows["id"], ids), frame.looks)
        self._drop(np.zeros(len(table), dtype=np.bool_))
        self.seen_now = dict(zip(segments.number.tolist(), ids.tolist(), strict=True))
