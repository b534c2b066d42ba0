"""W-TinyLFU: a small window for what is new, a large part that only the frequent enter."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b
from typing import Any, ClassVar

import numpy as np

from embmem.short_term.eviction import (
    LINK_BYTES,
    Key,
    checked_counts,
    checked_keys,
    checked_size,
    refuse_held,
    require_held,
)

ROWS = 4  # of the sketch
MOST = 15  # a counter of 4 bits
PROTECTED = 0.8  # share of the main part (section 5 of the paper)


class FrequencySketch:
    """About how often each key was counted lately, in 4 bits a counter.

    A count-min sketch with conservative update (the paper's minimal-increment counting Bloom filter); after
    `n_samples` counts every counter is halved, so that the past fades (Einziger, Friedman and Manes, TinyLFU, ACM
    Transactions on Storage 2017, sections 3.2-3.4). Estimates are never too low, up to the cap of 15 and the halving.
    """

    def __init__(self, n_samples: int) -> None:
        self.n_samples = checked_size(n_samples, "n_samples")
        self.n = 0  # counts since the last halving, halved with them
        self._width = 1 << max(4, (self.n_samples - 1).bit_length())
        self.cells = bytearray(ROWS * self._width // 2)  # two counters a byte

    def add(self, key: Key) -> None:
        """Count a key once."""
        cells = self._cells(key)
        counts = [self._read(cell) for cell in cells]
        least = min(counts)
        if least < MOST:
            for cell, count in zip(cells, counts, strict=True):
                if count == least:
                    self.cells[cell >> 1] += 1 << 4 * (cell & 1)
        self.n += 1
        if self.n >= self.n_samples:
            counters = np.frombuffer(self.cells, dtype=np.uint8)
            counters >>= 1
            counters &= 0x77  # the bit that fell from the upper counter into the lower one
            self.n //= 2

    def estimate(self, key: Key) -> int:
        """The count of a key, at most 15."""
        return min(self._read(cell) for cell in self._cells(key))

    def _read(self, cell: int) -> int:
        return self.cells[cell >> 1] >> 4 * (cell & 1) & MOST

    def _cells(self, key: Key) -> list[int]:
        # Kirsch and Mitzenmacher 2008: two hashes serve as many. Python's own hash differs between processes.
        name = f"{type(key).__name__}:{key}".encode("utf-8", "surrogatepass")
        bits = int.from_bytes(blake2b(name, digest_size=8).digest(), "little")
        first, step = bits & 0xFFFFFFFF, bits >> 32 | 1
        return [row * self._width + (first + row * step & self._width - 1) for row in range(ROWS)]


class WTinyLfu:
    """New keys pass a window (LRU); what it drops enters the main part only if it is used more than what would leave.

    The main part is a segmented LRU: a key enters on probation, a touch there moves it to the protected segment
    (.8 of the main part), whose least recently used key falls back. Every admission, sighting and read counts in the
    sketch: were only reads counted, a thing that comes and goes would outweigh one that stays. O(1) except for the
    halving, which is O(1) amortised (Einziger, Friedman and Manes, ACM Transactions on Storage 2017).
    """

    name: ClassVar[str] = "w_tiny_lfu"

    def __init__(self, window: int, main: int, *, n_samples: int | None = None) -> None:
        """An empty policy of capacity `window` + `main`.

        Args:
            window: keys in the window; many for uses that come in bursts, few for steady favourites.
            main: keys in the main part.
            n_samples: counts after which all are halved; ten times the capacity if not given.
        """
        self._window_size = checked_size(window, "window")
        self._main_size = checked_size(main, "main")
        self._protected_size = int(PROTECTED * main)
        self._sketch = FrequencySketch(10 * (window + main) if n_samples is None else n_samples)
        self._window: OrderedDict[Key, None] = OrderedDict()  # touched longest ago first, as the next two
        self._probation: OrderedDict[Key, None] = OrderedDict()
        self._protected: OrderedDict[Key, None] = OrderedDict()

    @property
    def capacity(self) -> int:
        return self._window_size + self._main_size

    def admit(self, key: Key) -> Key | None:
        refuse_held(key, self)
        self._sketch.add(key)
        self._window[key] = None
        if len(self._window) <= self._window_size:
            return None
        candidate = self._window.popitem(last=False)[0]
        if len(self._probation) + len(self._protected) < self._main_size:
            self._probation[candidate] = None
            return None
        victim = next(iter(self._probation))  # never empty here: the protected are fewer than the main part
        if self._sketch.estimate(candidate) <= self._sketch.estimate(victim):
            return candidate
        del self._probation[victim]
        self._probation[candidate] = None
        return victim

    def touch(self, key: Key, *, is_read: bool) -> None:
        require_held(key, self)
        self._sketch.add(key)
        if key in self._probation and self._protected_size:
            del self._probation[key]
            self._protected[key] = None
            if len(self._protected) > self._protected_size:
                self._probation[self._protected.popitem(last=False)[0]] = None
            return
        self._segment(key).move_to_end(key)

    def remove(self, key: Key) -> None:
        require_held(key, self)
        del self._segment(key)[key]

    def keys(self) -> list[Key]:
        return [*self._window, *self._probation, *self._protected]

    def __contains__(self, key: Key) -> bool:
        return key in self._window or key in self._probation or key in self._protected

    def __len__(self) -> int:
        return len(self._window) + len(self._probation) + len(self._protected)

    @property
    def n_bytes(self) -> int:
        return LINK_BYTES * len(self) + len(self._sketch.cells)

    def state(self) -> dict[str, Any]:
        return {
            "window": self._window_size, "main": self._main_size, "n_samples": self._sketch.n_samples,
            "keys": self.keys(), "n_window": len(self._window), "n_probation": len(self._probation),
            "n_counted": self._sketch.n, "sketch": self._sketch.cells.hex(),
        }  # fmt: skip

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> WTinyLfu:
        policy = cls(state["window"], state["main"], n_samples=state["n_samples"])
        keys = checked_keys(state["keys"], policy.capacity)
        n_window, n_probation, n_counted = checked_counts(state[n] for n in ("n_window", "n_probation", "n_counted"))
        n_protected = len(keys) - n_window - n_probation
        n_main = n_probation + n_protected
        if n_window > policy._window_size or not 0 <= n_protected <= policy._protected_size:
            raise ValueError(f"{n_window} keys in the window and {n_protected} protected do not fit")
        if n_main > policy._main_size or n_counted >= policy._sketch.n_samples:
            raise ValueError(f"{n_main} keys in the main part or {n_counted} counts do not fit")
        cells = bytearray.fromhex(state["sketch"])
        if len(cells) != len(policy._sketch.cells):
            raise ValueError(f"a sketch of {len(cells)} bytes, not {len(policy._sketch.cells)}")
        policy._sketch.cells, policy._sketch.n = cells, n_counted
        policy._window.update(dict.fromkeys(keys[:n_window]))
        policy._probation.update(dict.fromkeys(keys[n_window : n_window + n_probation]))
        policy._protected.update(dict.fromkeys(keys[n_window + n_probation :]))
        return policy

    def _segment(self, key: Key) -> OrderedDict[Key, None]:
        return next(part for part in (self._window, self._probation, self._protected) if key in part)
