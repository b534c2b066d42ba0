"""Small voxel maps for tests: random blocks, and what they hold as a plain dictionary."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from embmem.maps import VoxelMap
from embmem.maps.voxels.blocks import UNKNOWN, BlockPool, pack

RES = 0.25
seeds = st.integers(0, 2**31)


def random_map(seed: int, n_blocks: int = 12, reach: int = 3) -> VoxelMap:
    """Blocks around the origin: some full, some nearly empty, some of one value, some of which nothing is known."""
    rng = np.random.default_rng(seed)
    places = np.unique(rng.integers(-reach, reach, (rng.integers(0, n_blocks + 1), 3)), axis=0)
    places = rng.permutation(places)
    cells = np.full((len(places), 512), UNKNOWN, dtype=np.int8)
    for row, kind in enumerate(rng.integers(0, 5, len(places))):
        values = rng.integers(-64, 113, 512) if kind < 3 else np.full(512, rng.choice([-64, 40]))
        share = (0.02, 0.5, 1.0, 1.0, 0.0)[kind]
        cells[row] = np.where(rng.random(512) < share, values, UNKNOWN)
    voxels = VoxelMap(RES)
    keys = np.array([pack(*place) for place in places.tolist()], dtype=np.int64)
    voxels.blocks = BlockPool.from_rows(keys, cells, rng.uniform(0, 9, len(places)).round())
    return voxels


def dictionary(voxels: VoxelMap) -> dict[tuple[int, ...], int]:
    """The byte of every known voxel."""
    pool, model = voxels.blocks, {}
    shift, mask = 1 << 20, (1 << 21) - 1
    for key, cells in zip(pool.keys[: pool.n].tolist(), pool.cells[: pool.n], strict=True):
        corner = np.array([key >> 42, (key >> 21) & mask, key & mask]) - shift
        for i in np.flatnonzero(cells != UNKNOWN).tolist():
            place = 8 * corner + [i // 64, i // 8 % 8, i % 8]
            model[tuple(place.tolist())] = int(cells[i])
    return model
