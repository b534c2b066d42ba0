"""Rows of benchmarks/voxels.py and how they are measured and compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from embmem.maps import VoxelMap

Call = Callable[[VoxelMap], None]


@dataclass(frozen=True)
class Row:
    """One figure, a peer's where there is one, and the goal."""

    name: str
    ours: float
    peer: float | None = None
    peer_name: str = ""
    ratio: float | None = None
    goal: str = "none set"
    met: bool = True
    detail: dict[str, float] = field(default_factory=dict)


def race(name: str, ours: float, peer: float, peer_name: str, **more: Any) -> Row:
    """A row where less is better; `at_least` is the goal of peer / ours, `detail` whatever else was measured."""
    at_least, ratio = more.get("at_least"), peer / ours
    goal = f">= {at_least:g} x {peer_name}" if at_least else "none set"
    met = bool(at_least is None or ratio >= at_least)
    return Row(name, ours, peer, peer_name, ratio, goal, met, more.get("detail", {}))


def figure(name: str, ours: float, *, at_least: float | None = None, at_most: float | None = None) -> Row:
    """A row without a peer."""
    if at_least is not None:
        return Row(name, ours, goal=f">= {at_least:g}", met=bool(ours >= at_least))
    if at_most is not None:
        return Row(name, ours, goal=f"<= {at_most:g}", met=bool(ours <= at_most))
    return Row(name, ours)


def frame_times(
    make: Callable[[], VoxelMap], calls: Sequence[Callable[[], Call]], passes: int
) -> tuple[np.ndarray, np.ndarray, VoxelMap]:
    """(CPU ms, wall ms) of every call, the least of `passes` on fresh maps, and the last map.

    Each of `calls` prepares its input, which is not timed, and returns what is.
    """
    cpu, wall = np.full(len(calls), np.inf), np.full(len(calls), np.inf)
    for _ in range(passes):
        voxels = make()
        for i, ready in enumerate(calls):
            call = ready()
            start = time.perf_counter(), time.process_time()
            call(voxels)
            cpu[i] = min(cpu[i], 1e3 * (time.process_time() - start[1]))
            wall[i] = min(wall[i], 1e3 * (time.perf_counter() - start[0]))
    return cpu, wall, voxels


def spread(prefix: str, ms: np.ndarray) -> dict[str, float]:
    """Median, 99 % and worst."""
    return {f"{prefix}_{q}": float(np.percentile(ms, p)) for q, p in (("p50", 50), ("p99", 99), ("worst", 100))}


def voxel_ids(centres: np.ndarray, resolution: float) -> np.ndarray:
    """One number a voxel."""
    x, y, z = (np.floor(centres / resolution).astype(np.int64) + (1 << 20)).T
    return (x << 42) | (y << 21) | z


def overlap(ours: VoxelMap, theirs: VoxelMap) -> tuple[float, float]:
    """Intersection over union of (the occupied, the known) voxels of two maps."""
    shares = []
    for centres in (VoxelMap.occupied, lambda m: np.concatenate([m.occupied(), m.free()])):
        a, b = (voxel_ids(centres(voxels), voxels.resolution) for voxels in (ours, theirs))
        n_both = len(np.intersect1d(a, b, assume_unique=True))
        shares.append(n_both / max(len(a) + len(b) - n_both, 1))
    return shares[0], shares[1]
