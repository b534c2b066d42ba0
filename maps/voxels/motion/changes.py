"""What changed since when, voxel by voxel and in regions, and how often it changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Float, Int
from numba import njit

from embmem.maps.voxels.blocks import AXIS_LIMIT, SIDE, find, pack, unpack
from embmem.maps.voxels.cast import cell_index
from embmem.maps.voxels.meaning.instances import cluster
from embmem.maps.voxels.motion.flips import CHANNELS, OCCUPIED
from embmem.maps.voxels.voxel_map import VoxelMap
from embmem.records import Hit, Query


@dataclass(frozen=True, eq=False)
class Changes:
    """The voxels that flipped, each with its last flip; in Morton order of their blocks."""

    voxels: np.ndarray  # (n, 3) int64
    positions: np.ndarray  # (n, 3) centres [m]
    appeared: np.ndarray  # (n,) bool: free before and occupied now; else the other way round
    stamps: np.ndarray  # (n,) [s] when that was noticed

    def __len__(self) -> int:
        return len(self.voxels)


def changes(voxels: VoxelMap, since: float, until: float = np.inf) -> Changes:
    """The voxels whose last flip between occupied and free was noticed at `since` <= stamp < `until` [s].

    What is seen for the first time did not change. Of a voxel that flipped several times only the last flip is known.
    A map that does not track changes has none.
    """
    pool, n = voxels.blocks, voxels.blocks.n
    if "flips" not in pool.channels or n == 0:
        return Changes(np.empty((0, 3), np.int64), np.empty((0, 3)), np.empty(0, np.bool_), np.empty(0))
    order = pool.order()
    flipped = pool.channels["flipped"][:n]
    begin, end = _seconds(since, voxels.epoch), _seconds(until, voxels.epoch)
    has_flipped = (pool.channels["flips"][:n] > 0) & (flipped >= begin) & (flipped < end)
    row, cell = np.nonzero(has_flipped[order])
    row = order[row]
    inside = np.stack([cell // (SIDE * SIDE), cell // SIDE % SIDE, cell % SIDE], axis=1)
    keys = unpack(pool.keys[row]) * SIDE + inside
    appeared = pool.channels["settled"][row, cell] == OCCUPIED
    return Changes(keys, (keys + 0.5) * voxels.resolution, appeared, voxels.epoch + flipped[row, cell].astype(float))


def change_rate(
    voxels: VoxelMap, points: Float[np.ndarray, "n 3"], *, prior_rate: float = 1e-3, prior_time: float = 60.0
) -> Float[np.ndarray, " n"]:
    """Flips per second [1/s] of the voxels at the points [m]; NaN where nothing was ever known.

    Flips are taken as a Poisson process whose rate has a Gamma prior worth `prior_time` seconds of looking at
    `prior_rate`; returned is the posterior mean (flips + prior_rate * prior_time) / (seconds + prior_time). So one flip
    within the first second gives 0.017 /s, not 1, and a voxel that never flipped falls slowly towards 0. Seconds count
    from the first time the voxel was known to the last update of its block, looked at or not in between.

    Raises:
        ValueError: if prior_rate < 0 or prior_time <= 0.
    """
    if not (0.0 <= prior_rate < np.inf and 0.0 < prior_time < np.inf):
        raise ValueError(f"need prior_rate >= 0 and prior_time > 0, got {prior_rate} and {prior_time}")
    pool = voxels.blocks
    rates = np.full(len(points), np.nan)
    if "flips" not in pool.channels:
        return rates
    rows, cells = locate(voxels, points)
    is_there = rows >= 0
    row, cell = rows[is_there], cells[is_there]
    channel = {name: pool.channels[name][row, cell].astype(np.float64) for name in CHANNELS}
    seconds = np.maximum(pool.stamps[row] - voxels.epoch - channel["first_known"], 0.0)
    posterior = (channel["flips"] + prior_rate * prior_time) / (seconds + prior_time)
    rates[is_there] = np.where(channel["settled"] > 0, posterior, np.nan)
    return rates


def locate(voxels: VoxelMap, points: Float[np.ndarray, "n 3"]) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """(row of its block, cell in the block) of the voxel at each point [m]; row -1 where there is no block."""
    at = np.empty((len(points), 2), dtype=np.int64)
    _locate(voxels.blocks.table, voxels.blocks.keys, points / voxels.resolution, at)
    return at[:, 0], at[:, 1]


def change_hits(voxels: VoxelMap, query: Query) -> list[Hit]:
    """Regions that appeared or vanished in the time asked for, large ones first; their score is their size in voxels.

    A region is 26-connected and appeared or vanished as a whole; `position` is the mean of its voxels, the stamp that
    of its last flip.
    """
    found = changes(voxels, query.since, query.until)
    regions = _regions(voxels, found)
    hits = [_region_hit(voxels, found, members) for members in regions]
    if query.near is not None:
        near = query.near
        hits = [hit for hit in hits if np.linalg.norm(_position(hit) - near) <= query.radius]
    return sorted(hits, key=lambda hit: (-hit.score, -hit.stamp, tuple(_position(hit).tolist())))[: query.k]


def _region_hit(voxels: VoxelMap, found: Changes, members: Int[np.ndarray, " m"]) -> Hit:
    positions, stamps = found.positions[members], found.stamps[members]
    half = voxels.resolution / 2.0
    low, high = positions.min(axis=0) - half, positions.max(axis=0) + half
    word = "appeared" if found.appeared[members[0]] else "vanished"
    size = " x ".join(f"{side:.2f}" for side in high - low)
    first, last = float(stamps.min()), float(stamps.max())
    box = {f"{axis}{i}": float(end[a]) for i, end in enumerate((low, high)) for a, axis in enumerate("xyz")}
    return Hit(
        score=float(len(members)),
        why=f"{word}: {len(members)} voxel{'s' * (len(members) > 1)}, {size} m, at {first:.1f} to {last:.1f} s",
        layer=voxels.kind,
        stamp=last,
        position=positions.mean(axis=0),
        detail={"appeared": float(word == "appeared"), "voxels": float(len(members)), "since": first, **box},
    )


def _regions(voxels: VoxelMap, found: Changes) -> list[Int[np.ndarray, " m"]]:
    """The 26-connected groups of voxels that changed the same way, as indices."""
    regions = []
    for members in (np.flatnonzero(found.appeared), np.flatnonzero(~found.appeared)):
        rows, cells = locate(voxels, found.positions[members])
        label = cluster(voxels.blocks, rows, cells)
        regions += np.split(members[np.argsort(label, kind="stable")], np.cumsum(np.bincount(label))[:-1])
    return [members for members in regions if len(members)]


def _position(hit: Hit) -> np.ndarray:
    if hit.position is None:
        raise ValueError("a region of changes has a position")
    return hit.position


def _seconds(stamp: float, epoch: float) -> np.float32:
    """Rounded as the channels are, so that a stamp is found under its own value."""
    return np.float32(stamp - epoch)


@no_type_check
@njit(cache=True)
def _locate(table, keys, points, at):
    """Write (row, cell) of the voxel of each point, row -1 where there is no block."""
    for i in range(len(points)):
        at[i] = -1
        x, y, z = np.floor(points[i])
        limit = AXIS_LIMIT * SIDE
        if not (abs(x) < limit and abs(y) < limit and abs(z) < limit):  # also not a number
            continue
        x, y, z = int(x), int(y), int(z)
        at[i, 0] = find(table, keys, pack(x // SIDE, y // SIDE, z // SIDE))
        at[i, 1] = cell_index(x, y, z)
