"""The two small protocols that every map and every store speaks.

A class of a third party needs no base class: it passes `embmem.testing.LayerContract` or `StoreContract`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
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
    """How a loop closure moved the keyframes: what was anchored at `stamps[i]` moves by `T_new_old[i]`.

    Raises:
        ValueError: if there is not one move a stamp, a number is not finite or the stamps do not ascend.
    """

    stamps: np.ndarray  # (n,) ascending [s]; none: nothing moves
    T_new_old: np.ndarray  # (n, 4, 4)
    evidence: dict[str, np.ndarray] = field(default_factory=dict)  # what the pose graph is to remember of it

    def __post_init__(self) -> None:
        if self.stamps.ndim != 1 or self.T_new_old.shape != (len(self.stamps), 4, 4):
            raise ValueError(f"moves of shape {self.T_new_old.shape} at stamps of shape {self.stamps.shape}")
        if not (np.isfinite(self.stamps).all() and np.isfinite(self.T_new_old).all()):
            raise ValueError("the stamps and moves of a deformation must be finite")
        if (np.diff(self.stamps) < 0).any():
            raise ValueError("the stamps of a deformation must ascend")

    def at(self, stamp: np.ndarray) -> np.ndarray:
        """(m, 4, 4) corrections of the keyframes nearest in time to the m stamps."""
        if len(self.stamps) == 0:
            return np.tile(np.eye(4), (len(stamp), 1, 1))
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
class PoseCorrector(Protocol):
    """A layer that finds out how odometry has drifted. A memory that holds one takes incoming poses for odometry's."""

    T_map_odom: np.ndarray  # (4, 4) what incoming poses are corrected by (REP 105)

    @property
    def is_due(self) -> bool:
        """True when enough was seen to look for loops again."""

    def close_loops(self) -> Deformation | None:
        """How the layers are to move, or None. Nothing has changed until this comes back through `deform`."""


@runtime_checkable
class DerivedLayer(Protocol):
    """A layer that follows from others, such as rooms from walls."""

    def derive(self, layers: Sequence[Layer]) -> None:
        """Become what follows from the layers of the memory as they are now; stay as it is without those it needs."""


@dataclass(frozen=True)
class Ranking:
    """How several rankings become one.

    `fusion` "rrf" adds 1 / (60 + rank) (Cormack et al., SIGIR 2009), "weighted" adds the scores, each scaled to
    [0, 1] over the candidates. `weights` name "text", "embedding", "near", "recency", "graph", "confidence"; what is
    left out weighs 1 if the query ranks by it, recency and confidence 0.
    """

    fusion: str = "rrf"
    weights: dict[str, float] = field(default_factory=dict)
    diversity: float = 0.0  # of maximal marginal relevance, 0 = none, 1 = nothing but different


@dataclass(frozen=True, eq=False)
class Answer:
    """What a store found, best first, and how."""

    hits: list[Hit]
    plan: tuple[str, ...] = ()  # a line a step: which index, how many candidates, how long
    abstained: str | None = None  # why there is no answer, where one was looked for and nothing is good enough


@runtime_checkable
class Ticket(Protocol):
    """A record on its way to the disk."""

    @property
    def id(self) -> int:
        """Of the record."""

    @property
    def is_acknowledged(self) -> bool:
        """True once the record will survive a power cut."""

    def wait(self, timeout: float | None = None) -> int:
        """The id, once the record is acknowledged.

        Raises:
            StoreError: if it could not be written; it is not in the store then.
            TimeoutError: if it is not acknowledged within `timeout` [s]; it may still be later.
        """


@runtime_checkable
class Store(Protocol):
    """An append-only record store. What a store reads includes all that the same object wrote before."""

    def write(self, record: Record) -> Ticket:
        """Take a record; ids ascend in order of writing.

        Raises:
            ValueError: if the record is not fit to be stored; the store is as it was.
        """

    def write_all(self, records: Iterable[Record]) -> list[int]:
        """The ids given to the records, which are all acknowledged when this returns; or none is stored."""

    def get(self, ids: Sequence[int]) -> list[Record]:
        """The records with these ids, in this order; the ids that are not there are left out."""

    def read(self, query: Query) -> list[Record]:
        """At most `query.k` records that match every set field, newest event first; ties newest id first."""

    def search(self, query: Query, ranking: Ranking = Ranking()) -> Answer:
        """The same, ranked by `text`, `embedding`, `near` and `linked_to`; newest first if none is set."""

    def flush(self) -> None:
        """Return when all that was written is acknowledged."""

    def __len__(self) -> int:
        """Number of records, hidden ones included."""

    def close(self) -> None:
        """Flush and release the file; writing afterwards is an error."""
