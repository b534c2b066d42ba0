"""New maps out of old ones: a part of one, one that was moved, two in one."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import no_type_check

import numpy as np
from jaxtyping import Float
from numba import njit

from embmem.maps.voxels.blocks import SCALE, SIDE, UNKNOWN, VOLUME, BlockPool, insert, unpack
from embmem.maps.voxels.meaning.payload import MAX_NAMES, Payload
from embmem.maps.voxels.resample import moved_blocks
from embmem.maps.voxels.voxel_map import VoxelMap

_CHUNK = 4096  # blocks whose channels are merged at once
# Times count from the map's epoch; the channel that is not 0 where there is a time
_TIMES = {"seen": "seen", "flipped": "flips", "first_known": "settled"}


def crop(voxels: VoxelMap, low: Float[np.ndarray, "3"], high: Float[np.ndarray, "3"]) -> VoxelMap:
    """A map of the voxels whose centres lie in the box low <= centre < high [m], with all that is known of them.

    Raises:
        ValueError: if a corner is NaN or low > high.
    """
    if not np.all(np.less_equal(low, high)):
        raise ValueError(f"need low <= high, got {low} and {high}")
    pool = voxels.blocks
    rows = pool.order()
    centres = (unpack(pool.keys[rows])[:, :, None] * SIDE + np.arange(SIDE) + 0.5) * voxels.resolution
    is_in = (np.asarray(low)[:, None] <= centres) & (centres < np.asarray(high)[:, None])  # (n, 3, 8)
    touched = np.logical_and.reduce(is_in.any(axis=2), axis=1)
    rows, (x, y, z) = rows[touched], is_in[touched].transpose(1, 0, 2)
    inside = (x[:, :, None, None] & y[:, None, :, None] & z[:, None, None, :]).reshape(-1, VOLUME)
    cells = np.where(inside, pool.cells[rows], UNKNOWN)
    is_kept = (cells != UNKNOWN).any(axis=1)
    rows, cells, inside = rows[is_kept], cells[is_kept], inside[is_kept]
    part = BlockPool.from_rows(pool.keys[rows], cells, pool.stamps[rows])
    for name, channel in pool.channels.items():
        values = part.add_channel(name, channel.dtype, channel.shape[2:])[: part.n]
        values[inside] = channel[rows][inside]
    return _with_blocks(voxels, part, deepcopy(voxels.payload), voxels.epoch)


def transform(voxels: VoxelMap, T_new_old: Float[np.ndarray, "4 4"]) -> VoxelMap:
    """The map moved by a rigid transform, with its channels; whole voxels and right angles lose nothing.

    Raises:
        ValueError: if the transform is not rigid, or moves voxels out of the range of the map.
    """
    return _with_blocks(voxels, _moved(voxels, T_new_old), deepcopy(voxels.payload), voxels.epoch)


def merge(a: VoxelMap, b: VoxelMap, T_a_b: Float[np.ndarray, "4 4"] | None = None) -> VoxelMap:
    """A map of what both maps know, in the frame, with the settings and within the clamps of `a`.

    Log-odds of voxels that both know add up, which is Bayes' rule for maps from independent observations. Without
    `T_a_b` and with equal clamps the order of the two does not matter, save for channels where log-odds are equal; the
    order of three does not matter either as long as no sum is clamped. A channel has the value of the map with the
    higher log-odds, of equal ones `a`, and where that knows nothing the other's; but flips add up, and of times the
    latest stays, of `first_known` the earliest. Numbers of labels, keyframes and prototypes are those of the new map.

    Raises:
        ValueError: if the resolutions differ, channels or payloads are of other kinds, or the transform is not rigid.
    """
    if a.resolution != b.resolution:
        raise ValueError(f"the maps have voxels of {a.resolution} m and {b.resolution} m")
    payload, numbers = _merged_payload(a.payload, b.payload)
    epoch = float(np.fmin(a.epoch, b.epoch))
    pool = _copy(a.blocks)
    other = _copy(b.blocks if T_a_b is None else _moved(b, T_a_b))
    for name, new_numbers in numbers.items():
        values = other.channels[name][: other.n]
        values = values[..., 0] if name == "labels" else values
        values[...] = new_numbers[values]
    _shift_times(pool, a.epoch - epoch)
    _shift_times(other, b.epoch - epoch)
    _add(pool, other, round(a.low * SCALE), round(a.high * SCALE))
    if "settled" in pool.channels:  # what the voxels now are, or the next frame would find that they flipped
        cells, settled = pool.cells[: pool.n], pool.channels["settled"][: pool.n]
        np.copyto(settled, 1 + (cells > 0), where=cells != UNKNOWN, casting="unsafe")
    return _with_blocks(a, pool, payload, epoch)


def _with_blocks(voxels: VoxelMap, pool: BlockPool, payload: Payload | None, epoch: float) -> VoxelMap:
    """A map with the settings of another one, and with blocks and payload of its own."""
    new = replace(voxels, payload=payload, track_changes="settled" in pool.channels)
    new.blocks, new.epoch = pool, epoch
    return new


def _moved(voxels: VoxelMap, T_new_old: Float[np.ndarray, "4 4"]) -> BlockPool:
    poses = np.broadcast_to(_checked_pose(T_new_old), (voxels.blocks.n, 4, 4))
    return moved_blocks(voxels.blocks, poses, voxels.resolution)


def _checked_pose(T: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
    R = np.asarray(T, dtype=np.float64)[:3, :3]
    is_rigid = np.isfinite(T).all() and np.abs(R @ R.T - np.eye(3)).max() < 1e-6 and np.linalg.det(R) > 0
    if not is_rigid or not np.array_equal(T[3], [0, 0, 0, 1]):
        raise ValueError(f"the transform is not rigid: {np.asarray(T).tolist()}")
    return np.asarray(T, dtype=np.float64)


def _copy(pool: BlockPool) -> BlockPool:
    """The blocks in Morton order in a pool of their own."""
    order = pool.order()
    new = BlockPool.from_rows(pool.keys[order], pool.cells[order], pool.stamps[order])
    for name, channel in pool.channels.items():
        new.add_channel(name, channel.dtype, channel.shape[2:])[: new.n] = channel[order]
    return new


def _shift_times(pool: BlockPool, seconds: float) -> None:
    """Let the times of the channels count from an epoch that is earlier by `seconds`."""
    for name, teller in _TIMES.items():
        if seconds > 0 and name in pool.channels and teller in pool.channels:
            times, is_set = pool.channels[name][: pool.n], pool.channels[teller][: pool.n] != 0
            times[is_set] += np.float32(seconds)


def _merged_payload(a: Payload | None, b: Payload | None) -> tuple[Payload | None, dict[str, np.ndarray]]:
    """(payload of both maps, what the numbers in the channels of b become; 0 stays 0)."""
    if a is None or b is None:
        return deepcopy(a if b is None else b), {}
    if (a.channels, a.slots, a.prototypes is None) != (b.channels, b.slots, b.prototypes is None):
        raise ValueError(f"the maps keep {a.channels} and {b.channels}, labels in {a.slots} and {b.slots} slots")
    merged = deepcopy(a)
    merged.names = list(dict.fromkeys([*a.names, *b.names]))
    if len(merged.names) > MAX_NAMES:
        raise ValueError(f"the maps have {len(merged.names)} names of labels together, {MAX_NAMES} at most")
    number = {name: i + 1 for i, name in enumerate(merged.names)}
    merged.stamps.extend(b.stamps)
    numbers = {
        "labels": np.array([0, *(number[name] for name in b.names)]),
        "keyframe": np.append(0, np.arange(len(b.stamps)) + 1 + len(a.stamps)),
    }
    if merged.prototypes is not None and b.prototypes is not None:
        numbers["prototype"] = np.append(0, merged.prototypes.absorb(b.prototypes) + 1)
    return merged, {name: table for name, table in numbers.items() if name in merged.channels}


def _add(pool: BlockPool, other: BlockPool, low: int, high: int) -> None:
    """Add what the other pool knows."""
    pool.reserve(other.n)
    rows, is_higher = np.empty(other.n, dtype=np.int64), np.zeros((other.n, VOLUME), dtype=np.bool_)
    source = (other.keys[: other.n], other.cells, other.stamps)
    target = (pool.table, pool.keys, pool.cells, pool.stamps)
    pool.n = _add_blocks(source, target, pool.n, low, high, rows, is_higher)
    # times first: what tells whether there is one must be as it was
    for name in sorted(other.channels, key=lambda each: each not in _TIMES):
        theirs = other.channels[name]
        ours = pool.add_channel(name, theirs.dtype, theirs.shape[2:])
        teller = _TIMES.get(name, name) if _TIMES.get(name, name) in other.channels else name
        our_teller = pool.add_channel(teller, other.channels[teller].dtype, other.channels[teller].shape[2:])
        for start in range(0, other.n, _CHUNK):
            part = slice(start, min(start + _CHUNK, other.n))
            knows, know = _known(our_teller[rows[part]]), _known(other.channels[teller][part])
            is_theirs = know & (is_higher[part] | ~knows)
            ours[rows[part]] = _combined(name, ours[rows[part]], theirs[part], knows & know, is_theirs)


def _known(values: np.ndarray) -> np.ndarray:
    """Which (n, 512) voxels have a value that is not 0 throughout."""
    return np.asarray(values.reshape(*values.shape[:2], -1).any(axis=2))


def _combined(name: str, ours: np.ndarray, theirs: np.ndarray, both: np.ndarray, is_theirs: np.ndarray) -> np.ndarray:
    """The values of a channel where two maps meet, which both know, or of which theirs has the say."""
    if name == "flips":
        return np.minimum(ours.astype(np.int64) + theirs, np.iinfo(ours.dtype).max).astype(ours.dtype)
    picked = np.where(is_theirs.reshape(*is_theirs.shape, *(1 for _ in ours.shape[2:])), theirs, ours)
    if name in ("seen", "flipped"):
        return np.where(both, np.maximum(ours, theirs), picked)
    return np.where(both, np.minimum(ours, theirs), picked) if name == "first_known" else picked


@no_type_check
@njit(cache=True)
def _add_blocks(source, target, n, low, high, rows, is_higher):
    """Add blocks to the target; writes their rows there and where theirs is higher; returns the new number of rows."""
    new_keys, new_cells, new_stamps = source
    table, keys, cells, stamps = target
    for i in range(len(new_keys)):
        n_before = n
        row, n = insert(table, keys, cells, n, new_keys[i])
        rows[i] = row
        stamps[row] = new_stamps[i] if n > n_before else max(stamps[row], new_stamps[i])
        for j in range(cells.shape[1]):
            value, old = new_cells[i, j], cells[row, j]
            is_higher[i, j] = value > old
            if value == UNKNOWN:
                continue
            total = np.int64(value) if old == UNKNOWN else np.int64(value) + np.int64(old)
            cells[row, j] = min(max(total, low), high)
    return n
