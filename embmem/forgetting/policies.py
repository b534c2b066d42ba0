"""Which records go when there is no room for all: by age, by use, by chance, or by what they would be missed for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64

Rows = Int[np.ndarray, " _"]  # indexes, of any number


@dataclass(frozen=True, eq=False)
class Remembered:
    """Records that may be forgotten, one row each, ids ascending."""

    ids: Int[np.ndarray, " n"]
    n_bytes: Int[np.ndarray, " n"]
    stamps: Float[np.ndarray, " n"]  # [s] event time
    positions: Float[np.ndarray, "n 3"]  # [m], NaN = unknown
    topics: Int[np.ndarray, " n"]  # equal for records that tell of the same things
    embeddings: Float[np.ndarray, "n d"]  # unit length, zeros = none; d = 0 if nothing has one
    reads: Int[np.ndarray, " n"]
    last_read: Float[np.ndarray, " n"]  # [s], -inf = never

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, keep: Bool[np.ndarray, " n"] | Rows) -> Remembered:
        """Some of the rows."""
        return Remembered(*(getattr(self, name)[keep] for name in self.__dataclass_fields__))

    def joined(self, other: Remembered) -> Remembered:
        """These rows and then the other ones."""
        fields = self.__dataclass_fields__
        return Remembered(*(np.concatenate([getattr(self, name), getattr(other, name)]) for name in fields))


@runtime_checkable
class ForgettingPolicy(Protocol):
    """Decides what is missed least. The same records give the same answer in every process."""

    name: ClassVar[str]

    def choose(self, remembered: Remembered, n_bytes: int) -> Rows:
        """Rows that make up at least so many bytes, the first to go first; all of them if there are not so many."""


@dataclass(frozen=True)
class Age:
    """The oldest event goes first."""

    name: ClassVar[str] = "age"

    def choose(self, remembered: Remembered, n_bytes: int) -> Rows:
        """See `ForgettingPolicy`."""
        return first_bytes(remembered, np.lexsort((remembered.ids, remembered.stamps)), n_bytes)


@dataclass(frozen=True)
class LeastUsed:
    """What was read least goes first, of that what was neither read nor made for the longest time."""

    name: ClassVar[str] = "least used"

    def choose(self, remembered: Remembered, n_bytes: int) -> Rows:
        """See `ForgettingPolicy`."""
        touched = np.maximum(remembered.last_read, remembered.stamps)
        return first_bytes(remembered, np.lexsort((remembered.ids, touched, remembered.reads)), n_bytes)


@dataclass(frozen=True)
class Reservoir:
    """Every record that ever came stays with the same chance (Vitter, ACM TOMS 1985).

    Each id has a random number for good, and the highest ones go first: at any time those that are left are a
    uniform sample without replacement of the whole stream, whatever the order in which they came.
    """

    name: ClassVar[str] = "reservoir"
    seed: int = 0

    def choose(self, remembered: Remembered, n_bytes: int) -> Rows:
        """See `ForgettingPolicy`."""
        return first_bytes(remembered, np.argsort(_scrambled(remembered.ids, self.seed))[::-1], n_bytes)


def first_bytes(remembered: Remembered, order: Rows, n_bytes: int) -> Rows:
    """As many rows from the front of an order as make up so many bytes."""
    if n_bytes <= 0:
        return order[:0]
    total = np.cumsum(remembered.n_bytes[order])
    return order[: int(np.searchsorted(total, n_bytes)) + 1]


def _scrambled(ids: Int[np.ndarray, " n"], seed: int) -> UInt64[np.ndarray, " n"]:
    """SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): a bijection, so no two ids are equal."""
    z = ids.astype(np.uint64) + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
