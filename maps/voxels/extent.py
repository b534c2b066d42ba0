"""How far a voxel map reaches, and how much of that is occupied, free and unknown."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Float
from numba import njit

from embmem.maps.voxels.blocks import SIDE, UNKNOWN
from embmem.maps.voxels.summary import Voxels, unpack_one


def bounds(voxels: Voxels) -> Float[np.ndarray, "2 3"] | None:
    """(low, high) corners [m] of the smallest box around all known voxels; None if nothing is known."""
    pool, summary = voxels.blocks, voxels.summary()
    known = summary.n_occupied[: pool.n] + summary.n_free[: pool.n]
    if not known.any():
        return None
    low, high = _box_of_known(pool.keys[: pool.n], pool.cells, known)
    return np.stack([low, high + 1]) * voxels.resolution


def volumes(voxels: Voxels) -> dict[str, float]:
    """Numbers of known, occupied and free voxels, and [m^3] occupied, free and, inside of `bounds`, unknown."""
    n, summary, cube = voxels.blocks.n, voxels.summary(), voxels.resolution**3
    occupied, free = (int(counts[:n].sum(dtype=np.int64)) for counts in (summary.n_occupied, summary.n_free))
    box = bounds(voxels)
    whole = 0.0 if box is None else float(np.prod(np.round((box[1] - box[0]) / voxels.resolution)))
    return {
        "known": float(occupied + free),
        "occupied": float(occupied),
        "free": float(free),
        "volume_occupied": occupied * cube,
        "volume_free": free * cube,
        "volume_unknown": (whole - occupied - free) * cube,
    }


@no_type_check
@njit(cache=True)
def _box_of_known(keys, cells, known):
    """(lowest, highest) known voxel by axis; only blocks that reach beyond what was found so far are looked into."""
    low, high = np.full(3, np.iinfo(np.int64).max), np.full(3, np.iinfo(np.int64).min)
    for row in range(len(keys)):
        block = unpack_one(keys[row])
        is_inside = True
        for axis in range(3):
            is_inside &= low[axis] <= block[axis] * SIDE and block[axis] * SIDE + SIDE - 1 <= high[axis]
        if known[row] == 0 or is_inside:
            continue
        for i in range(cells.shape[1]):
            if cells[row, i] == UNKNOWN:
                continue
            for axis, place in enumerate((i // (SIDE * SIDE), i // SIDE % SIDE, i % SIDE)):
                low[axis] = min(low[axis], block[axis] * SIDE + place)
                high[axis] = max(high[axis], block[axis] * SIDE + place)
    return low, high
