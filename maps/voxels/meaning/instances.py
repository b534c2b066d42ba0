"""From voxels to things: groups of voxels that touch each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Float, Int
from numba import njit

from embmem.maps.voxels.blocks import SIDE, VOLUME, BlockPool, find, pack, unpack


@dataclass(frozen=True, eq=False)
class Instance:
    """One thing that answers a query."""

    centre: Float[np.ndarray, "3"]  # [m] mean of its voxels
    low: Float[np.ndarray, "3"]  # [m] lowest corner of the box of its voxels
    high: Float[np.ndarray, "3"]  # [m] highest corner
    n_voxels: int
    score: float  # of its best voxel
    mean_score: float
    confidence: float  # in [0, 1]
    last_seen: float  # [s] stamp
    label: str | None  # what most of its voxels were called most often; None where no labels are kept


def voxel_coordinates(
    pool: BlockPool, rows: Int[np.ndarray, " n"], cells: Int[np.ndarray, " n"]
) -> Int[np.ndarray, "n 3"]:
    """Integer coordinates of the voxels at `cells` of the blocks `rows`."""
    corner = unpack(pool.keys[rows]) * SIDE
    return corner + np.stack([cells // SIDE**2, cells // SIDE % SIDE, cells % SIDE], axis=1)


def cluster(
    pool: BlockPool, rows: Int[np.ndarray, " n"], cells: Int[np.ndarray, " n"], gap: int = 0
) -> Int[np.ndarray, " n"]:
    """The number of the group of each voxel, groups numbered from 0 in the order of their first voxels.

    Voxels that touch, if only at a corner, are of one group (26-connectivity), and so are those with up to `gap` other
    voxels between them along any axis.

    Args:
        pool: the blocks.
        rows: block of each voxel, no voxel twice; those of one block in succession.
        cells: its cell.
        gap: voxels, in [0, 7].

    Raises:
        ValueError: if `gap` is out of range.
    """
    if not 0 <= gap < SIDE:
        raise ValueError(f"gap must be in [0, {SIDE - 1}], got {gap}")
    groups = np.full(len(rows), -1, dtype=np.int64)
    if len(rows):
        voxels = voxel_coordinates(pool, rows, cells)
        starts = np.flatnonzero(np.append(True, rows[1:] != rows[:-1]))
        at = np.full((len(starts), VOLUME), -1, dtype=np.int32)
        block = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(rows))))
        at[block, cells] = np.arange(len(rows))
        block_of = np.full(pool.n, -1, dtype=np.int32)
        block_of[rows[starts]] = np.arange(len(starts))
        _flood(voxels, at, block_of, pool.table, pool.keys, gap + 1, groups)
    return groups


@no_type_check
@njit(cache=True)
def _flood(voxels, at, block_of, table, keys, reach, groups):
    """Number the groups, one flood fill each.

    Args:
        voxels: (n, 3) coordinates.
        at: (blocks, 512) index of the voxel in each cell, -1 for none.
        block_of: by row of the pool, its row in `at`, -1 for none.
        table: of the pool, as are `keys`.
        keys: packed keys of the blocks.
        reach: voxels are of one group if they are this far apart along every axis.
        groups: (n,) all -1, written.
    """
    stack = np.empty(len(voxels), dtype=np.int64)
    n_groups = 0
    for first in range(len(voxels)):
        if groups[first] >= 0:
            continue
        groups[first], stack[0], depth = n_groups, first, 1
        while depth > 0:
            depth -= 1
            x, y, z = voxels[stack[depth]]
            for bx in range((x - reach) >> 3, ((x + reach) >> 3) + 1):
                for by in range((y - reach) >> 3, ((y + reach) >> 3) + 1):
                    for bz in range((z - reach) >> 3, ((z + reach) >> 3) + 1):
                        row = find(table, keys, pack(bx, by, bz))
                        block = -1 if row < 0 else block_of[row]
                        if block >= 0:
                            box = (x - bx * SIDE, y - by * SIDE, z - bz * SIDE)
                            depth = _join(at[block], box, reach, n_groups, groups, stack, depth)
        n_groups += 1


@no_type_check
@njit(cache=True)
def _join(at, centre, reach, group, groups, stack, depth):
    """The new depth of the stack after the voxels of one block within `reach` of its point `centre` joined `group`."""
    x, y, z = centre
    for i in range(max(x - reach, 0), min(x + reach, SIDE - 1) + 1):
        for j in range(max(y - reach, 0), min(y + reach, SIDE - 1) + 1):
            for k in range(max(z - reach, 0), min(z + reach, SIDE - 1) + 1):
                other = at[(i * SIDE + j) * SIDE + k]
                if other >= 0 and groups[other] < 0:
                    groups[other], stack[depth] = group, other
                    depth += 1
    return depth
