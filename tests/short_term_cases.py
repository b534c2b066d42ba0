"""What the tests of the short-term memory put into it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from embmem.records import Record
from embmem.short_term.eviction import EvictionPolicy, Fifo, FrequencyAge, Lfu, Lru
from embmem.short_term.memory import ShortTermMemory
from embmem.short_term.tiny_lfu import WTinyLfu

MAKERS: list[Callable[[int], EvictionPolicy]] = [
    Fifo, Lru, Lfu, FrequencyAge, lambda n: WTinyLfu(1, n - 1), lambda n: WTinyLfu(n - 1, 1),
]  # fmt: skip
WORDS = ("mug", "key", "hat")


def pose(rng: np.random.Generator, reach: float = 20.0) -> np.ndarray:
    """Any rigid transform."""
    T = np.eye(4)
    T[:3, :3] = Rotation.random(random_state=int(rng.integers(2**31))).as_matrix()
    T[:3, 3] = rng.uniform(-reach, reach, 3)
    return T


def assert_close(got: np.ndarray | None, wanted: Any, atol: float = 1e-9) -> None:
    """Both are known and agree."""
    assert got is not None
    np.testing.assert_allclose(got, np.asarray(wanted), rtol=0, atol=atol)


def sighting(rng: np.random.Generator, stamp: float, d: int = 6) -> Record:
    """Anything that can be put, with gaps."""
    return Record(
        kind=str(rng.choice(["object", "person"])), t_event=stamp, source=str(rng.choice(["left", "right"])),
        id=int(rng.integers(1000)), place=[None, "hall"][rng.integers(2)],
        T_map_obs=pose(rng) if rng.random() < 0.3 else None,
        position=rng.uniform(-3, 3, 3) if rng.random() < 0.8 else None,
        entities=tuple(rng.choice(WORDS, rng.integers(3), replace=False).tolist()),
        text=f"seen at {stamp}", embedding=rng.normal(size=d) if rng.random() < 0.8 else None,
        payload={"n": int(rng.integers(9))}, confidence=float(rng.random()),
        valid=(-np.inf, np.inf) if rng.random() < 0.5 else (stamp, stamp + 5.0),
    )  # fmt: skip


def filled(n: int = 40, *, capacity: int = 25, seed: int = 0, d: int = 6) -> ShortTermMemory:
    """A memory that has seen things come, go and come again."""
    rng = np.random.default_rng(seed)
    memory = ShortTermMemory(Lru(capacity), T_map_anchor=pose(rng))
    for i in range(n):
        memory.put(f"object {rng.integers(2 * capacity)}", sighting(rng, float(i), d))
    return memory
