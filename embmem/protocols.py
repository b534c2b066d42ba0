"""The two small protocols that every map and every store speaks.

A class of a third party needs no base class: it passes `embmem.testing.LayerContract` or `StoreContract`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from embmem.observation import Observation
from embmem.records import Hit, Query, Record


@dataclass(frozen=True, eq=False)
class LayerState:
    """A layer as plain data: what is written to a file and read back without executing anything."""

    kind: str
    version: int
    params: dict[str, Any]  # JSON values, the constructor's arguments
    arrays: dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Deformation:
    """How a loop closure moved the keyframes: what was anchored at `stamps[i]` moves by `T_new_old[i]`."""

    stamps: np.ndarray  # (n,) ascending [s]
    T_new_old: np.ndarray  # (n, 4, 4)

    def at(self, stamp: np.ndarray) -> np.ndarray:
        """(m, 4, 4) corrections of the keyframes nearest in time to the m stamps."""
        right = np.clip(np.searchsorted(self.stamps, stamp), 1, max(len(self.stamps) - 1, 1))
        right = np.minimum(right, len(self.stamps) - 1)
        left = np.maximum(right - 1, 0)
        nearer_left = np.abs(stamp - self.stamps[left]) <= np.abs(self.stamps[right] - stamp)
        return self.T_new_old[np.where(nearer_left, left, right)]


@runtime_checkable
class Layer(Protocol):
    """A map: integrates observations, answers queries, forgets with time, follows the pose graph, saves itself."""

    kind: ClassVar[str]  # names the layer in files and in hits
    version: ClassVar[int]  # of the saved form

    def observe(self, observation: Observation) -> None:
        """Integrate one observation that has passed the gate."""

    def query(self, query: Query) -> list[Hit]:
        """At most `query.k` hits, best first; ties keep a fixed order. Empty where the layer has no answer."""

    def tick(self, stamp: float) -> None:
        """Let time pass to `stamp` [s] without an observation (decay, forgetting)."""

    def deform(self, deformation: Deformation) -> None:
        """Move what is held along with its keyframes."""

    def stats(self) -> dict[str, float]:
        """Sizes and counters, among them `bytes` of RAM."""

    def save(self) -> LayerState:
        """The whole layer as plain data."""

    @classmethod
    def load(cls, state: LayerState) -> Layer:
        """The layer that was saved.

        Raises:
            InputError: if the state is of another kind, a newer version or malformed.
        """


@runtime_checkable
class Store(Protocol):
    """An append-only record store."""

    def write(self, record: Record) -> int:
        """The id given to the record; ids ascend in order of writing."""

    def read(self, query: Query) -> list[Record]:
        """At most `query.k` records that match every set field, newest event first; ties newest id first."""

    def __len__(self) -> int:
        """Number of records."""

    def close(self) -> None:
        """Release the file; writing afterwards is an error."""
