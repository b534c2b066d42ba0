"""Which key leaves a full memory: first in, least recently or least frequently used, or a score of both.

A policy knows keys only. It is told of every key that comes in (`admit`), that is seen again or read (`touch`) and
that leaves for another reason (`remove`); `admit` answers with the key that must leave. The fifth policy is in
`embmem.short_term.tiny_lfu`. The classes stand in one file because each is a few lines around the same protocol.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeAlias, runtime_checkable

import numpy as np

Key: TypeAlias = int | str

LINK_BYTES = 90  # RAM of a key in an OrderedDict without the key itself, measured on CPython 3.11


@runtime_checkable
class EvictionPolicy(Protocol):
    """Bookkeeping of at most `capacity` keys; the same calls give the same answers in every process."""

    name: ClassVar[str]  # in saved files

    @property
    def capacity(self) -> int:
        """The most keys it holds."""

    def admit(self, key: Key) -> Key | None:
        """Take a key that is not held; the key that leaves for it, never `key` itself, None while there is room.

        Raises:
            ValueError: if the key is held.
        """

    def touch(self, key: Key, *, is_read: bool) -> None:
        """A held key was part of an answer (`is_read`) or was seen again.

        Raises:
            KeyError: if the key is not held.
        """

    def remove(self, key: Key) -> None:
        """Let go of a held key.

        Raises:
            KeyError: if the key is not held.
        """

    def keys(self) -> list[Key]:
        """The held keys in a fixed order."""

    def __contains__(self, key: Key) -> bool: ...

    def __len__(self) -> int: ...

    @property
    def n_bytes(self) -> int:
        """Of RAM, estimated, without the keys themselves."""

    def state(self) -> dict[str, Any]:
        """Everything as JSON values."""

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> EvictionPolicy:
        """The policy that was saved; KeyError, TypeError or ValueError if the state is malformed."""


class Fifo:
    """The key that came first leaves. O(1)."""

    name: ClassVar[str] = "fifo"

    def __init__(self, capacity: int) -> None:
        self._keys: OrderedDict[Key, None] = OrderedDict()
        self._capacity = checked_size(capacity, "capacity")

    @property
    def capacity(self) -> int:
        return self._capacity

    def admit(self, key: Key) -> Key | None:
        refuse_held(key, self)
        leaving = self._keys.popitem(last=False)[0] if len(self._keys) == self._capacity else None
        self._keys[key] = None
        return leaving

    def touch(self, key: Key, *, is_read: bool) -> None:
        require_held(key, self)

    def remove(self, key: Key) -> None:
        require_held(key, self)
        del self._keys[key]

    def keys(self) -> list[Key]:
        return list(self._keys)

    def __contains__(self, key: Key) -> bool:
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def n_bytes(self) -> int:
        return LINK_BYTES * len(self._keys)

    def state(self) -> dict[str, Any]:
        return {"capacity": self._capacity, "keys": self.keys()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Fifo:
        policy = cls(state["capacity"])
        policy._keys.update(dict.fromkeys(checked_keys(state["keys"], policy._capacity)))
        return policy


class Lru(Fifo):
    """The key that was neither seen nor read for longest leaves. O(1)."""

    name: ClassVar[str] = "lru"

    def touch(self, key: Key, *, is_read: bool) -> None:
        require_held(key, self)
        self._keys.move_to_end(key)


class Lfu:
    """The key that was read least often while it was held leaves; among equals the one touched longest ago.

    Sightings count as touches, not as uses: what stands in view is seen thirty times a second. One chain of keys a
    count makes `admit` and `touch` O(1) (Shah, Mitra and Matani, An O(1) algorithm for implementing the LFU cache
    eviction scheme, 2010); `remove` is O(distinct counts).
    """

    name: ClassVar[str] = "lfu"

    def __init__(self, capacity: int) -> None:
        self._capacity = checked_size(capacity, "capacity")
        self._count: dict[Key, int] = {}
        self._chains: dict[int, OrderedDict[Key, None]] = {}  # keys by count, touched longest ago first
        self._least = 0  # lowest count held

    @property
    def capacity(self) -> int:
        return self._capacity

    def admit(self, key: Key) -> Key | None:
        refuse_held(key, self)
        leaving = None
        if len(self._count) == self._capacity:
            leaving = next(iter(self._chains[self._least]))
            self._unlink(leaving)
        self._link(key, 0)
        self._least = 0
        return leaving

    def touch(self, key: Key, *, is_read: bool) -> None:
        require_held(key, self)
        count = self._unlink(key)
        if is_read and count == self._least and count not in self._chains:
            self._least = count + 1
        self._link(key, count + is_read)

    def remove(self, key: Key) -> None:
        require_held(key, self)
        self._unlink(key)
        self._least = min(self._chains, default=0)

    def keys(self) -> list[Key]:
        return [key for count in sorted(self._chains) for key in self._chains[count]]

    def __contains__(self, key: Key) -> bool:
        return key in self._count

    def __len__(self) -> int:
        return len(self._count)

    @property
    def n_bytes(self) -> int:
        return (LINK_BYTES + 32) * len(self._count)

    def state(self) -> dict[str, Any]:
        keys = self.keys()
        return {"capacity": self._capacity, "keys": keys, "counts": [self._count[key] for key in keys]}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Lfu:
        policy = cls(state["capacity"])
        keys = checked_keys(state["keys"], policy._capacity)
        for key, count in zip(keys, checked_counts(state["counts"]), strict=True):
            policy._link(key, count)
        policy._least = min(policy._chains, default=0)
        return policy

    def _link(self, key: Key, count: int) -> None:
        self._count[key] = count
        self._chains.setdefault(count, OrderedDict())[key] = None

    def _unlink(self, key: Key) -> int:
        count = self._count.pop(key)
        chain = self._chains[count]
        del chain[key]
        if not chain:
            del self._chains[count]
        return count


class FrequencyAge:
    """The key with the lowest weight * reads - (1 - weight) * age leaves; among equals the one that came first.

    Reads are divided by the most reads of a held key, ages by the highest age, so that both terms lie in [0, 1] and
    `weight` means the same in every memory (Mem4Nav, arXiv 2506.19433, adds a count to a time, unscaled). Age counts
    the admissions and touches since the key was last touched. Every maximum can change with every touch, so choosing
    is O(n), vectorised.
    """

    name: ClassVar[str] = "frequency_age"

    def __init__(self, capacity: int, *, weight: float = 0.5) -> None:
        if not 0.0 <= weight <= 1.0:
            raise ValueError(f"weight must lie in [0, 1], got {weight}")
        self._capacity, self._weight = checked_size(capacity, "capacity"), weight
        self._slot: OrderedDict[Key, int] = OrderedDict()  # in order of arrival
        self._key_at: list[Key] = []
        self._reads = np.zeros(self._capacity, dtype=np.int64)  # by slot, as the next two
        self._touched = np.zeros(self._capacity, dtype=np.int64)
        self._arrived = np.zeros(self._capacity, dtype=np.int64)
        self._clock = 0

    @property
    def capacity(self) -> int:
        return self._capacity

    def admit(self, key: Key) -> Key | None:
        refuse_held(key, self)
        self._clock += 1
        leaving = None
        if len(self._slot) == self._capacity:
            leaving = self._key_at[self._lowest()]
            self.remove(leaving)
        slot = len(self._slot)
        self._slot[key] = slot
        self._key_at.append(key)
        self._reads[slot], self._touched[slot], self._arrived[slot] = 0, self._clock, self._clock
        return leaving

    def touch(self, key: Key, *, is_read: bool) -> None:
        require_held(key, self)
        self._clock += 1
        slot = self._slot[key]
        self._reads[slot] += is_read
        self._touched[slot] = self._clock

    def remove(self, key: Key) -> None:
        require_held(key, self)
        slot, last = self._slot.pop(key), self._key_at.pop()
        if last != key:  # the last slot fills the gap
            for column in (self._reads, self._touched, self._arrived):
                column[slot] = column[len(self._key_at)]
            self._key_at[slot] = last
            self._slot[last] = slot

    def keys(self) -> list[Key]:
        return list(self._slot)

    def __contains__(self, key: Key) -> bool:
        return key in self._slot

    def __len__(self) -> int:
        return len(self._slot)

    @property
    def n_bytes(self) -> int:
        return (LINK_BYTES + 16) * len(self._slot) + 24 * self._capacity

    def state(self) -> dict[str, Any]:
        slots = list(self._slot.values())
        columns = {"reads": self._reads, "touched": self._touched, "arrived": self._arrived}
        return {
            "capacity": self._capacity, "weight": self._weight, "clock": self._clock, "keys": self.keys(),
            **{name: column[slots].tolist() for name, column in columns.items()},
        }  # fmt: skip

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> FrequencyAge:
        policy = cls(state["capacity"], weight=state["weight"])
        keys = checked_keys(state["keys"], policy._capacity)
        policy._key_at, policy._slot = keys, OrderedDict((key, slot) for slot, key in enumerate(keys))
        (policy._clock,) = checked_counts([state["clock"]])
        for column, values in (
            (policy._reads, state["reads"]), (policy._touched, state["touched"]), (policy._arrived, state["arrived"]),
        ):  # fmt: skip
            if len(values) != len(keys):
                raise ValueError(f"{len(keys)} keys with {len(values)} counts")
            column[: len(keys)] = checked_counts(values)
        return policy

    def _lowest(self) -> int:
        n = len(self._slot)
        age = self._clock - self._touched[:n]
        score = self._weight * (self._reads[:n] / max(int(self._reads[:n].max()), 1))
        score -= (1.0 - self._weight) * (age / max(int(age.max()), 1))
        equal = np.flatnonzero(score == score.min())
        return int(equal[np.argmin(self._arrived[equal])])


@dataclass(frozen=True)
class Merging:
    """When two neighbours in order of arrival are so alike that one entry can stand for both."""

    similarity: float = 0.9  # least cosine of their embeddings
    radius: float = 0.5  # [m] most distance, where both positions are known

    def __post_init__(self) -> None:
        if not (-1.0 <= self.similarity <= 1.0 and self.radius >= 0.0):
            raise ValueError(f"need similarity in [-1, 1] and radius >= 0, got {self}")


def checked_size(size: int, name: str) -> int:
    """The size, if it is a whole number of at least one."""
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ValueError(f"{name} must be a whole number >= 1, got {size!r}")
    return size


def refuse_held(key: Key, policy: EvictionPolicy) -> None:
    """Refuse a key that the policy holds."""
    if key in policy:
        raise ValueError(f"key {key!r} is held already; `touch` it")


def require_held(key: Key, policy: EvictionPolicy) -> None:
    """Refuse a key that the policy does not hold."""
    if key not in policy:
        raise KeyError(f"key {key!r} is not held")


def checked_keys(keys: list[Key], capacity: int) -> list[Key]:
    """A fresh list of saved keys, if they are distinct and fit."""
    if not isinstance(keys, list) or not all(isinstance(key, int | str) for key in keys):
        raise TypeError(f"keys must be a list of numbers and names, got {type(keys).__name__}")
    if len(set(keys)) != len(keys) or len(keys) > capacity:
        raise ValueError(f"{len(keys)} keys, {len(set(keys))} of them distinct, do not fit into {capacity}")
    return list(keys)


def checked_counts(counts: Iterable[int]) -> list[int]:
    """A fresh list of saved counts, if they are whole and not negative."""
    counts = list(counts)
    if not all(isinstance(n, int) and 0 <= n < 2**63 for n in counts):
        raise ValueError(f"counts must be whole numbers >= 0, got {counts}")
    return counts
